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

// askedFlow is what one flow lost that was asked many times over.
type askedFlow struct {
	burst int
	// n SYNs said something, lost of them had no answer; first and second are those of the two halves of the time.
	n, lost       int
	first, second silences
}

// evenness is what flows that were each asked many times lost.
type evenness struct {
	// asked are the flows that were answered at least once, in order of their first SYNs; dead counts the others.
	asked        []askedFlow
	dead, bursts int
	total        int // lost, over all flows
	most         int // trials of one flow
}

func readEven(in *Input) evenness {
	var e evenness
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindEven || !trusted(o) || in.explained[i] {
			continue
		}
		e.bursts++
		for _, a := range firstSYNOrder(o) {
			if len(a.SYNs) < 2 {
				continue
			}
			f := asks(a)
			if f.lost == f.n {
				e.dead++ // says nothing of loss: it may be a dead member's
				continue
			}
			f.burst = i
			e.asked = append(e.asked, f)
			e.total += f.lost
			e.most = max(e.most, f.n)
		}
	}
	return e
}

// asks counts the SYNs of a flow that a healthy path and listener would have answered, and those that were not answered before the next. Once two in a row
// had no answer the listener may hold a request whose answers are lost: it then answers further repeats only once in 500 ms.
func asks(a *observe.Attempt) askedFlow {
	var f askedFlow
	row := 0
	var last time.Time
	for k := range a.SYNs {
		got := answeredSYN(a, k)
		if row >= 2 && a.SYNs[k].At.Sub(last) < invalidRateLimit {
			if got {
				row = 0
			}
			continue
		}
		last = a.SYNs[k].At
		half := &f.first
		if 2*k >= len(a.SYNs) {
			half = &f.second
		}
		f.n++
		half.n++
		row++
		if got {
			row = 0
			continue
		}
		f.lost++
		half.silent++
	}
	return f
}

// clean counts the flows without loss.
func (e *evenness) clean() int {
	n := 0
	for i := range e.asked {
		if e.asked[i].lost == 0 {
			n++
		}
	}
	return n
}

// lasting reports whether loss keeps to flows over time: those that lost in the first half of it lose in the second, more than those that did not, and
// neither came first or last. What empties, fills or comes and goes loses by turns.
func (e *evenness) lasting() bool {
	var hit, spared silences
	lossy := make([]bool, len(e.asked))
	for i := range e.asked {
		f := &e.asked[i]
		lossy[i] = f.lost > 0
		half := &spared
		if f.first.silent > 0 {
			half = &hit
		}
		half.silent, half.n = half.silent+f.second.silent, half.n+f.second.n
	}
	return fisher(hit, spared) < 1e-2 && math.Abs(inTurn(lossy)) <= inOrder
}

// chance bounds the probability that losses spread at random over the trials of each burst leave so many of its flows clean: the ways to choose the clean
// flows, times the share of all ways to place the losses that spare these. The rate of loss need not be known, and may change from burst to burst.
func (e *evenness) chance() float64 {
	type placing struct{ flows, clean, trials, spared, lost int }
	bursts := map[int]placing{}
	for i := range e.asked {
		f := &e.asked[i]
		b := bursts[f.burst]
		b.flows, b.trials, b.lost = b.flows+1, b.trials+f.n, b.lost+f.lost
		if f.lost == 0 {
			b.clean, b.spared = b.clean+1, b.spared+f.n
		}
		bursts[f.burst] = b
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
	lossy := len(e.asked) - e.clean()
	if e.total < 4 || e.clean() < 2 || lossy < 2 || 4*e.dead > len(e.asked) {
		return nil // of many that were never answered something else is the cause
	}
	p := e.chance()
	if p >= 1e-2 {
		return nil
	}
	f := Finding{
		Verdict: ECMPPathLoss, Level: firm(p, e.bursts), P: p,
		Summary: fmt.Sprintf("%d of %d flows lose SYNs, %d in all, and the other %d lose none: one of several paths is lossy", lossy, len(e.asked), e.total, e.clean()),
		Evidence: []string{
			fmt.Sprintf("each flow was asked up to %d times; as many losses at random over all of them would leave %d flows clean with p = %.2g after %d look(s)", e.most,
				e.clean(), p, e.bursts),
			"the lossy flows were answered in between, so their end is alive; a dead member would answer nothing",
		},
		Disproof: "losses that move from flow to flow; a member that loses as much when probed directly",
		Remedy: "trace a lossy and a clean flow side by side with fixed ports and compare where they part (ECMP, LAG member, one uplink); check that link's errors and drops. " +
			"Over IPv6 keep the flow label fixed",
	}
	if f.Level < Suspected || headPattern(in) || !e.lasting() {
		f.Level, f.Settle = Inconclusive, "more flows, each asked many times"
		f.Wants = []Want{{Kind: plan.KindEven, Why: "the same on more flows", Most: 4}}
		return []Finding{f}
	}
	f.explains = allOf(in)
	return []Finding{f}
}

// concurrency is what connects made at one instant lost, and SYNs a few milliseconds apart.
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
	late := patience(in)
	for i := range in.Observations {
		o := &in.Observations[i]
		spaced := o.Kind == plan.KindQuadrants || o.Kind == plan.KindSticky || o.Kind == plan.KindPaced
		if !trusted(o) || in.explained[i] || !spaced && o.Kind != plan.KindConnect {
			continue
		}
		if !spaced {
			c.explains = append(c.explains, i)
		}
		for j := range o.Attempts {
			if f, ok := readFate(&o.Attempts[j]); ok {
				c.add(&f, gaveUp(o.Kind, f.a, late), spaced)
			}
		}
	}
	return c
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
	c.other = c.other || !f.answered || f.lost() > 2 || f.back > 0 || lost && f.a.Outcome != observe.Accepted
	if f.lost() == 2 {
		c.twice++
	}
}

// collide reports whether the losses look like collisions: of SYNs at one instant many, of those a few milliseconds apart one in eight of that at most,
// and the repeats mostly work.
func (c *concurrency) collide() bool {
	return c.together.silent >= 3 && !c.other && 4*c.twice <= c.together.silent && c.apart.n >= 16 && 8*share(c.apart) <= share(c.together)
}

// checkRace: connects that leave at one instant lose a first SYN here and there, and the repeat works; SYNs a few milliseconds apart lose hardly any, and
// those far apart none. Neither the first nor the last of the burst suffer more, so no queue or bucket does it.
func checkRace(in *Input) []Finding {
	c := readConcurrency(in)
	if !c.collide() || ordered(in) {
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
	if paced := sum(fates(in, plan.KindPaced)); f.Level >= Suspected && c.apart.silent > 0 {
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
