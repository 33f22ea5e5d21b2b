package experiment

import (
	"fmt"
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// pairGap is the time between two single SYNs that are compared.
const pairGap = 4 * time.Millisecond

// twos adds n pairs of single SYNs to dst from the time at on, one of each of the first two arms, each pair in an order drawn by lot.
func (v *Investigation) twos(b *plan.Burst, n int, at time.Duration, dst wire.Flow) {
	for pair := range max(n, 1) {
		first := v.Rand.IntN(2)
		for k, arm := range []int{first, 1 - first} {
			b.Shots = append(b.Shots, plan.Shot{Arm: arm, Offset: at + time.Duration(2*pair+k)*pairGap, Flow: dst})
		}
	}
}

// plain sends single SYNs with and without timestamps, and then so to another port.
func (v *Investigation) plain(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	with := v.script(v.clock(seen), plan.Single(), plan.Reset)
	without := with
	without.Options = wire.LinuxSYNWithoutTimestamps(v.MSS, scale)
	b.Arms = []plan.Arm{{Name: "timestamps", Via: plan.Raw, Script: with}, {Name: "no timestamps", Via: plan.Raw, Script: without}}
	v.twos(&b, v.flows(16)/2, 0, wire.Flow{Src: v.Source, Dst: v.Dst})
	if !v.Contrast.IsValid() { // where it is, it is a service, which may remember TSvals as well
		v.twos(&b, v.flows(8)/2, time.Duration(len(b.Shots))*pairGap, wire.Flow{Src: v.Source, Dst: v.contrast()})
	}
	return b
}

// look sends single SYNs as hosts send them, such with a hop limit of 255, and such without timestamps, in an order drawn by lot; each TSval is.
func (v *Investigation) look(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	for i, k := range v.Rand.Perm(max(v.flows(16), 3)) {
		name, s := "as usual", v.script(wire.TSval(v.Rand.Uint32()), plan.Single(), plan.Reset)
		switch k % 3 {
		case 1:
			name, s.HopLimit = "hop limit 255", math.MaxUint8
		case 2:
			name, s.Options = "no timestamps", wire.LinuxSYNWithoutTimestamps(v.MSS, scale)
		}
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("%s, %d", name, k/3), Via: plan.Raw, Script: s})
		b.Shots = append(b.Shots, plan.Shot{Arm: i, Offset: time.Duration(i) * pairGap, Flow: wire.Flow{Src: v.Source, Dst: v.Dst}})
	}
	return b
}

// ecn sends single SYNs that ask for explicit congestion notification and such that do not.
func (v *Investigation) ecn(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	without := v.script(v.clock(seen), plan.Single(), plan.Reset)
	with := without
	with.First = wire.SYN | wire.ECE | wire.CWR
	b.Arms = []plan.Arm{{Name: "ECN asked for", Via: plan.Raw, Script: with}, {Name: "no ECN", Via: plan.Raw, Script: without}}
	v.twos(&b, v.flows(16)/2, 0, wire.Flow{Src: v.Source, Dst: v.Dst})
	return b
}
