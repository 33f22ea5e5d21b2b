package evidence

import (
	"fmt"
	"math"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// mostCounted bounds every count of an attempt: far more than any burst can come to, and small enough to be added up.
const mostCounted = 1 << 20

// check holds what was read against what every observation keeps to, and the rules rely on.
func check(s *Stored) error {
	for i := range s.Rounds {
		r := &s.Rounds[i]
		for k := range r.Observations {
			if err := checkObservation(&r.Observations[k]); err != nil {
				return fmt.Errorf("rounds[%d].observations[%d]%w", i, k, err)
			}
		}
	}
	return nil
}

func checkObservation(o *observe.Observation) error {
	for i := range o.Attempts {
		if err := checkAttempt(&o.Attempts[i], i); err != nil {
			return fmt.Errorf(".attempts[%d]%w", i, err)
		}
	}
	for i := range o.Transfers {
		if k := o.Transfers[i].Attempt; k < 0 || k >= len(o.Attempts) {
			return fmt.Errorf(".transfers[%d].attempt: %d, want one of %d attempts", i, k, len(o.Attempts))
		}
	}
	if o.Recorded == nil {
		return nil
	}
	for i := range o.Recorded.Frames {
		f := &o.Recorded.Frames[i]
		if f.Attempt < -1 || f.Attempt >= len(o.Attempts) {
			return fmt.Errorf(".recorded.frames[%d].attempt: %d, want −1 or one of %d attempts", i, f.Attempt, len(o.Attempts))
		}
		if f.Number < 0 || f.Orig < len(f.Data) || f.Orig > math.MaxInt32 {
			return fmt.Errorf(".recorded.frames[%d]: number %d, %d octets of %d: that cannot be", i, f.Number, len(f.Data), f.Orig)
		}
	}
	return nil
}

func checkAttempt(a *observe.Attempt, i int) error {
	if a.Index != i {
		return fmt.Errorf(".index: %d, want %d: attempts stand in their order", a.Index, i)
	}
	if a.Via == plan.ViaUnknown {
		return fmt.Errorf(".via: want kernel or raw")
	}
	if a.Answered < -1 || a.Answered >= max(len(a.SYNs), 1) {
		return fmt.Errorf(".answered: %d, want −1 or one of %d SYNs", a.Answered, len(a.SYNs))
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"retransmissions", a.Retransmissions}, {"unseen", a.Unseen}, {"lost", a.Lost}} {
		if n.value < 0 || n.value > mostCounted {
			return fmt.Errorf(".%s: %d, want 0 to %d", n.key, n.value, mostCounted)
		}
	}
	return nil
}
