package diagnose

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// bySources are the SYNs of the last burst that asked from several addresses, by address in the order in which they began to ask, the usual one first.
func (d denial) bySources(in *Input) (rows [][]arrival, sources []netip.Addr) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindScope || !trusted(o) {
			continue
		}
		rows, sources = nil, nil
		for _, a := range firstSYNOrder(o) {
			k := slices.Index(sources, a.Flow.Src.Addr())
			if k < 0 {
				k = len(sources)
				rows, sources = append(rows, nil), append(sources, a.Flow.Src.Addr())
			}
			rows[k] = append(rows[k], d.fatesOf(a)...)
		}
	}
	for _, row := range rows {
		inOrderOfTime(row)
	}
	return rows, sources
}

// fatesOf is what became of each SYN of an attempt at a limiter.
func (d denial) fatesOf(a *observe.Attempt) []arrival {
	sure := a.Via == plan.Raw && d.legible(a)
	shaken := d.handshakes(a)
	var out []arrival
	for n := range a.SYNs {
		x := arrival{at: a.SYNs[n].At}
		switch {
		case !sure || !a.SYNs[n].HasTS:
		case echoed(shaken, n):
			x.fate = passed
		case d.denied(a, n):
			x.fate = dropped
		}
		out = append(out, x)
	}
	return out
}

// arrivals are the SYNs of the round at one limiter, in order of time: those from sources that match, nil for all. What is not known to have taken a token
// may have: SYNs elsewhere, those of untrusted bursts, and the connect by which this host looks for the way before a burst.
func (d denial) arrivals(in *Input, match func(netip.Addr) bool) []arrival {
	var out []arrival
	dst, _ := destination(in)
	for i := range in.Observations {
		o := &in.Observations[i]
		out = append(out, arrival{at: o.Started})
		sure := trusted(o) && slices.Contains([]plan.Kind{plan.KindQuadrants, plan.KindSticky, plan.KindPaced, plan.KindRate, plan.KindScope}, o.Kind)
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if match != nil && !match(a.Flow.Src.Addr()) {
				continue
			}
			for _, x := range d.fatesOf(a) {
				if !sure || a.Flow.Dst != dst {
					x.fate = perhaps
				}
				out = append(out, x)
			}
		}
	}
	out = slices.DeleteFunc(out, func(a arrival) bool { return a.at.IsZero() })
	inOrderOfTime(out)
	return out
}

func inOrderOfTime(list []arrival) {
	slices.SortStableFunc(list, func(a, b arrival) int { return a.at.Compare(b.at) })
}

// roundTrips are the round trips of raw SYNs, the shortest first, but for those that are several times the shortest: these are repeats of lost answers.
func roundTrips(in *Input) []time.Duration {
	var rtts []time.Duration
	for a := range trustedAttempts(in) {
		if a.Via == plan.Raw && a.RTT > 0 {
			rtts = append(rtts, a.RTT)
		}
	}
	if len(rtts) == 0 {
		return nil
	}
	slices.Sort(rtts)
	most := 3*rtts[0] + 100*time.Millisecond
	last, _ := slices.BinarySearch(rtts, most)
	return rtts[:max(last, 1)]
}

// rttSpread is by how much round trips differ; 0: none is known.
func rttSpread(in *Input) time.Duration {
	if t := roundTrips(in); len(t) > 0 {
		return t[len(t)-1] - t[0]
	}
	return 0
}

// openAtOnce is the most handshakes that were open at one time, SYN sent and not yet answered and reset, in steady bursts.
func openAtOnce(in *Input) int {
	type edge struct {
		at time.Time
		by int
	}
	most := 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindRate && o.Kind != plan.KindScope || !trusted(o) {
			continue
		}
		var edges []edge
		for j := range o.Attempts {
			a := &o.Attempts[j]
			for k := range a.Answers {
				if n := slices.IndexFunc(a.SYNs, func(s observe.SYN) bool { return s.HasTS && s.TSval == a.Answers[k].TSecr }); n >= 0 {
					edges = append(edges, edge{a.SYNs[n].At, 1}, edge{a.Answers[k].At, -1})
				}
			}
		}
		slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
		open := 0
		for _, e := range edges {
			open += e.by
			most = max(most, open)
		}
	}
	return most
}
