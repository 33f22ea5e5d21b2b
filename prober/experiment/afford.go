package experiment

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Untested returns what the last Next left out because it did not fit the budget, and what the budget lacked: "time" or "SYNs".
func (v *Investigation) Untested() (left []diagnose.Want, lacking string) {
	if len(v.untested) == 0 {
		return nil, ""
	}
	for _, s := range v.untested {
		left = append(left, diagnose.Want{Kind: s.Kind, Why: s.Why})
	}
	return left, v.wanting
}

// lacks says what a burst needs more than the budget has left: "time", "SYNs" or nothing. Kernel connects are shortened where that will do.
func (v *Investigation) lacks(b *plan.Burst, seen []observe.Observation) string {
	if v.MaxSYNs > 0 && sent(seen)+demand(b) > v.MaxSYNs {
		return "SYNs"
	}
	if v.Left > 0 && b.Span() > v.Left && !shorten(b, v.Left) {
		return "time"
	}
	return ""
}

// shorten fits a burst of kernel connects, or of primes, of which the first is enough, or of data phases, to the time left, as long as that is time enough for an
// answer and its absence.
func shorten(b *plan.Burst, left time.Duration) bool {
	const least = 400 * time.Millisecond
	if b.Kind != plan.KindConnect && b.Kind != plan.KindPrime && !moves(b.Kind) || left < least {
		return false
	}
	b.Listen = left - (b.Span() - b.Listen)
	return b.Listen >= least
}

// skipped reports whether a kind of burst was found not to fit the budget.
func (v *Investigation) skipped(k plan.Kind) bool {
	return slices.ContainsFunc(v.untested, func(s Step) bool { return s.Kind == k })
}

// demand is the most SYNs that a burst can send: every rung of every shot that falls within its time.
func demand(b *plan.Burst) int {
	n := len(b.Pings) // as dear as a SYN
	for i := range b.Shots {
		n += len(b.Arms[b.Shots[i].Arm].Script.Ladder.Until(b.Listen).At)
	}
	return n
}

// sent counts the SYNs of a round so far, by the tap or else by what the kernel says.
func sent(seen []observe.Observation) int {
	n := 0
	for i := range seen {
		for j := range seen[i].Attempts {
			n += synsOf(&seen[i].Attempts[j])
		}
		n += len(seen[i].Pings)
	}
	return n
}

func synsOf(a *observe.Attempt) int {
	if a.Outcome == observe.NotSent {
		return len(a.SYNs)
	}
	return max(len(a.SYNs)+a.Unseen, a.Retransmissions+1)
}
