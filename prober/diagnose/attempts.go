package diagnose

import (
	"iter"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// aside reports whether a burst was not aimed at the target's own service, or asked of it what no client would, or on purpose at what was known to be dead
// there: what it met says nothing of how clients fare.
func aside(k plan.Kind) bool {
	switch k {
	case plan.KindCells, plan.KindLate, plan.KindOracle, plan.KindFollow, plan.KindSides, plan.KindCircle, plan.KindPlain, plan.KindLook, plan.KindVolley, plan.KindECN, plan.KindOther, plan.KindStray, plan.KindPing, plan.KindWalk, plan.KindSource, plan.KindHold, plan.KindFreed, plan.KindBacklog, plan.KindIdle, plan.KindParity, plan.KindAgain, plan.KindScope:
		return true
	default:
		return false
	}
}

// size is how many attempts a round has.
func (in *Input) size() int {
	n := 0
	for i := range in.Observations {
		n += len(in.Observations[i].Attempts)
	}
	return n
}

// attempts yields every attempt at the target itself.
func attempts(in *Input) iter.Seq[*observe.Attempt] {
	return func(yield func(*observe.Attempt) bool) {
		for i := range in.Observations {
			o := &in.Observations[i]
			if aside(o.Kind) {
				continue
			}
			for j := range o.Attempts {
				if !yield(&o.Attempts[j]) {
					return
				}
			}
		}
	}
}

// trusted reports whether absence can be read from an observation: a tap was there and lost nothing, and time did not jump.
func trusted(o *observe.Observation) bool {
	return o.Whole() && o.ClockStep == 0
}

// firstSYNOrder lists the attempts of a burst in the order in which their first SYNs left.
func firstSYNOrder(o *observe.Observation) []*observe.Attempt {
	var out []*observe.Attempt
	for i := range o.Attempts {
		if a := &o.Attempts[i]; len(a.SYNs) > 0 && !a.SYNs[0].At.IsZero() {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b *observe.Attempt) int { return a.SYNs[0].At.Compare(b.SYNs[0].At) })
	return out
}

// unexplained yields the attempts of observations that no finding accounts for, but for those whose silence is their point.
func unexplained(in *Input) iter.Seq[*observe.Attempt] {
	return func(yield func(*observe.Attempt) bool) {
		for i := range in.Observations {
			o := &in.Observations[i]
			if in.explained[i] || aside(o.Kind) {
				continue
			}
			for j := range o.Attempts {
				if !yield(&o.Attempts[j]) {
					return
				}
			}
		}
	}
}

// trustedAttempts yields the attempts at the target of bursts in which absence can be read.
func trustedAttempts(in *Input) iter.Seq[*observe.Attempt] {
	return func(yield func(*observe.Attempt) bool) {
		for i := range in.Observations {
			o := &in.Observations[i]
			if aside(o.Kind) || !trusted(o) {
				continue
			}
			for j := range o.Attempts {
				if !yield(&o.Attempts[j]) {
					return
				}
			}
		}
	}
}

// connected reports whether an attempt came to be a connection that somebody served: one that acknowledged our data was, even if its application reset
// it then, because it could make nothing of it.
func connected(a *observe.Attempt) bool {
	if a.Outcome != observe.Reset {
		return a.Outcome == observe.Accepted
	}
	return slices.ContainsFunc(a.Answers, func(ans observe.Answer) bool {
		return ans.Kind != observe.SYNACK && ans.Flags&wire.ACK != 0 && a.ISS.Add(1).Before(ans.Ack)
	})
}
