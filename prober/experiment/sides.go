package experiment

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// sides asks fresh flows with TSvals that are drawn anew for each, in blocks of one from each quarter of the circle, counted from what the server
// seems to remember: a comparison with that refuses two quarters whole, and nothing else does.
func (v *Investigation) sides(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	x, ok := diagnose.SidesOf(seen)
	if !ok {
		return b
	}
	for block := range max(v.flows(16)/4, 1) {
		for i, k := range v.Rand.Perm(4) {
			n := block*4 + i
			s := v.fixed(x, plan.Single(), plan.Reset)
			s.Clock.Turns = []wire.TSval{v.within(k)}
			b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("quarter %d, %d", k, n), Via: plan.Raw, Script: s})
			v.shots(&b, n, 1, time.Duration(n)*4*time.Millisecond, 0)
		}
	}
	return b
}

// within draws from a quarter of the circle, but for what is too close to where a comparison turns.
func (v *Investigation) within(quarter int) wire.TSval {
	const width, margin = 1 << 30, diagnose.SidesMargin
	d := v.Rand.Uint32N(width - margin)
	if quarter%2 == 0 {
		d += margin
	}
	return wire.TSval(uint32(quarter)*width + d)
}
