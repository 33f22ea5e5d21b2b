package diagnose

import (
	"iter"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// attempts yields every attempt of the round.
func attempts(in *Input) iter.Seq[*observe.Attempt] {
	return func(yield func(*observe.Attempt) bool) {
		for i := range in.Observations {
			o := &in.Observations[i]
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
	return o.Captured && o.CaptureDrops == 0 && o.ClockStep == 0
}
