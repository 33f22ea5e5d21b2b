package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// holed is what shot i sends behind a hole; nil: nothing.
func (r *run) holed(i int) *plan.Holed {
	if !r.shots[i].raw {
		return nil
	}
	return r.burst.Arms[r.burst.Shots[i].Arm].Script.Then.Holed
}

// trace keeps a segment of a raw shot whose data has a hole in front.
func (r *run) trace(shot int, at time.Time, out bool, seg *wire.Segment) {
	if r.holed(shot) != nil {
		r.shots[shot].data.Add(at, out, seg)
	}
}

// traced tells what came of them.
func (r *run) traced(o *observe.Observation) {
	for i := range r.shots {
		if h := r.holed(i); h != nil {
			x := r.shots[i].data
			x.Attempt, x.Gap = i, h.Gap
			x.Judge()
			o.Holed = append(o.Holed, x)
		}
	}
}
