package diagnose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
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
	total, n     int // lost of n, over all flows that were answered
	most         int // trials of one flow
	deadFor      int // trials of the dead flow that had fewest, and its SYNs
	deadSYNs     int
	// turns is for each burst the chance that the losses of its lossy flows, at random over their SYNs, fall into so few stretches of time.
	turns []float64
}

func readEven(in *Input) evenness {
	var e evenness
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindEven || !trusted(o) || in.explained[i] {
			continue
		}
		e.bursts++
		var alive []flowTrial
		flows := 0
		for _, a := range firstSYNOrder(o) {
			if len(a.SYNs) < 2 || slow(a) {
				continue
			}
			asked := asks(a, flows)
			if !slices.ContainsFunc(asked, func(t flowTrial) bool { return !t.lost }) {
				if e.dead++; e.dead == 1 || len(asked) < e.deadFor { // says nothing of loss: it may be a dead member's
					e.deadFor, e.deadSYNs = len(asked), len(a.SYNs)
				}
				continue
			}
			alive, flows = append(alive, asked...), flows+1
		}
		e.add(i, flows, withoutOutages(alive))
	}
	return e
}

// add enters the trials of a burst's flows that were answered at least once.
func (e *evenness) add(burst, flows int, trials []flowTrial) {
	asked := make([]askedFlow, flows)
	for _, t := range trials {
		f := &asked[t.flow]
		half := &f.first
		if t.second {
			half = &f.second
		}
		f.n++
		half.add(t.lost)
		if t.lost {
			f.lost++
		}
	}
	for _, f := range asked {
		f.burst = burst
		e.asked = append(e.asked, f)
		e.total, e.n = e.total+f.lost, e.n+f.n
		e.most = max(e.most, f.n)
	}
	var ms []moment
	for _, t := range trials {
		if asked[t.flow].lost > 0 {
			ms = append(ms, moment{at: t.at, served: !t.lost})
		}
	}
	if len(ms) > 0 {
		_, p := stretches(ms)
		e.turns = append(e.turns, p)
	}
}

// onlyFirsts is the chance that losses at random over the SYNs of flows that were asked again and again fall on each one's first as they did.
func onlyFirsts(in *Input) float64 {
	var first, later silences
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindEven || !trusted(o) || in.explained[i] {
			continue
		}
		for j := range o.Attempts {
			for n, t := range asks(&o.Attempts[j], 0) {
				if n == 0 {
					first.add(t.lost)
				} else {
					later.add(t.lost)
				}
			}
		}
	}
	return fisher(first, later)
}

// flowTrial is one SYN of a flow that was asked many times.
type flowTrial struct {
	at   time.Time
	flow int // by its place in the burst
	// lost: it had no answer before the next. second: it left in the second half of the flow's SYNs.
	lost, second bool
}

// asks are the SYNs of a flow that a healthy path and listener would have answered. Once two in a row had no answer the listener may hold a request whose
// answers are lost: it then answers further repeats only once in 500 ms.
func asks(a *observe.Attempt, flow int) []flowTrial {
	var out []flowTrial
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
		out = append(out, flowTrial{last, flow, !got, 2*k >= len(a.SYNs)})
		row++
		if got {
			row = 0
		}
	}
	return out
}

// withoutOutages leaves out moments in which everything was lost, whatever the flow: a run of losses, in order of time, that is too long for chance (the
// number of trials times q^length below 1 in 1,000, where q is the share that is lost besides, and one more). A run is chosen by its length alone, never
// by whose SYNs are in it, so that what is left falls on flows alike wherever it did before.
func withoutOutages(trials []flowTrial) []flowTrial {
	slices.SortFunc(trials, func(a, b flowTrial) int { return a.at.Compare(b.at) })
	for {
		lost, run, end, longest := 0, 0, 0, 0
		for k := range trials {
			if run++; !trials[k].lost {
				run = 0
				continue
			}
			lost++
			if run > longest {
				longest, end = run, k+1
			}
		}
		rest := float64(len(trials) - longest + 1)
		if longest < 2 || rest*math.Pow(float64(lost-longest+1)/rest, float64(longest)) >= 1e-3 {
			return trials
		}
		trials = slices.Delete(trials, end-longest, end)
	}
}

// slow reports whether a SYN-ACK that echoes a SYN came only after the flow had asked again: late, and no loss.
func slow(a *observe.Attempt) bool {
	if a.Late == observe.LateSlow {
		return true
	}
	for x := range a.Answers {
		ans := &a.Answers[x]
		if ans.Kind != observe.SYNACK || !ans.HasTS {
			continue
		}
		k := slices.IndexFunc(a.SYNs, func(s observe.SYN) bool { return s.HasTS && s.TSval == ans.TSecr })
		if k >= 0 && k+1 < len(a.SYNs) && a.SYNs[k+1].TSval != a.SYNs[k].TSval && ans.At.After(a.SYNs[k+1].At) && x == 0 {
			return true
		}
	}
	return false
}

// deadByChance is the probability that so many flows are never answered where each SYN is lost as often as those of the others are: small where some
// are dead on top of what all lose. The rate counts one loss more than was seen. Where no answer is lost, no listener keeps a request that it
// answers now and then only, and every SYN of a dead flow is a trial.
func (e *evenness) deadByChance(answersLost bool) float64 {
	if e.dead == 0 || e.n == 0 {
		return 1
	}
	trials := e.deadFor
	if !answersLost {
		trials = e.deadSYNs
	}
	q := float64(e.total+1) / float64(e.n+1)
	return stats.BinomialAtLeast(e.dead, e.dead+len(e.asked), math.Pow(min(q, 1), float64(trials)))
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
	if f.Level < Suspected || headPattern(in) || !e.lasting() || onlyFirsts(in) < 1e-3 { // a path does not know a flow's first SYN
		f.Level, f.Settle = Inconclusive, "more flows, each asked many times"
		f.Wants = []Want{{Kind: plan.KindEven, Why: "the same on more flows", Most: 4}}
		return []Finding{f}
	}
	return []Finding{e.elsewhere(in, f)}
}
