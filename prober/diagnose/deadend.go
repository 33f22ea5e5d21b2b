package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// The arms of a burst of bare ACKs, in their order; the second is there where flows stay dead beside others that do not.
const (
	strayFresh = iota
	strayDead
)

// deadEnd is what was asked of where dead flows end: what flows to other ports of the address met, and bare ACKs to the port.
type deadEnd struct {
	// here are the flows to the port that were never answered, there the SYNs to other ports that were not; mute: those never are.
	here, there silences
	mute        bool
	// twice: each of those was asked twice or more.
	twice bool
	// spared is how many SYNs the flows lost that were answered in the end: loss that falls on all.
	spared silences
	// bare ACKs on fresh and on dead flows: silent are those that drew no RST from as far as SYN-ACKs come.
	fresh, dead silences
}

const openElsewhere = "other ports of the address: do as many of their flows die?"

func readDeadEnd(in *Input, fs []fate) deadEnd {
	var e deadEnd
	lists := [][]fate{fs, freshFlows(in), fates(in, plan.KindQuadrants), fates(in, plan.KindConnect)}
	for k, list := range lists {
		if t := sum(list); k < 3 {
			e.here.silent, e.here.n = e.here.silent+t.dead, e.here.n+t.flows
		}
		for i := range list {
			if k != 2 && list[i].answered { // of single SYNs, one that is lost is a flow that looks dead
				e.spared.silent, e.spared.n = e.spared.silent+list[i].lost(), e.spared.n+list[i].sent
			}
		}
	}
	others := fates(in, plan.KindOther)
	other := sum(others)
	e.twice = !slices.ContainsFunc(others, func(f fate) bool { return !f.answered && f.sent < 2 })
	e.there, e.mute = silences{other.dead, other.flows}, other.flows > 0 && other.dead == other.flows
	hops := synHops(in)
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindStray || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a, arm := &o.Attempts[j], &e.fresh
			switch a.Arm {
			case o.Arms[strayFresh].Name:
			case ThirdAgain:
				continue
			default:
				arm = &e.dead
			}
			arm.n++
			if !resetFrom(a, hops) {
				arm.silent++
			}
		}
	}
	return e
}

// synHops are the hop limits with which SYN-ACKs arrived.
func synHops(in *Input) map[uint8]bool {
	hops := map[uint8]bool{}
	for a := range attempts(in) {
		if x := firstSYNACK(a); x != nil {
			hops[x.HopLimit] = true
		}
	}
	return hops
}

// resetFrom reports whether an attempt drew an RST with one of these hop limits: from as far as those who serve.
func resetFrom(a *observe.Attempt, hops map[uint8]bool) bool {
	for k := range a.Answers {
		if ans := &a.Answers[k]; ans.Kind == observe.RST && hops[ans.HopLimit] {
			return true
		}
	}
	return false
}

// likelier is how much likelier it is, as a natural logarithm, that flows to other ports die as those to this one do than that they lose a SYN here and
// there as those that were answered did; each by the beta-binomial distribution, so that few flows say little.
func (e *deadEnd) likelier() float64 {
	if e.mute || e.there.n == 0 {
		return 0
	}
	died := logBetaBinomial(e.there, float64(e.here.silent)+0.5, float64(e.here.n-e.here.silent)+0.5)
	lost, kept := float64(e.spared.silent)+0.5, float64(e.spared.n-e.spared.silent)+0.5
	if e.twice { // both lost by chance: E[p²] of Beta(a, b) is a(a+1)/((a+b)(a+b+1)); a third SYN counts for nothing, as losses may hang together
		n := lost + kept
		lost *= (lost + 1) / (n + 1)
		kept = n - lost
	}
	return died - logBetaBinomial(e.there, lost, kept)
}

// Odds from which it is taken for settled whether other ports share the dead flows, and those that will do once enough was asked.
const (
	settledOdds = 5.7 // 300 to 1
	enoughOdds  = 2.3 // 10 to 1
)

// shared: what the dead flows' hash chooses lies before the port. It takes two looks, for what comes and goes with the number of SYNs.
func (e *deadEnd) shared(in *Input) bool {
	return e.there.silent >= sharedLosses && in.bursts(plan.KindOther) > 1 && e.likelier() >= e.settled(in)
}

// apart: flows to other ports do not die.
func (e *deadEnd) apart(in *Input) bool { return -e.likelier() >= e.settled(in) }

func (e *deadEnd) settled(in *Input) float64 {
	if in.bursts(plan.KindOther) >= askedOthers {
		return enoughOdds
	}
	return settledOdds
}

// logBetaBinomial is the logarithm of the chance of so many of n where the chance of one is Beta(a, b).
func logBetaBinomial(s silences, a, b float64) float64 {
	beta := func(x, y float64) float64 {
		lx, _ := math.Lgamma(x)
		ly, _ := math.Lgamma(y)
		lxy, _ := math.Lgamma(x + y)
		return lx + ly - lxy
	}
	return logChoose(s.n, s.silent) + beta(float64(s.silent)+a, float64(s.n-s.silent)+b) - beta(a, b)
}

// alive: bare ACKs on the dead flows themselves draw the RST of a stack, from as far as those who serve.
func (e *deadEnd) alive() bool { return e.dead.n >= 2 && 4*e.dead.silent <= e.dead.n }

// swallowed: bare ACKs on the dead flows are lost as their SYNs are, and those on fresh flows come through.
func (e *deadEnd) swallowed() bool {
	return e.dead.n >= 2 && e.dead.silent == e.dead.n && e.fresh.n-e.fresh.silent >= 2
}

// some: a stack answers on some of the dead flows and not on others.
func (e *deadEnd) some() bool { return e.dead.silent < e.dead.n && !e.alive() }

// wants is what is left to ask of where dead flows end.
func (e *deadEnd) wants(in *Input) []Want {
	var out []Want
	if !e.mute && !e.shared(in) && !e.apart(in) {
		out = append(out, Want{Kind: plan.KindOther, Why: "do flows to other ports of the address die as well?", Most: askedOthers})
	}
	if n := in.bursts(plan.KindStray); n == 0 || e.some() {
		out = append(out, Want{Kind: plan.KindStray, Why: "does a stack answer bare ACKs on the dead flows?", Most: 2})
	}
	return out
}

// deadEnd is the finding on flows that stay dead once nothing speaks against it: what they have in common lies before the port, or at a stack that is
// alive and drops SYNs, or is a member that answers nothing.
func (f Finding) deadEnd(in *Input, fs []fate, g *again) Finding {
	t, fresh := sum(fs), g.arms[againFresh]
	f.Level = Confirmed
	f.Summary += fmt.Sprintf(" (%s, about 1 in %d)", deadShare(fs), int(math.Round(float64(t.flows)/float64(t.dead))))
	f.Evidence = []string{
		fmt.Sprintf("%d dead flows sent %d SYNs without one answer; %d flows lost none; loss spread at random would sort itself so with p = %.2g",
			t.dead, deadSYNs(fs), t.whole, f.P),
		fmt.Sprintf("asked again later %d times, with this host's TSval and then half a circle on, none of them answered; of %d fresh flows at the same moments %d were", g.asked().n,
			fresh.n, fresh.n-fresh.silent),
	}
	e := readDeadEnd(in, fs)
	switch {
	case e.shared(in) && (headElsewhere(in) || changing(fates(in, plan.KindOther))):
		f.Level, f.Settle = Inconclusive, "what runs out: on other ports the first of a burst are answered and later ones not, or all of one burst and few of another"
	case e.shared(in) && e.alive() && unlikeShare(in, fs):
		f.Level, f.Settle = Inconclusive, "time: of the flows of other bursts clearly more or fewer die, and what counts SYNs lets bare ACKs pass as well"
	case e.shared(in) && e.alive():
		f = f.filteredFlows(&e)
	case e.shared(in) && e.swallowed():
		f = f.onTheWay(&e)
	case e.shared(in):
		f.Level, f.Settle, f.Wants = Inconclusive, "bare ACKs on the dead flows, where those on fresh ones are answered: does the way there swallow all, or SYNs alone?", e.wants(in)
		f.Summary += "; on other ports of the address as well, so that it is no member behind this port"
	case e.alive():
		f = f.oneListener(in, &e)
	default:
		f = f.deadMember(in, &e)
	}
	return f
}

// unlikeShare reports whether of the flows of other experiments, each asked several times as well, another share was dead than of those that were tried for it: what a
// flow's hash chooses takes as many of any. One in 100 rounds is so by chance.
func unlikeShare(in *Input, fs []fate) bool {
	dead := func(fs []fate) (s silences) {
		for i := range fs {
			s.add(!fs[i].answered)
		}
		return s
	}
	tried := dead(slices.Concat(fs, freshFlows(in)))
	others := dead(fates(in, plan.KindConnect, plan.KindServed, plan.KindSizes, plan.KindEven, plan.KindPrime))
	return 2*min(fisher(tried, others), fisher(others, tried)) < 1e-2
}

// onTheWay is that flows to other ports die alike.
func (f Finding) onTheWay(e *deadEnd) Finding {
	f.Verdict, f.Level = ECMPPathLoss, Suspected
	f.Summary += "; on other ports of the address as well, so that it is no member behind this port"
	f.Evidence = append(f.Evidence, e.others(),
		"a new source port works where a dead one does not: one of several ways that a flow's hash chooses from swallows what it gets, or one of several hosts that share the whole address")
	f.Disproof = "an answer on one of the dead flows; another port of the address whose flows all live"
	f.Remedy = "trace a dead flow and a live one side by side with fixed ports and see where they part: an ECMP next hop, a member of a link bundle, one host of an anycast " +
		"address, a filter by ports. Over IPv6 keep the flow label fixed"
	return f
}

// filteredFlows is that flows to other ports die alike, by their SYNs alone: no way that swallows what it gets, and no listener.
func (f Finding) filteredFlows(e *deadEnd) Finding {
	f.Verdict, f.Level = ACLDrop, Suspected
	f.Summary += "; on other ports of the address as well, and bare ACKs pass on the dead flows: a filter before the ports drops SYNs alone, by their flow"
	f.Evidence = append(f.Evidence, e.others(), e.strays(),
		"a new source port works where a dead one does not: what drops the SYN chooses by ports, or stands on one of several ways, or by what one of them makes of a SYN")
	f.Disproof = "an answer on one of the dead flows; another port of the address whose flows all live; bare ACKs swallowed on the dead flows as well"
	f.Remedy = "capture a dead flow's SYN and a live one's on either side of each device on the way, with fixed ports: a rule on source ports, one node of several that protect from " +
		"floods, or a next hop that changes options which a filter asks for"
	return f
}

// others says what flows to other ports met.
func (e *deadEnd) others() string {
	return fmt.Sprintf("other ports of the address: %d of %d flows dead; where SYNs were answered at all, %d of %d were lost", e.there.silent, e.there.n, e.spared.silent, e.spared.n)
}

// strays says what bare ACKs met.
func (e *deadEnd) strays() string {
	return fmt.Sprintf("bare ACKs on the dead flows themselves: %d of %d drew an RST from as far as SYN-ACKs come; on fresh flows %d of %d", e.dead.n-e.dead.silent, e.dead.n,
		e.fresh.n-e.fresh.silent, e.fresh.n)
}

// oneListener is that the stack where the dead flows end is alive and drops SYNs alone. Of listeners that share a port (SO_REUSEPORT) Linux picks one by the hash of
// the addresses and ports, full or not (net/core/sock_reuseport.c reuseport_select_sock, 4.5 … 6.18).
func (f Finding) oneListener(in *Input, e *deadEnd) Finding {
	f.Verdict, f.Level = AcceptQueueOverflow, Suspected
	f.Summary += "; the stack at their end is alive and drops SYNs alone: one of several listeners is full"
	f.Evidence = append(f.Evidence, e.strays(),
		"a new source port works where a dead one does not: one worker of several that listen on the port (SO_REUSEPORT), or one member, does not accept")
	f.Disproof = "a SYN answered on one of the dead flows; `ss -ltn` without a listener whose Recv-Q is above its Send-Q (a full SYN queue without cookies, or a filter for SYNs, looks the same)"
	f.Remedy = "on each server `ss -ltnp 'sport = :PORT'`: the listener whose Recv-Q is above its Send-Q is the one; unblock or restart that process. Of listeners that share a " +
		"port by SO_REUSEPORT each keeps its share of the flows, though it hangs. ListenOverflows counts each drop"
	if !e.apart(in) { // a listener has one port: what drops SYNs to others as well stands before it
		f.Level, f.Settle, f.Wants = Inconclusive, openElsewhere, e.wants(in)
	}
	if e.mute {
		f.Settle = "another port of the address that answers (--contrast), or ListenOverflows on the server: a filter before it may drop SYNs by their flow as well"
	}
	return f
}

// deadMember is that nobody answers at the end of the dead flows.
func (f Finding) deadMember(in *Input, e *deadEnd) Finding {
	f.Wants = e.wants(in)
	if e.there.silent > 0 && !e.mute && !e.apart(in) {
		f.Level, f.Settle = Inconclusive, openElsewhere
	}
	if e.dead.n == 0 {
		f.Level, f.Settle = Inconclusive, "bare ACKs on the dead flows: a filter for SYNs, or one listener of several, may drop a share as well"
	}
	if e.some() {
		f.Level, f.Settle = Inconclusive, "bare ACKs on the dead flows: does a stack answer on all of them?"
	}
	if e.there.n > 0 && !e.mute {
		f.Evidence = append(f.Evidence, fmt.Sprintf("other ports of the address: %d of %d flows dead, here %d of %d", e.there.silent, e.there.n, e.here.silent, e.here.n))
	}
	if e.dead.n > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("bare ACKs on dead flows: %d of %d drew an RST from as far as SYN-ACKs come; on fresh flows %d of %d", e.dead.n-e.dead.silent, e.dead.n,
			e.fresh.n-e.fresh.silent, e.fresh.n))
	}
	f.Evidence = append(f.Evidence, "a new source port works where a dead one does not: a member behind the VIP, chosen by flow, swallows what it gets")
	f.Disproof = "an answer on one of the dead flows; as many dead flows towards each real server directly"
	f.Remedy = "find the member that answers nothing (probe each real server directly: vipprobe probe --compare VIP REAL...), take it out of the pool, and let " +
		"the health check use the path that clients use. Where bare ACKs do not pass, a member whose accept queue is full looks the same (`ss -ltn` there)"
	return f
}
