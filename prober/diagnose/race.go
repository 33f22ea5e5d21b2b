package diagnose

import (
	"fmt"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// concurrency is what connects made at one instant lost, and SYNs a few milliseconds apart; those that left otherwise than planned are in neither.
type concurrency struct {
	together, apart silences
	// twice counts the connects that lost a repeat as well, which leaves beside others' in the tick of one timer; other is true where one
	// lost more, or an answer.
	twice    int
	other    bool
	explains []int
}

func readConcurrency(in *Input) concurrency {
	var c concurrency
	late, beside := in.patience(), readCompany(in)
	for i := range in.Observations {
		o := &in.Observations[i]
		spaced := o.Kind == plan.KindQuadrants || o.Kind == plan.KindSticky || o.Kind == plan.KindPaced
		if !trusted(o) || in.explained[i] || !spaced && o.Kind != plan.KindConnect && o.Kind != plan.KindReuse {
			continue
		}
		if o.Kind == plan.KindReuse {
			c.addForsaken(o, beside)
			continue
		}
		if !spaced {
			c.explains = append(c.explains, i)
		}
		for j := range o.Attempts {
			f, ok := readFate(&o.Attempts[j])
			if !ok {
				continue
			}
			if d, seen := beside.nearest(f.a); !seen || spaced == (d >= apartBy) {
				c.add(&f, gaveUp(o.Kind, f.a, late), spaced)
			}
		}
	}
	return c
}

// addForsaken counts those fresh flows beside others' second uses that were lost though no SYN near theirs was answered. Of two that are given one port the first
// passes, so these met no other: they say what SYNs apart say.
func (c *concurrency) addForsaken(o *observe.Observation, beside company) {
	if len(o.Arms) != 2 {
		return
	}
	for j := range o.Attempts {
		a := &o.Attempts[j]
		if f, ok := readFate(a); ok && a.Arm == o.Arms[1].Name && f.lost() > 0 && beside.forsaken(a) {
			c.apart.add(true)
		}
	}
}

// add counts one flow. An RST that came of who had given up waiting (gaveUp) is silence, and one to a repeat no repeat that worked: who sent it may
// have counted from the first SYN.
func (c *concurrency) add(f *fate, gaveUp, spaced bool) {
	group := &c.together
	if spaced {
		group = &c.apart
	}
	group.n++
	lost := f.lost() > 0 || gaveUp
	if lost {
		group.silent++
	}
	if spaced {
		return
	}
	c.other = c.other || !f.answered || f.lost() > 2 || f.back > 0 || lost && f.a.Outcome != observe.Accepted || unheeded(f.a)
	if f.lost() == 2 {
		c.twice++
	}
}

// unheeded reports whether a SYN was repeated although a SYN-ACK to it had come: this host did not take it, and no SYN was lost.
func unheeded(a *observe.Attempt) bool {
	return a.Retransmissions > 0 && len(a.SYNs) > 1 && slices.ContainsFunc(a.Answers, func(ans observe.Answer) bool {
		return (ans.Kind == observe.SYNACK || ans.Kind == observe.SYNACKStray) && ans.At.Before(a.SYNs[1].At)
	})
}

// collide reports whether the losses look like collisions: of SYNs at one instant many, of those a few milliseconds apart one in eight of that at most,
// and the repeats mostly work.
func (c *concurrency) collide() bool {
	return c.together.silent >= 3 && !c.other && 4*c.twice <= c.together.silent && c.apart.n >= 16 && hardly(c.apart, c.together)
}

// checkRace: connects that leave at one instant lose a first SYN here and there, and the repeat works; SYNs a few milliseconds apart lose hardly any, and
// those far apart none. Neither the first nor the last of the burst suffer more, nor the same places of each, so no queue or bucket does it.
func checkRace(in *Input) []Finding {
	c := readConcurrency(in)
	if !c.collide() || ordered(in) || inHeaps(in) < 1e-3 || inPlaces(in) < 1e-2 {
		return nil
	}
	p := fisher(c.together, c.apart)
	f := Finding{
		Verdict: SNATPortRace, Level: Inconclusive, P: p, Settle: "the same burst again",
		Summary: fmt.Sprintf("%d of %d connects made at one instant lost their first SYN, and the repeats worked; of %d SYNs a few milliseconds apart or more %d were lost",
			c.together.silent, c.together.n, c.apart.n, c.apart.silent),
		Evidence: []string{
			fmt.Sprintf("Fisher p = %.2g for together against apart", p),
			"the lost ones lie anywhere in the burst: neither its first (a full queue that drops from the head) nor its last (a bucket that empties)",
		},
		Disproof: "loss of SYNs sent far apart; a connect that lost more than a repeat",
		Remedy: "two flows were given one port at the same time, and conntrack dropped the later (insert_failed rises): give the SNAT more ports or addresses, or let it pick at random " +
			"(--random-fully; nft: fully-random)",
		Wants: []Want{{Kind: plan.KindConnect, Why: "the same burst again", Most: 4}},
	}
	if p >= 1e-2 {
		return nil
	}
	f.Level = firm(p, in.bursts(plan.KindConnect))
	if paced := sum(readCompany(in).alone(fates(in, plan.KindPaced))); f.Level >= Suspected && c.apart.silent > 0 {
		switch {
		case paced.lost() > 0:
			return nil
		case paced.flows < 6:
			f.Level, f.Settle = Inconclusive, "SYNs far apart: do all of them pass?"
			f.Wants = []Want{{Kind: plan.KindPaced, Why: f.Settle, Most: 1}}
			return []Finding{f}
		}
		f.Evidence = append(f.Evidence, fmt.Sprintf("single SYNs far apart: %d of %d lost", paced.lost(), paced.syns))
	}
	if f.Level >= Suspected {
		f.Wants, f.Settle, f.explains = nil, "", c.explains
	}
	return []Finding{f}
}

// inHeaps is the chance that the losses of the kernel bursts, at random in each, fall into so few heaps: collisions hit connects singly, a queue that is
// full for a moment all that come in that moment.
func inHeaps(in *Input) float64 {
	var ps []float64
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindConnect || !trusted(o) || in.explained[i] {
			continue
		}
		ok, bad, runs := 0, 0, 1
		order := firstSYNOrder(o)
		for k, a := range order {
			if k > 0 && (a.Retransmissions > 0) != (order[k-1].Retransmissions > 0) {
				runs++
			}
			if a.Retransmissions > 0 {
				bad++
			} else {
				ok++
			}
		}
		if ok > 0 && bad > 0 {
			ps = append(ps, runsChance(ok, bad, runs))
		}
	}
	return combined(ps...)
}

// ordered reports whether the losses of the kernel bursts gather at their beginning or end.
func ordered(in *Input) bool {
	inversions, pairs := 0, 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindConnect || !trusted(o) || in.explained[i] {
			continue
		}
		ok, bad := 0, 0
		for _, a := range firstSYNOrder(o) {
			if a.Retransmissions > 0 {
				bad++
				continue
			}
			ok++
			inversions += bad
		}
		pairs += ok * bad
	}
	if pairs == 0 {
		return true
	}
	share := float64(inversions) / float64(pairs)
	return share < 0.15 || share > 0.85
}

// inPlaces is the chance that bursts of as many connects, the losses of each at random, lose as many in the same places as the burst before did: who collides
// is drawn anew each time; what a bucket passes is the same each time: the first ones, and those for which it has refilled.
func inPlaces(in *Input) float64 {
	var ps []float64
	var last []bool
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindConnect || !trusted(o) || in.explained[i] {
			continue
		}
		var lost []bool
		for _, a := range firstSYNOrder(o) {
			lost = append(lost, a.Retransmissions > 0)
		}
		if len(last) == len(lost) {
			var where [2]silences // of the places that were not lost before, and of those that were
			for k := range lost {
				if last[k] {
					where[1].add(lost[k])
				} else {
					where[0].add(lost[k])
				}
			}
			ps = append(ps, fisher(where[1], where[0]))
		}
		last = lost
	}
	if len(ps) == 0 {
		return 1
	}
	return combined(ps...)
}
