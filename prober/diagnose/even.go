package diagnose

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// evenness is what flows that were each asked many times lost.
type evenness struct {
	flows, rungs int // of each flow
	lost         []int
	total        int
}

func readEven(in *Input) evenness {
	var e evenness
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindEven || !trusted(o) || in.explained[i] {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) < 2 {
				continue
			}
			e.flows++
			e.rungs = max(e.rungs, len(a.SYNs))
			n := unanswered(a)
			e.lost = append(e.lost, n)
			e.total += n
		}
	}
	return e
}

// unanswered counts the SYNs of a flow after which no SYN-ACK came before the next.
func unanswered(a *observe.Attempt) int {
	n := 0
	for k := range a.SYNs {
		answered := false
		for x := range a.Answers {
			ans := &a.Answers[x]
			if ans.Kind != observe.SYNACK || ans.At.Before(a.SYNs[k].At) {
				continue
			}
			if k+1 < len(a.SYNs) && !ans.At.Before(a.SYNs[k+1].At) {
				continue
			}
			answered = true
			break
		}
		if !answered {
			n++
		}
	}
	return n
}

// clean counts the flows without loss.
func (e *evenness) clean() int {
	n := 0
	for _, l := range e.lost {
		if l == 0 {
			n++
		}
	}
	return n
}

// rate is the share of SYNs lost over all flows.
func (e *evenness) rate() float64 {
	if e.flows == 0 {
		return 0
	}
	return float64(e.total) / float64(e.flows*e.rungs)
}

// chance is the probability that loss at that rate on all flows alike leaves so many of them clean.
func (e *evenness) chance() float64 {
	return stats.BinomialAtLeast(e.clean(), e.flows, math.Pow(1-e.rate(), float64(e.rungs)))
}

// checkUneven: some flows lose a part of their SYNs, the others none, and keep to it: what a flow's hash chooses is lossy.
func checkUneven(in *Input) []Finding {
	e := readEven(in)
	if e.total < 4 || e.clean() == 0 || e.clean() == e.flows {
		return nil
	}
	dead := 0
	for _, l := range e.lost {
		if l == e.rungs {
			dead++
		}
	}
	p := e.chance()
	if p >= 1e-2 || dead*2 > e.flows-e.clean() {
		return nil
	}
	lossy := e.flows - e.clean()
	f := Finding{
		Verdict: ECMPPathLoss, Level: Suspected, P: p, explains: allOf(in),
		Summary: fmt.Sprintf("%d of %d flows lose %.0f %% of their SYNs, the other %d lose none: one of several paths is lossy", lossy, e.flows,
			100*float64(e.total)/float64(lossy*e.rungs), e.clean()),
		Evidence: []string{
			fmt.Sprintf("each flow was asked %d times; loss at the same rate on all flows would leave %d of them clean with p = %.2g", e.rungs, e.clean(), p),
			"the lossy flows were answered in between, so their end is alive; a dead member would answer nothing",
		},
		Disproof: "losses that move from flow to flow; a member that loses as much when probed directly",
		Remedy: "trace a lossy and a clean flow side by side with fixed ports and compare where they part (ECMP, LAG member, one uplink); check that link's errors and drops. " +
			"Over IPv6 keep the flow label fixed",
		Wants: []Want{{Kind: plan.KindEven, Why: "the same on more flows", Most: 4}},
	}
	if p < 1e-4 {
		f.Level, f.Wants = Confirmed, nil
	}
	return []Finding{f}
}

// concurrency counts the losses of connects made at one instant and of SYNs a few milliseconds apart. once: none of the former lost more than its
// first SYN, and none of them an answer.
func concurrency(in *Input) (together, apart silences, once bool, explains []int) {
	once = true
	for i := range in.Observations {
		o := &in.Observations[i]
		spaced := o.Kind == plan.KindQuadrants || o.Kind == plan.KindSticky || o.Kind == plan.KindPaced
		if !trusted(o) || in.explained[i] || !spaced && o.Kind != plan.KindConnect {
			continue
		}
		group := &apart
		if !spaced {
			group = &together
			explains = append(explains, i)
		}
		for j := range o.Attempts {
			f, ok := readFate(&o.Attempts[j])
			if !ok {
				continue
			}
			group.n++
			if f.lost() > 0 {
				group.silent++
			}
			if !spaced {
				once = once && f.answered && f.lost() <= 1 && f.back == 0
			}
		}
	}
	return together, apart, once, explains
}

// checkRace: connects that leave at one instant lose a first SYN here and there, and the repeat always works; SYNs a few milliseconds apart lose
// none. Neither the first nor the last of the burst suffer more, so no queue or bucket does it.
func checkRace(in *Input) []Finding {
	together, apart, once, explains := concurrency(in)
	if together.silent < 3 || !once || apart.silent > 0 || apart.n < 16 || ordered(in) {
		return nil
	}
	p := fisher(together, apart)
	f := Finding{
		Verdict: SNATPortRace, Level: Inconclusive, P: p, Settle: "the same burst again",
		Summary: fmt.Sprintf("%d of %d connects made at one instant lost their first SYN, each repeat worked; of %d SYNs a few milliseconds apart none was lost", together.silent,
			together.n, apart.n),
		Evidence: []string{
			fmt.Sprintf("Fisher p = %.2g for together against apart", p),
			"the lost ones lie anywhere in the burst: neither its first (a full queue that drops from the head) nor its last (a bucket that empties)",
		},
		Disproof: "loss of SYNs sent apart; a connect that lost two SYNs",
		Remedy: "two flows were given one port at the same time, and conntrack dropped the later (insert_failed rises): give the SNAT more ports or addresses, or let it pick at random " +
			"(--random-fully; nft: fully-random)",
		Wants: []Want{{Kind: plan.KindConnect, Why: "the same burst again", Most: 4}},
	}
	if p >= 1e-2 {
		return nil
	}
	if p < 1e-4 {
		f.Level, f.Wants, f.Settle, f.explains = Confirmed, nil, "", explains
	}
	return []Finding{f}
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
