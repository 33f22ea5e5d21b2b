package experiment

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// againRungs and againGap are how often and how fast a dead flow is asked again: over a time in which a listener that had it and whose answers are lost
// would have repeated one by itself as well.
const (
	againRungs = 10
	againGap   = 200 * time.Millisecond
)

// halfCircle is how far on the TSval of a second clock lies: a server that refuses this host's own as old takes it, and less than half of the circle,
// so that it is newer than what a listener may already have of the flow.
const halfCircle = 1<<31 - 1_000_000

// again asks flows that nobody answered once more: on their own ports and with their own sequence numbers, with this host's TSval, and fresh flows beside
// them. Once they stayed dead, those asked so are asked half a circle on, and the other way round.
func (v *Investigation) again(seen []observe.Observation) plan.Burst {
	gap := max(againGap, patience(seen)/2)
	at := make([]time.Duration, againRungs)
	for i := range at {
		at[i] = time.Duration(i) * gap
	}
	b := plan.Burst{Listen: at[againRungs-1] + patience(seen)}
	ladder, now := plan.Custom(at...), v.clock(seen)
	b.Arms = []plan.Arm{{Name: "dead flow, own TSval", Via: plan.Raw, Script: v.script(now, ladder, plan.Reset)},
		{Name: "dead flow, half a circle on", Via: plan.Raw, Script: v.script(now.Add(halfCircle), ladder, plan.Reset)},
		{Name: "fresh flow", Via: plan.Raw, Script: v.script(now, ladder, plan.Reset)}}
	dead := diagnose.DeadFlows(seen)
	half := max(v.flows(16)/2, 1)
	dead = dead[max(len(dead)-half, 0):]
	v.Rand.Shuffle(len(dead), func(i, j int) { dead[i], dead[j] = dead[j], dead[i] })
	leap := diagnose.MayLeap(v.input(seen))
	for i, f := range dead {
		arm := 0
		if leap {
			arm = i % 2
		}
		if had, ok := armOf(seen, f, b.Arms); ok && leap {
			arm = 1 - had
		}
		b.Shots = append(b.Shots, plan.Shot{Arm: arm, Flow: wire.Flow{Src: f.Src, Dst: v.Dst}, Again: true})
	}
	v.shots(&b, 2, half, 0, 0)
	v.Rand.Shuffle(len(b.Shots), func(i, j int) { b.Shots[i], b.Shots[j] = b.Shots[j], b.Shots[i] })
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 3 * time.Millisecond
	}
	return b
}

// armOf is the arm of a dead flow when it was asked again last.
func armOf(seen []observe.Observation, f wire.Flow, arms []plan.Arm) (int, bool) {
	for _, o := range slices.Backward(seen) {
		for j := range o.Attempts {
			if a := &o.Attempts[j]; o.Kind == plan.KindAgain && a.Flow == f {
				return slices.IndexFunc(arms, func(arm plan.Arm) bool { return arm.Name == a.Arm }), true
			}
		}
	}
	return 0, false
}
