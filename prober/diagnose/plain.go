package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// pairs counts what SYNs with and without timestamps met that left one after the other, in an order drawn by lot each time.
type pairs struct {
	with, without silences
	// only is how many pairs lost the SYN without timestamps alone, other how many the one with them alone.
	only, other int
	index       []int
	// closed is what SYNs of both kinds met at another port, which resets: those with timestamps, and those without.
	closed, closedBare silences
}

func readPairs(in *Input) pairs {
	var p pairs
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindPlain || !trusted(o) {
			continue
		}
		p.index = append(p.index, i)
		for j := 0; j+1 < len(o.Attempts); j += 2 {
			if o.Attempts[j].Flow.Dst == o.Attempts[0].Flow.Dst {
				p.add(&o.Attempts[j], &o.Attempts[j+1])
			} else {
				p.elsewhere(o.Attempts[j : j+2])
			}
		}
	}
	return p
}

func (p *pairs) add(a, b *observe.Attempt) {
	if len(a.SYNs) == 0 || len(b.SYNs) == 0 || a.SYNs[0].HasTS == b.SYNs[0].HasTS || !onlySYNACKs(a) || !onlySYNACKs(b) {
		return
	}
	if a.SYNs[0].HasTS {
		a, b = b, a
	}
	bare, stamped := a.Outcome == observe.TimedOut, b.Outcome == observe.TimedOut
	p.without.add(bare)
	p.with.add(stamped)
	if bare && !stamped {
		p.only++
	} else if stamped && !bare {
		p.other++
	}
}

func (p *pairs) elsewhere(list []observe.Attempt) {
	for i := range list {
		a, s := &list[i], &p.closedBare
		if len(a.SYNs) == 0 {
			continue
		}
		if a.SYNs[0].HasTS {
			s = &p.closed
		}
		s.add(a.Outcome != observe.Refused)
	}
}

// filtered: SYNs without timestamps are silent at a port where nobody listens as well, and those with them are reset there. No memory of TSvals does that: a
// stack looks for a listener first (net/ipv4/tcp_ipv4.c tcp_v4_rcv, 3.10).
func (p *pairs) filtered() bool {
	return p.closedBare.n >= 4 && share(p.closedBare) >= 0.9 && share(p.closed) <= 0.2
}

func (s *silences) add(silent bool) {
	s.n++
	if silent {
		s.silent++
	}
}

// bareKernel reports whether this host's own kernel sends no timestamps, and its connects go unanswered where raw SYNs with them are answered.
func bareKernel(in *Input) bool {
	silent, n := 0, 0
	raw := silences{}
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || aside(o.Kind) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			switch {
			case len(a.SYNs) == 0 || a.SYNs[0].At.IsZero():
			case a.Via == plan.Raw && a.SYNs[0].HasTS:
				raw.add(a.Outcome == observe.TimedOut)
			case a.Via == plan.Kernel && a.SYNs[0].HasTS:
				return false
			case a.Via == plan.Kernel:
				n++
				if a.Outcome == observe.TimedOut && len(a.Answers) == 0 {
					silent++
				}
			}
		}
	}
	return silent >= least && 2*silent >= n && raw.n >= 8 && share(raw) < 0.5
}

// checkPlain: SYNs without timestamps are dropped, and those with them are not, whatever their TSval. Kernels with per-host PAWS that also have
// commit a26552afe894 ("tcp: don't allow syn packets without timestamps to pass tcp_tw_recycle logic", 3.17; CentOS 7's 3.10.0-1160) drop
// them from any address that they remember; where a balancer gives all others one clock, who sends none is the only one to suffer. It is
// an inference from one property and no proof: a filter for this port alone could ask for timestamps as well; one for all ports is told by a port where
// nobody listens.
func checkPlain(in *Input) []Finding {
	p := readPairs(in)
	if len(p.index) == 0 && !bareKernel(in) {
		return nil
	}
	want := Want{Kind: plan.KindPlain, Why: "this host sends no timestamps: are SYNs with them answered?", Most: 2}
	f := Finding{Verdict: TWRecyclePAWSDropSNAT, Level: Inconclusive, Summary: "this host sends no timestamps, and its connects have no answer where SYNs with them have",
		Settle: want.Why, Wants: []Want{want}}
	if len(p.index) < 2 {
		return []Finding{f}
	}
	f.P = math.Pow(0.5, float64(p.only)) // of the pairs that differ, all lose the same of the two
	if p.other > 0 || f.P >= 1e-4 || share(p.without) < 0.9 || share(p.with) > 0.2 {
		return nil
	}
	f.Level, f.Wants, f.Settle, f.explains = Suspected, nil, "", allOf(in)
	f.Summary = fmt.Sprintf("SYNs without timestamps, as this host sends them, are dropped: %d of %d silent; with timestamps %d of %d", p.without.silent, p.without.n, p.with.silent, p.with.n)
	// A memory that is found to the tick refuses SYNs without timestamps itself, whoever keeps it and before whatever port.
	remembered := slices.ContainsFunc(append(checkFlip(in), checkQuadrants(in)...), func(f Finding) bool { return f.Level == Proven })
	if p.filtered() && !remembered {
		return []Finding{f.wantsTimestamps(&p)}
	}
	f.Evidence = []string{
		fmt.Sprintf("in pairs, the order drawn by lot: %d lost the SYN without timestamps alone, none the other; p = %.2g", p.only, f.P),
		"a server with per-host PAWS drops them from an address that it remembers: CentOS 7's 3.10.0-1160 and kernels with commit a26552afe894 (3.17 to 4.11)",
		"no other cause is known that drops SYNs for want of timestamps, but that is no proof",
	}
	if !remembered {
		f.Evidence = slices.Insert(f.Evidence, 2, "SYNs with timestamps are served whatever their TSval: something on the way gives them all one clock, and leaves alone who has none")
	}
	f.Disproof = "SYNs without timestamps answered while others use the same path; the same silence from an address that nobody shares, or an hour after the last of the others"
	f.Remedy = "set net.ipv4.tcp_tw_recycle=0 on the real servers (removed in 4.12); until then switch net.ipv4.tcp_timestamps on here: on these kernels switching it off is no remedy"
	return []Finding{f}
}

// wantsTimestamps is that the same SYNs are dropped where no listener is.
func (f Finding) wantsTimestamps(p *pairs) Finding {
	f.Verdict = ACLDrop
	f.Summary += "; so are those to a port where nobody listens: a filter before the listener asks for the option"
	f.Evidence = []string{
		fmt.Sprintf("in pairs, the order drawn by lot: %d lost the SYN without timestamps alone, none the other; p = %.2g", p.only, f.P),
		fmt.Sprintf("at another port %d of %d without timestamps had no RST, with them %d of %d", p.closedBare.silent, p.closedBare.n, p.closed.silent, p.closed.n),
	}
	f.Disproof = "a SYN without timestamps answered; an RST to one at a port where nobody listens"
	f.Remedy = "find the device that judges SYNs by their options (protection from floods, rules by OS fingerprint) and let these through; until then switch net.ipv4.tcp_timestamps on here"
	return f
}
