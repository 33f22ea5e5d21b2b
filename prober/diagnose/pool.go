package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// moment is one attempt that was served or refused, at the time of its first SYN.
type moment struct {
	at     time.Time
	served bool
	ttl    uint8
	by     string
}

// toService reports whether a kind's bursts go to the target's own service from the usual address, answered or refused as anybody's
// would be: the timestamps of a SYN turn it to silence at most.
func toService(k plan.Kind) bool {
	return !aside(k) || k == plan.KindCells || k == plan.KindOracle || k == plan.KindFollow || k == plan.KindSides || k == plan.KindCircle
}

// moments lists them in order of time, but for those whom a device on the way refused after it had waited for a member in vain.
func moments(in *Input) []moment {
	out := make([]moment, 0, in.size())
	late := in.patience()
	for i := range in.Observations {
		o := &in.Observations[i]
		if !toService(o.Kind) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if m, ok := readMoment(o.Kind, a); ok && !gaveUp(o.Kind, a, late) {
				out = append(out, m)
			}
		}
	}
	slices.SortFunc(out, func(a, b moment) int { return a.at.Compare(b.at) })
	return out
}

func readMoment(k plan.Kind, a *observe.Attempt) (moment, bool) {
	if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
		return moment{}, false
	}
	m := moment{at: a.SYNs[0].At}
	if a.Outcome == observe.Accepted {
		m.served = true
		if ans := firstSYNACK(a); ans != nil {
			m.ttl = ans.HopLimit
		}
		return m, true
	}
	if a.Outcome != observe.Refused && a.Outcome != observe.Unreachable {
		return m, false
	}
	if a.Outcome == observe.Refused && a.Retransmissions > 0 && !aside(k) {
		return m, false // silence at first: who refuses a repeat may have counted from the first SYN
	}
	for k := range a.Answers {
		ans := &a.Answers[k]
		switch {
		case ans.Kind == observe.ICMP && ans.ICMPName != "port_unreachable":
			return m, false // of a filter, or of a router that cannot find the host: no balancer's word for an empty pool
		case ans.Kind == observe.RST || ans.Kind == observe.ICMP:
			m.ttl, m.by = ans.HopLimit, "an RST"
			if ans.Kind == observe.ICMP {
				m.by = "ICMP " + ans.ICMPName
			}
			return m, true
		}
	}
	return m, true
}

// runsChance is the probability that n served and m refused moments, mixed at random, fall into as few runs as r: Wald and Wolfowitz (1940).
func runsChance(n, m, r int) float64 {
	p := 0.0
	for k := 2; k <= r; k++ {
		h := k / 2
		var ways float64
		if k%2 == 0 {
			ways = 2 * math.Exp(logChoose(n-1, h-1)+logChoose(m-1, h-1))
		} else {
			if h <= n-1 {
				ways += math.Exp(logChoose(n-1, h) + logChoose(m-1, h-1))
			}
			if h <= m-1 {
				ways += math.Exp(logChoose(n-1, h-1) + logChoose(m-1, h))
			}
		}
		p += ways / math.Exp(logChoose(n+m, n))
	}
	return min(1, p)
}

// stretches counts in how many stretches of time served and refused moments fall; p is the chance that as many of each, mixed at random, fall into so
// few.
func stretches(ms []moment) (runs int, p float64) {
	served, refused := 0, 0
	for i, m := range ms {
		if m.served {
			served++
		} else {
			refused++
		}
		if i == 0 || m.served != ms[i-1].served {
			runs++
		}
	}
	if served == 0 || refused == 0 {
		return runs, 1
	}
	return runs, runsChance(served, refused, runs)
}

// refusals are what refuses an address's connects, next to what serves them.
type refusals struct {
	served, refused int
	by              map[string]int
	// servedTTL and refusedTTL are the last ones seen; another: refusals come by ICMP, or with a TTL that no SYN-ACK has.
	servedTTL, refusedTTL uint8
	another               bool
}

func readRefusals(ms []moment) refusals {
	r := refusals{by: map[string]int{}}
	serving := map[uint8]bool{}
	for _, m := range ms {
		if m.served {
			r.served, r.servedTTL, serving[m.ttl] = r.served+1, m.ttl, true
		}
	}
	for _, m := range ms {
		if !m.served {
			r.refused, r.refusedTTL = r.refused+1, m.ttl
			r.by[m.by]++
			r.another = r.another || m.by != "an RST" || m.ttl != 0 && !serving[m.ttl] && !serving[0]
		}
	}
	return r
}

// followsUs is the chance that an address which comes and goes in its own time begins to refuse as close upon what it served last as it did: such a turn
// falls between two of our attempts by the time between them. What counts connections or their rate turns within our bursts, moments after it served.
func followsUs(ms []moment) float64 {
	var gaps []time.Duration
	for i := 1; i < len(ms); i++ {
		gaps = append(gaps, ms[i].at.Sub(ms[i-1].at))
	}
	var ps []float64
	for i, g := range gaps {
		if !ms[i].served || ms[i+1].served {
			continue
		}
		var within, all time.Duration
		for _, other := range gaps {
			if all += other; other <= g {
				within += other
			}
		}
		ps = append(ps, within.Seconds()/max(all.Seconds(), 1e-9))
	}
	if len(ps) == 0 {
		return 1
	}
	return combined(ps...)
}

// checkPool: the address serves everybody for a while, and for a while something else than what serves refuses everybody: its pool goes empty and fills
// again. A member that refuses turns some of each burst away; a service that stops and starts refuses with the TTL it serves with; a limit refuses when
// much was asked of it just before.
func checkPool(in *Input) []Finding {
	ms := moments(in)
	r := readRefusals(ms)
	runs, p := 0, 1.0
	if r.served > 0 && r.refused > 0 {
		runs, p = stretches(ms)
	}
	switch {
	case r.served < 4 || r.refused < 4 || p > 1e-2:
		return watchPool(&r)
	case !r.another || followsUs(ms) < 5e-2 || singly(ms) || counting(ms):
		return nil
	}
	f := Finding{
		Verdict: VIPPoolEmpty, Level: firm(p, 1+in.bursts(plan.KindPaced)+in.bursts(plan.KindWatch)), P: p,
		Summary: fmt.Sprintf("the address serves everybody and refuses everybody in turn: %d accepted, %d refused, in %d stretches of time", r.served, r.refused, runs),
		Evidence: []string{
			fmt.Sprintf("refused with %v; mixed at random they would fall into so few stretches with p = %.2g", names(r.by), p),
		},
		Disproof: "served and refused connections side by side in one burst: then a member refuses, not the pool",
		Remedy:   "a health check evicts the last real server and takes it back: find why its own connects fail (timeouts, the stalls named here), and let the VIP keep a last resort",
		Wants:    []Want{{Kind: plan.KindWatch, Why: "does it come and go?", Most: 6}},
	}
	if r.servedTTL != r.refusedTTL && r.refusedTTL != 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("SYN-ACKs arrive with TTL %d, refusals with %d: another device refuses than serves", r.servedTTL, r.refusedTTL))
	}
	switch {
	case f.Level >= Suspected && tokened(ms):
		f.Level, f.Settle = Inconclusive, "many connects at once while it serves: a limit that refuses what is over it serves and refuses as here"
	case runs < 3: // one end is not yet in turn: what was used up, or switched off, looks the same
		f.Level, f.Settle = Inconclusive, "a longer look: does it come back?"
	case f.Level >= Confirmed:
		f.Wants = nil
	}
	return []Finding{f}
}

// singly reports whether, once the address had refused, it mostly served one at a time: what lets through one for each wait counts, and a pool that is
// back serves everybody.
func singly(ms []moment) bool {
	alone, back, n := 0, 0, 0
	refused := false
	for _, m := range append(ms, moment{}) {
		switch {
		case m.served:
			n++
			continue
		case refused && n == 1:
			alone++
			fallthrough
		case refused && n > 0:
			back++
		}
		n, refused = 0, true
	}
	return back > 0 && 2*alone >= back
}

// counting reports whether it turns after so many connects and not after so long: as a balancer does that deals them to its members in turn, of which some that stand
// next to each other refuse.
func counting(ms []moment) bool {
	type stretch struct {
		n    int
		long time.Duration
	}
	var all []stretch
	for i, m := range ms {
		if i == 0 || m.served != ms[i-1].served {
			all = append(all, stretch{})
		}
		s := &all[len(all)-1]
		if s.n++; s.n > 1 {
			s.long += m.at.Sub(ms[i-1].at)
		}
	}
	if len(all) < 5 {
		return false
	}
	all = all[1 : len(all)-1] // the first and the last were cut
	for k := range 2 {
		for i := k; i < len(all); i += 2 {
			if all[i].n < 2 || all[i].n-all[k].n > 1 || all[k].n-all[i].n > 1 {
				return false
			}
		}
	}
	by := func(a, b stretch) int { return cmp.Compare(a.long, b.long) }
	return slices.MaxFunc(all, by).long > 4*slices.MinFunc(all, by).long
}

// tokened reports whether a bucket of tokens makes what was served and what was refused: each connect takes one, and they come back at a steady rate, as
// they did since the first was refused.
func tokened(ms []moment) bool {
	first := slices.IndexFunc(ms, func(m moment) bool { return !m.served })
	if first < 0 {
		return false
	}
	row, served := make([]arrival, 0, len(ms)), 0
	for i, m := range ms {
		x := arrival{at: m.at, fate: dropped}
		if m.served {
			x.fate = passed
			if i > first {
				served++
			}
		}
		row = append(row, x)
	}
	span := ms[len(ms)-1].at.Sub(ms[first].at).Seconds()
	if served == 0 || span <= 0 {
		return false
	}
	_, ok := fitBuckets(float64(served)/span, leastSlack, row)
	return ok
}

// watchPool asks for patience where a few connects were refused by something else than what serves: a pool that is about to go empty, or
// just has, takes its time.
func watchPool(r *refusals) []Finding {
	if r.served < 4 || r.refused == 0 || r.servedTTL == r.refusedTTL || r.refusedTTL == 0 {
		return nil
	}
	return []Finding{{
		Verdict: VIPPoolEmpty, Level: Inconclusive,
		Summary: fmt.Sprintf("%d connects were refused with %v, which arrives with TTL %d where SYN-ACKs have %d: the device in front refuses, now and then", r.refused,
			names(r.by), r.refusedTTL, r.servedTTL),
		Settle: "a longer look: does the address serve everybody and refuse everybody in turn?",
		Wants:  []Want{{Kind: plan.KindWatch, Why: "does the address serve and refuse in turn?", Most: 3}},
	}}
}

func names(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
