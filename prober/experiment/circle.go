package experiment

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// circle sends SYNs at one instant, on a fresh flow each, whose TSvals lie around the circle, one drawn from each part of it, in an order drawn by lot: whatever a server
// remembers at that instant refuses one half of them and no other, even if it remembers something else a moment later. Even distances would not do: a filter on
// bits of a multiple of the TSval can take those for a half.
func (v *Investigation) circle(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	base := v.Rand.Uint32()
	n := v.flows(16) &^ 1
	for i, k := range v.Rand.Perm(n) {
		at := base + uint32(uint64(k)<<32/uint64(n)) + v.Rand.Uint32N(uint32(1<<32/uint64(n)))
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("%d of %d", k, n), Via: plan.Raw, Script: v.fixed(wire.TSval(at), plan.Single(), plan.Reset)})
		v.shots(&b, i, 1, time.Duration(i)*circleGap, 0)
	}
	return b
}

// circleGap keeps the SYNs of an instant in order.
const circleGap = 20 * time.Microsecond
