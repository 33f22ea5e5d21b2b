package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// An RST that comes this much later than answers do is no port's: gaveUpRounds round trips, and gaveUpRoom for members that stand further off.
const (
	gaveUpRounds = 2
	gaveUpRoom   = 100 * time.Millisecond
)

// patience is how late an RST to a SYN may come and still be the answer of a closed port, which takes a round trip as a SYN-ACK does (RFC 9293
// §3.10.7.1). One that comes later is a device's on the way that had waited for a member in vain. Where nothing was answered with a SYN-ACK no
// round trip is known, and only slowFrom tells.
func patience(in *Input) time.Duration {
	var trips []time.Duration
	for a := range attempts(in) {
		if a.Outcome == observe.Accepted && a.Retransmissions == 0 && a.RTT > 0 {
			trips = append(trips, a.RTT)
		}
	}
	if len(trips) == 0 {
		return slowFrom
	}
	slices.Sort(trips)
	return min(slowFrom, gaveUpRounds*trips[len(trips)/2]+gaveUpRoom)
}

// gaveUp reports whether an attempt had no answer but an RST, and that only so much patience after its last SYN: for what the SYN met it is
// silence. Flows that are asked with one TSval after the other within milliseconds count from their first SYN.
func gaveUp(k plan.Kind, a *observe.Attempt, patience time.Duration) bool {
	if a.Outcome != observe.Refused {
		return false
	}
	i := slices.IndexFunc(a.Answers, func(x observe.Answer) bool { return x.Kind == observe.RST })
	if i < 0 {
		return a.Retransmissions == 0 && a.Handshake >= patience
	}
	var from time.Time
	for j := range a.SYNs {
		if at := a.SYNs[j].At; !at.After(a.Answers[i].At) && (from.IsZero() || !aside(k)) {
			from = later(from, at)
		}
	}
	return !from.IsZero() && a.Answers[i].At.Sub(from) >= patience
}
