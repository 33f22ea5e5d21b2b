package diagnose

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// A stall is an answer that came with a repeat. A host anywhere on the way that is given no processor for a while, the prober's own among them, ends by
// chance just then once in a while, and then lets go at once all that it held. So stalls that ended at one moment are one event, and what they are worth
// is how unlikely such an end is: a lost answer's successor comes one round trip after the repeat, a held one at any time between two repeats. A SYN that
// the echo skips over was lost, whenever the answer came.
const (
	// endsWithin is the least deviation from the round trip that is held against it: what timestamps and timers blur.
	endsWithin = time.Millisecond
	// listenersOwn is how much of the time between two rungs the windows of a listener's ladder take: 1.125·t + 50 ms of 1 s.
	listenersOwn = 0.2
)

// pauseChance is the probability that pauses which ended by chance make the stalls, those whose SYN the echo skips over apart: certain counts these. It
// is 1 where there are no others.
func pauseChance(in *Input, stalls []*observe.Attempt) (certain int, p float64) {
	fastest := fastestTo(in)
	type end struct {
		at time.Time
		p  float64
	}
	var ends []end
	for _, a := range stalls {
		if a.Answered > 0 || a.Unseen > 0 {
			certain++
			continue
		}
		ends = append(ends, end{endedAt(a), endsByChance(in, a, fastest[a.Flow.Dst])})
	}
	slices.SortFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	var moments []float64
	for i, e := range ends {
		if i > 0 && e.at.Sub(ends[i-1].at) <= sameInstant {
			last := len(moments) - 1
			moments[last] = max(moments[last], e.p)
			continue
		}
		moments = append(moments, e.p)
	}
	return certain, allByChance(moments)
}

// fastestTo is the fastest round trip to each destination of the round, repeats apart.
func fastestTo(in *Input) map[netip.AddrPort]time.Duration {
	fastest := map[netip.AddrPort]time.Duration{}
	for a := range attempts(in) {
		if f, ok := fastest[a.Flow.Dst]; a.RTT > 0 && a.Retransmissions == 0 && a.Late == observe.NotLate && (!ok || a.RTT < f) {
			fastest[a.Flow.Dst] = a.RTT
		}
	}
	return fastest
}

// endedAt is when a stall ended.
func endedAt(a *observe.Attempt) time.Time {
	if ans := firstSYNACK(a); ans != nil {
		return ans.At
	}
	if a.Kernel != nil {
		return a.Kernel.Completed
	}
	return time.Time{}
}

// endsByChance is the probability that a pause ends as near to one round trip after the last repeat as this stall did.
func endsByChance(in *Input, a *observe.Attempt, fastest time.Duration) float64 {
	since, gap := sinceRepeat(in, a)
	if gap <= 0 {
		return listenersOwn // the listener repeated by itself
	}
	off := max((since - fastest).Abs(), endsWithin)
	return min(1, 2*float64(off)/float64(gap))
}

// sinceRepeat is how long after its last repeat a stall ended, and how long before that the SYN before it was sent: by the tap, or else by the ladder in
// force; gap 0: there was no repeat.
func sinceRepeat(in *Input, a *observe.Attempt) (since, gap time.Duration) {
	k := a.Retransmissions
	if k == 0 {
		return 0, 0
	}
	if ans := firstSYNACK(a); ans != nil && k < len(a.SYNs) && !a.SYNs[k-1].At.IsZero() && !a.SYNs[k].At.IsZero() {
		return ans.At.Sub(a.SYNs[k].At), a.SYNs[k].At.Sub(a.SYNs[k-1].At)
	}
	if k >= len(in.Ladder.At) {
		return 0, 0
	}
	return a.Handshake - in.Ladder.At[k], in.Ladder.At[k] - in.Ladder.At[k-1]
}

// allByChance joins the probabilities of independent events: R. A. Fisher, Statistical Methods for Research Workers (4th ed., 1932), §21.1. No events: 1.
func allByChance(ps []float64) float64 {
	half := 0.0
	for _, p := range ps {
		half -= math.Log(p)
	}
	sum, term := 0.0, 1.0
	for j := range ps {
		if j > 0 {
			term *= half / float64(j)
		}
		sum += term
	}
	if len(ps) == 0 {
		return 1
	}
	return min(1, sum*math.Exp(-half))
}
