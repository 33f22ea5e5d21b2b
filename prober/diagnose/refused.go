package diagnose

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// checkClosed: attempts were refused by an RST to their SYN. One RST is certain of what it says, whatever became of other SYNs: lost ones
// are the loss rules'. What is open is only whether somebody refuses always or everybody did for a time.
func checkClosed(in *Input) []Finding {
	n, refused, accepted, prompt := 0, 0, 0, 0
	late := in.patience()
	for a := range attempts(in) {
		if refusedHere(a) {
			continue
		}
		switch a.Outcome {
		case observe.Accepted, observe.Reset:
			accepted++
		case observe.Refused:
			refused++
			if a.Retransmissions == 0 && !gaveUp(plan.KindConnect, a, late) {
				prompt++
			}
		case observe.NotSent:
			continue
		case observe.OutcomeUnknown, observe.TimedOut, observe.Unreachable, observe.LocalDrop:
		}
		n++
	}
	if prompt == 0 {
		return nil // an RST that comes only after long is a balancer's that gave up on a member, not the answer of a port
	}
	f := Finding{
		Verdict: PortClosed, Level: Confirmed,
		Summary:  fmt.Sprintf("%d of %d connections were refused with an RST to the SYN", refused, n),
		Evidence: []string{"an RST that acknowledges our ISS+1 comes from a host that received the SYN and has no listener for it, or from a filter that rejects"},
		Disproof: "a SYN-ACK from the same address and port",
		Remedy:   "start the service, or take the member that refuses out of the pool",
	}
	if accepted == 0 {
		if refused < n {
			f.Summary += "; none was accepted, the others had no answer"
		}
		switch {
		case turned(in):
			f.Level, f.Settle = Inconclusive, "a longer look: silence turned to refusal under our eyes, so the address may yet serve"
			f.Wants = []Want{{Kind: plan.KindWatch, Why: "does the address serve and refuse in turn?", Most: 3}}
		case in.bursts(plan.KindPaced) == 0:
			f.Wants = []Want{{Kind: plan.KindPaced, Why: "is it closed, or does it come and go?", Most: 1}}
		}
		return []Finding{f}
	}
	return []Finding{refusedSome(in, f, refused)}
}

// refusedHere reports whether a connect was refused though no SYN of it left this host by any device: a filter of the prober's own host rejects it, whose RST the tap sees on the
// loopback device.
func refusedHere(a *observe.Attempt) bool {
	return a.Via == plan.Kernel && a.Outcome == observe.Refused && a.Unseen > 0 && len(a.SYNs) == 0
}

const oneRefuses = "; the rest were not: one member of several refuses, or the listener came or went"

// refusedSome judges that some connections were refused and others were not.
func refusedSome(in *Input, f Finding, refused int) Finding {
	near, far, apart := refusedElsewhere(in)
	_, p := stretches(moments(in))
	switch {
	case overALimit(in, byReset):
		f.Summary += "; the first of most bursts were not: a limit refuses what is over it, or a member its turn"
		f.Settle = "single SYNs far apart, and at two steady paces"
	case p < 1e-2 || refused < 2 || refusingBursts(in) < 2 || !sideBySide(in):
		f.Summary += oneRefuses
		f.Settle = "whether a member refuses always, or the address now and then"
	case apart:
		f.Summary += fmt.Sprintf("; the RSTs come from %d hop(s) away, and what accepts is %d: a filter on the way rejects them, or a member that stands elsewhere", near, far)
		f.Settle = "who is at that distance (traceroute to this port): a filter, or a member of the pool"
		f.Disproof = "an RST from as far away as the SYN-ACKs"
		f.Remedy = "look on that hop for rules that reject with a TCP reset; if a member of the pool stands there, start its service or take it out"
	default:
		f.Summary += oneRefuses
		return f
	}
	f.Level, f.Wants = Inconclusive, []Want{{Kind: plan.KindPaced, Why: "does it come and go?", Most: 3}}
	return f
}

// refusedElsewhere compares how far the RSTs to our SYNs came with how far the SYN-ACKs did, by the hops that are missing from an initial hop limit. apart: no
// RST came as far as any SYN-ACK.
func refusedElsewhere(in *Input) (rst, synack int, apart bool) {
	accepts, refuses := map[int]bool{}, map[int]bool{}
	for a := range attempts(in) {
		for k := range a.Answers {
			ans := &a.Answers[k]
			if ans.HopLimit == 0 {
				continue
			}
			away := initialTTL(ans.HopLimit) - int(ans.HopLimit)
			switch {
			case ans.Kind == observe.SYNACK:
				accepts[away] = true
			case ans.Kind == observe.RST && a.Outcome == observe.Refused:
				refuses[away] = true
			}
		}
	}
	for away := range refuses {
		if accepts[away] {
			return 0, 0, false
		}
	}
	if len(accepts) == 0 || len(refuses) == 0 {
		return 0, 0, false
	}
	return slices.Min(slices.Collect(maps.Keys(refuses))), slices.Min(slices.Collect(maps.Keys(accepts))), true
}

// turned reports whether silence turned to refusal: a burst that went unanswered as a whole, or until it was repeated, beside one that was
// refused as a whole. No closed port does that, a pool that goes empty does.
func turned(in *Input) bool {
	silent, refused, both := false, false, false
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || !trusted(o) || len(o.Attempts) < 4 {
			continue
		}
		all := func(hit func(*observe.Attempt) bool) bool {
			return !slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return !hit(&a) })
		}
		silent = silent || all(func(a *observe.Attempt) bool { return a.Outcome == observe.TimedOut && len(a.Answers) == 0 })
		refused = refused || all(func(a *observe.Attempt) bool { return a.Outcome == observe.Refused })
		both = both || all(func(a *observe.Attempt) bool { return a.Outcome == observe.Refused && a.Retransmissions > 0 })
	}
	return both || silent && refused
}

// sideBySide reports whether a short burst served some and refused others: what refuses everybody for a while does not.
func sideBySide(in *Input) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || o.Kind == plan.KindWatch || o.Kind == plan.KindPaced {
			continue
		}
		served, refused := false, false
		for j := range o.Attempts {
			served = served || o.Attempts[j].Outcome == observe.Accepted
			refused = refused || o.Attempts[j].Outcome == observe.Refused
		}
		if served && refused {
			return true
		}
	}
	return false
}

// refusingBursts counts the bursts in which some connection was refused: a member that refuses always does so in most of them.
func refusingBursts(in *Input) int {
	n := 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if !aside(o.Kind) && slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return a.Outcome == observe.Refused }) {
			n++
		}
	}
	return n
}
