package diagnose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// evenness is what flows that were each asked many times lost.
type evenness struct {
	// flows that were answered at least once, and dead ones.
	flows, dead, bursts int
	// trials are the SYNs whose answer says something, lost those of them that had none; by flow.
	trials, lost []int
	burst        []int // of each flow
	total        int   // lost, over all flows
	most         int   // trials of one flow
}

func readEven(in *Input) evenness {
	var e evenness
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindEven || !trusted(o) || in.explained[i] {
			continue
		}
		e.bursts++
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) < 2 {
				continue
			}
			n, lost := asks(a)
			if lost == n {
				e.dead++ // says nothing of loss: it may be a dead member's
				continue
			}
			e.flows++
			e.trials, e.lost, e.burst = append(e.trials, n), append(e.lost, lost), append(e.burst, i)
			e.total += lost
			e.most = max(e.most, n)
		}
	}
	return e
}

// asks counts the SYNs of a flow that a healthy path and listener would have answered, and those that were not answered before the next. Once two in a row
// had no answer the listener may hold a request whose answers are lost: it then answers further repeats only once in 500 ms.
func asks(a *observe.Attempt) (n, lost int) {
	row := 0
	var last time.Time
	for k := range a.SYNs {
		if row >= 2 && a.SYNs[k].At.Sub(last) < invalidRateLimit {
			if answeredSYN(a, k) {
				row = 0
			}
			continue
		}
		n++
		last = a.SYNs[k].At
		if answeredSYN(a, k) {
			row = 0
			continue
		}
		lost++
		row++
	}
	return n, lost
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

// chance bounds the probability that losses spread at random over the trials of each burst leave so many of its flows clean: the ways to choose the clean
// flows, times the share of all ways to place the losses that spare these. The rate of loss need not be known, and may change from burst to burst.
func (e *evenness) chance() float64 {
	type placing struct{ flows, clean, trials, spared, lost int }
	bursts := map[int]placing{}
	for i, n := range e.trials {
		b := bursts[e.burst[i]]
		b.flows, b.trials, b.lost = b.flows+1, b.trials+n, b.lost+e.lost[i]
		if e.lost[i] == 0 {
			b.clean, b.spared = b.clean+1, b.spared+n
		}
		bursts[e.burst[i]] = b
	}
	var ps []float64
	for _, k := range slices.Sorted(maps.Keys(bursts)) {
		b := bursts[k]
		if b.lost > 0 {
			ps = append(ps, min(1, math.Exp(logChoose(b.flows, b.clean)+logChoose(b.trials-b.spared, b.lost)-logChoose(b.trials, b.lost))))
		}
	}
	return combined(ps...)
}

// checkUneven: some flows lose a part of their SYNs, the others none, and keep to it: what a flow's hash chooses is lossy.
func checkUneven(in *Input) []Finding {
	e := readEven(in)
	lossy := e.flows - e.clean()
	if e.total < 4 || e.clean() == 0 || lossy == 0 {
		return nil
	}
	p := e.chance()
	if p >= 1e-2 {
		return nil
	}
	f := Finding{
		Verdict: ECMPPathLoss, Level: firm(p, e.bursts), P: p,
		Summary: fmt.Sprintf("%d of %d flows lose SYNs, %d in all, and the other %d lose none: one of several paths is lossy", lossy, e.flows, e.total, e.clean()),
		Evidence: []string{
			fmt.Sprintf("each flow was asked up to %d times; as many losses at random over all of them would leave %d flows clean with p = %.2g after %d look(s)", e.most,
				e.clean(), p, e.bursts),
			"the lossy flows were answered in between, so their end is alive; a dead member would answer nothing",
		},
		Disproof: "losses that move from flow to flow; a member that loses as much when probed directly",
		Remedy: "trace a lossy and a clean flow side by side with fixed ports and compare where they part (ECMP, LAG member, one uplink); check that link's errors and drops. " +
			"Over IPv6 keep the flow label fixed",
	}
	if f.Level < Suspected || headPattern(in) {
		f.Level, f.Settle = Inconclusive, "more flows, each asked many times"
		f.Wants = []Want{{Kind: plan.KindEven, Why: "the same on more flows", Most: 4}}
		return []Finding{f}
	}
	f.explains = allOf(in)
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
	if f.Level = firm(p, in.bursts(plan.KindConnect)); f.Level >= Suspected {
		f.Wants, f.Settle, f.explains = nil, "", explains
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
