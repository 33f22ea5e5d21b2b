package diagnose

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// sweep kinds send enough SYNs per flow, or flows enough, to speak about loss as such.
func sweepKinds() []plan.Kind {
	return []plan.Kind{plan.KindQuadrants, plan.KindSticky, plan.KindPaced, plan.KindSYN, plan.KindDirection}
}

// staysDead is how many dead flows must have been asked once more, and in vain, each many times over, before they are held for dead and not for
// unlucky ones on a path that loses most.
const staysDead = 6

// checkSticky: some flows never had an answer however often their SYN was repeated, now and later, while others beside them were answered at once.
// Loss that keeps to a flow is made by what a flow's hash chooses: a member behind the address.
func checkSticky(in *Input) []Finding {
	fs := fates(in, plan.KindSticky)
	t := sum(fs)
	if t.dead == 0 || t.dead == t.flows || t.flows < 4 || !deadOrWhole(fs, t) {
		return nil
	}
	f := Finding{
		Verdict: BlackholeBackend, Level: Inconclusive, P: concentration(fs),
		Summary: fmt.Sprintf("%d of %d flows never had an answer to %d SYNs each, %d were answered at the first: loss keeps to the flow",
			t.dead, t.flows, stickyRungs(fs), t.whole),
	}
	g := readAgain(in)
	asked, fresh := g.asked(), g.arms[againFresh]
	later := Want{Kind: plan.KindAgain, Why: "do the dead flows stay dead, whatever their TSval, while fresh ones are answered?", Most: 4}
	more := Want{Kind: plan.KindSticky, Why: "more flows: is it the same share?", Most: 4}
	every := append(fs, freshFlows(in)...)
	switch {
	case g.turned():
		f.Settle = "flows that this host's own TSval finds dead may answer another"
		f.Wants = []Want{{Kind: plan.KindCells, Why: f.Settle, Most: 3}}
		return []Finding{f}
	case asked.silent < asked.n:
		return nil // not dead
	case t.dead < 2 || t.flows-t.dead < 4 || firm(f.P, in.bursts(plan.KindSticky)) < Suspected:
		f.Settle, f.Wants = "more flows, each tried several times", []Want{more}
		return []Finding{f}
	case asked.n < staysDead:
		f.Settle, f.Wants = later.Why, []Want{later}
		return []Finding{f}
	case fresh.silent == fresh.n || headPattern(in) || math.Abs(byTime(every)) > inOrder || changing(every):
		f.Settle = "time: which flows die follows the order in which they were tried, so something fills up or comes and goes"
		return []Finding{f}
	case !g.leapt():
		f.Settle, f.Wants = later.Why, []Want{later}
		return []Finding{f}
	}
	return []Finding{f.deadEnd(in, fs, &g)}
}

// deadShare is the share of flows that are dead, in the order in which they were drawn.
func deadShare(fs []fate) string {
	var draws []draw
	for i := range fs {
		draws = append(draws, draw{fs[i].a.SYNs[0].At, !fs[i].answered})
	}
	return flowShare(draws)
}

// deadOrWhole reports whether flows lost all or nothing, but for a SYN here and there: flows that lose some and not all speak for loss of another make.
func deadOrWhole(fs []fate, t tally) bool {
	partial, lost := t.flows-t.dead-t.whole, 0
	for i := range fs {
		if fs[i].answered {
			lost += fs[i].lost()
		}
	}
	if 2*partial > t.whole {
		return false // where most are lost, who was answered was not answered at the first
	}
	return partial <= t.flows/8 || partial <= t.flows/4 && lost <= partial+partial/4
}

// concentration is the chance that losses spread at random over all tries fall on whole flows as they did: the ways to choose the dead
// flows over the ways to choose as many tries.
func concentration(fs []fate) float64 {
	dead, k := 0, stickyRungs(fs)
	for i := range fs {
		if !fs[i].answered {
			dead++
		}
	}
	n := len(fs)
	return math.Exp(logChoose(n, dead) - logChoose(n*k, dead*k))
}

func stickyRungs(fs []fate) int {
	k := 1
	for i := range fs {
		if !fs[i].answered {
			k = max(k, fs[i].sent)
		}
	}
	return k
}

func deadSYNs(fs []fate) int {
	n := 0
	for i := range fs {
		if !fs[i].answered {
			n += fs[i].sent
		}
	}
	return n
}

func logChoose(n, k int) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return lg(n) - lg(k) - lg(n-k)
}

// checkRandomLoss: SYNs or answers are lost on all flows alike. The echoed TSval says which way each was lost: a SYN-ACK that echoes a
// repeat proves that the earlier SYN had not made a request at the listener; one that echoes the first SYN proves that it had.
func checkRandomLoss(in *Input) []Finding {
	fs := fates(in, sweepKinds()...)
	t := sum(fs)
	if t.lost() == 0 || t.flows < 8 || t.dead == t.flows {
		return nil
	}
	st := sum(fates(in, plan.KindSticky))
	if st.dead > 0 && concentration(fates(in, plan.KindSticky)) < 1e-4 && st.flows-st.dead-st.whole <= st.flows/8 {
		return nil // it keeps to flows
	}
	more := lossWants(in, t)
	beside := readCompany(in)
	paced, other := sum(beside.alone(fates(in, plan.KindPaced))), sum(fates(in, plan.KindOther))
	f := Finding{Verdict: SYNStallUnclassified, Level: Inconclusive, Wants: more, Settle: "more losses, paced SYNs, another port"}
	if t.forward+t.back == 0 {
		f.Summary = fmt.Sprintf("%d of %d SYNs had no effect; which way they were lost is not known yet", t.lost(), t.syns)
		return []Finding{f}
	}
	f.Summary = fmt.Sprintf("%d of %d SYNs had no effect in time (%.0f %%): %d proven lost before the listener, %d answers lost on the way back, %d untold",
		t.lost(), t.syns, 100*t.rate(), t.forward, t.back, t.unknown)
	f.Evidence = []string{
		fmt.Sprintf("echoed TSvals name the SYN that made the request: %d SYNs were skipped over, %d had arrived though their answer had not", t.forward, t.back),
		fmt.Sprintf("loss falls on flows alike: %d of %d lost none, %d some, %d all", t.whole, t.flows, t.flows-t.whole-t.dead, t.dead),
	}
	var out []Finding
	if t.back > 0 {
		out = append(out, backLoss(f, in, fs, t))
	}
	if t.forward > 0 {
		loss := forwardLoss(f, in, fs, t, paced, other)
		if loss.Level >= Suspected && beside.crowds(fs) {
			loss.Level, loss.Settle = Inconclusive, "SYNs that leave apart: loss falls on those that left within "+apartBy.String()+" of another, and hardly on others"
		}
		out = append(out, loss)
	}
	sortFindings(out)
	return out
}

// lossWants are the experiments that random loss still lacks.
func lossWants(in *Input, t tally) []Want {
	m := swallowed.metering(in)
	switch {
	case len(checkPool(in)) > 0:
		return nil // silence before an eviction, and after it, is what an address that comes and goes has anyway
	case headPattern(in) && (m.bursts == 0 || m.metered()):
		return nil // first of all whether it is the rate: checkRate
	}
	more := []Want{
		{Kind: plan.KindPaced, Why: "does loss fall on single SYNs far apart as well?", Most: 1},
		{Kind: plan.KindOther, Why: "does another port of the same address lose as much?", Most: 1},
		{Kind: plan.KindEven, Why: "is loss alike on all flows?", Most: evenEnough(in)},
	}
	few := func(n int) bool { return n > 0 && n < fewTold }
	if t.forward+t.back < fewTold || few(t.forward) || few(t.back) {
		more = append(more, Want{Kind: plan.KindSticky, Why: "more losses whose direction the echo can tell", Most: 3})
	}
	if t.back == 0 { // an answer that echoes an earlier SYN is a kept request
		most := 1
		if held, _ := holds(in); held == 0 {
			most = 2 // its SYNs may be lost as others are
		}
		more = append(more, Want{Kind: plan.KindStateful, Why: "does the listener keep its requests, so that echoes tell the direction?", Most: most})
	}
	return more
}

// fewTold is how many losses of one direction name it.
const fewTold = 3

// evenEnough is how many even sweeps are worth it: one where it shows loss that is clearly alike on all flows.
func evenEnough(in *Input) int {
	if e := readEven(in); e.total >= 4 && e.chance() > 0.2 {
		return 1
	}
	return 2
}

// backLoss: an answer that was sent and did not come needs no further separation: listener, queue and filter before it let the SYN in.
func backLoss(f Finding, in *Input, fs []fate, t tally) Finding {
	f.Verdict = SYNACKLoss
	f.Disproof = "a SYN-ACK that echoes a later SYN than the first; no loss on another return path"
	f.Remedy = "look at the way back from the server to here: its uplink, asymmetric routing, a stateful device that did not see the SYN, the neighbour entry of this host"
	steady, over := readSteadiness(in), readOverdue(in)
	switch {
	case t.back < fewTold:
	case over.explains(t.lost()):
		f = f.overdue(over)
	case firstNever(fs):
		f.Settle, f.Wants = firstDropped, nil
	case steady.unsteady() && !steady.outnumbered(instants(fs)):
		f.Settle = "answers that come in time: " + steady.String() + ", so a late one is not known to be lost"
	case readTiming(in, fs).slow():
		f.Settle = "answers to repeats: those that came, came when a listener repeats by itself, and none to what had been asked in between, so they may be slow and not lost"
		f.Wants = append([]Want{{Kind: plan.KindSticky, Why: "does an answer come to a repeat, before a listener repeats by itself?", Most: 4}}, f.Wants...)
	case instants(fs) < fewInstants:
		f.Settle = "losses at more than one or two moments: a pause somewhere that ended looks the same"
		f.Wants = append([]Want{{Kind: plan.KindSticky, Why: "are answers lost at other moments as well?", Most: 4}}, f.Wants...)
	default:
		f.Level, f.Wants = Confirmed, nil
	}
	return f
}

// forwardLoss: a SYN that made no request may have been lost on the way or dropped by the listener. Another port of the same address
// tells: what loses its SYNs too is the path.
func forwardLoss(f Finding, in *Input, fs []fate, t, paced, other tally) Finding {
	f.Verdict = ForwardSYNLoss
	f.Disproof = "no loss towards another port of the same address; loss that ends when SYNs are sent far apart"
	f.Remedy = "follow the path from here to the target hop by hop (counters of drops and errors on each interface); the listener itself is not the cause"
	even := readEven(in)
	held, repeated := holds(in)
	if t.forward < fewTold || paced.flows == 0 || other.flows == 0 || len(even.asked) == 0 || held == 0 && t.back == 0 {
		return f
	}
	if repeated == 0 && t.back == 0 {
		f.Verdict, f.Settle, f.Wants = SYNStallUnclassified, "a listener that keeps state: without it an echo does not tell which way a SYN or its answer was lost", nil
		f.Summary += "; the listener never repeats a SYN-ACK (cookies, or a SYN proxy), so the direction is not known"
		return f
	}
	if bits := readLowBits(in); bits.kept > 0 { // by some of several listeners
		f.Settle, f.Wants = fmt.Sprintf("listeners that keep state: %d of %d flows are answered by cookie, where a SYN whose answer was lost looks like one that never came", bits.kept, bits.flows), nil
		return f
	}
	if firstNever(fs) {
		f.Settle, f.Wants = firstDropped, nil
		return f
	}
	if told, from := turnedAway(in); told >= fewTold {
		f.Settle, f.Wants = fmt.Sprintf("what %s refuses: %d SYNs of the same drew an ICMP error, and who sends these sends few, so that SYNs beside them may be silent for the same reason", from, told), nil
		return f
	}
	if over := readOverdue(in); over.explains(t.lost()) {
		return f.overdue(over)
	}
	if settle := unlikePath(in, t, &even); settle != "" {
		f.Settle = settle
		return f
	}
	if even.total > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d flows asked up to %d times each lost %d SYNs, %d of them none: alike on all (p = %.2g)", len(even.asked), even.most,
			even.total, even.clean(), even.chance()))
	}
	return f.elsewhere(t, paced, other)
}

// unlikePath says what would settle a loss of SYNs that does not fall as a path's does, or nothing where it does.
func unlikePath(in *Input, t tally, even *evenness) string {
	switch {
	case headPattern(in) || headElsewhere(in):
		return "losses fall on the later SYNs of each burst: what runs out there is no loss on the way"
	case even.total > 0 && even.chance() < 1e-2:
		return "more flows, each asked many times: loss does not fall on all alike"
	case onlyFirsts(in) < 1e-3:
		return "losses fall on the first SYN of each flow, and on later ones hardly any: protection that passes what is repeated does that, and no path"
	case even.deadByChance(t.back > 0) < 1e-3:
		return "the flows that are never answered, apart from those that lose a part: two causes at once, and which of them loses SYNs is open"
	}
	return ""
}

// elsewhere says whether the loss of SYNs is the path's: it falls on single ones far apart and on another port of the address as well.
func (f Finding) elsewhere(t, paced, other tally) Finding {
	f.Evidence = append(f.Evidence,
		fmt.Sprintf("single SYNs far apart: %d of %d lost", paced.lost(), paced.syns),
		fmt.Sprintf("another port of the same address: %d of %d lost", other.lost(), other.syns))
	if other.flows > 0 && other.dead == other.flows {
		f.Evidence = append(f.Evidence, "the other port answers nothing at all, so it says nothing")
		f.Settle = "a port of the same address that answers"
		f.Wants = nil
		return f
	}
	if other.lost() == 0 && fisher(silences{t.lost(), t.syns}, silences{other.lost(), other.syns}) < 1e-2 {
		f.Verdict = SYNStallUnclassified
		f.Summary += "; another port loses none, so it is this port's listener or a filter before it"
		f.Settle = "the server's counters: ListenOverflows, TCPReqQFullDrop"
		f.Wants = []Want{{Kind: plan.KindPaced, Why: "does it depend on the rate?", Most: 3}, {Kind: plan.KindRate, Why: "a limiter lets through its own rate", Most: 2}}
		return f
	}
	if other.lost() >= 2 && paced.lost() >= 1 {
		f.Level, f.Wants, f.Settle = Confirmed, nil, ""
		return f
	}
	f.Wants = []Want{{Kind: plan.KindPaced, Why: "does loss fall on single SYNs far apart as well?", Most: 3},
		{Kind: plan.KindOther, Why: "does another port of the same address lose as much?", Most: 2}}
	return f
}

// holds counts the SYN-ACKs that were left unanswered on purpose, and how many of them the listener repeated by itself.
func holds(in *Input) (held, repeated int) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindStateful || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			first := firstSYNACK(&o.Attempts[j])
			if first == nil {
				continue
			}
			held++
			for k := range o.Attempts[j].Answers {
				if ans := &o.Attempts[j].Answers[k]; ans.Kind == observe.SYNACK && ans.At.Sub(first.At) >= repeatAfter {
					repeated++
					break
				}
			}
		}
	}
	return held, repeated
}
