package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// lostAlone counts the SYNs at a steady pace that were lost when no handshake of ours can have been open any more: those that left after the last answer
// had come, and had been reset, by more than such a SYN may overtake the RST before it. A queue or table of few places, each held until our RST is there,
// loses only SYNs that find one of ours in it.
func (d denial) lostAlone(in *Input) int {
	n := 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindRate && o.Kind != plan.KindScope && o.Kind != plan.KindPaced || !trusted(o) || in.explained[i] {
			continue
		}
		ts := d.trials(o)
		margin := overtaking(ts)
		var last time.Time
		for _, t := range ts {
			switch {
			case t.answered:
				last = later(last, t.ended)
			case !last.IsZero() && t.at.Sub(last) > margin:
				n++
			}
		}
	}
	return n
}

// overtaking is by how much one segment of a burst may be faster than another: by as much as round trips differ, but for one in twenty, and no less than a
// quarter of one.
func overtaking(ts []trial) time.Duration {
	var trips []time.Duration
	for _, t := range ts {
		if t.answered {
			trips = append(trips, t.ended.Sub(t.at))
		}
	}
	slices.Sort(trips)
	if len(trips) == 0 {
		return 0
	}
	usual := trips[(19*len(trips)-1)/20]
	return max(usual-trips[0], usual/4) + 5*time.Millisecond
}
