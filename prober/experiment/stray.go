package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// stray sends bare ACKs of no connection to the target's port; not about as many as connections were accepted before the port fell silent: where it
// is source ports on the way that run out, and these were as many, each bare ACK would get one of those that are free again.
func (v *Investigation) stray(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	s := v.script(v.clock(seen), plan.Single(), plan.Reset)
	s.First, s.Options = wire.ACK, wire.Options{}
	b.Arms = []plan.Arm{{Name: "bare ACK", Via: plan.Raw, Script: s}}
	n, like := v.flows(8), first(seen)
	if n-2 <= like && like <= n+2 {
		if n = v.flows(14); n <= like+2 {
			n = max(like-4, 1)
		}
	}
	v.shots(&b, 0, n, 0, 10*time.Millisecond)
	v.strayAgain(&b, s, seen)
	if count(seen, plan.KindStray) > 0 {
		v.thirdAgain(&b, s, seen)
	}
	return b
}

// strayAgain adds bare ACKs on flows that stay dead beside others that do not: does a stack answer where they end?
func (v *Investigation) strayAgain(b *plan.Burst, s plan.Script, seen []observe.Observation) {
	dead := diagnose.DeadFlows(seen)
	half := max(v.flows(16)/2, 1)
	if dead = dead[max(len(dead)-half, 0):]; len(dead) == 0 || !answered(seen, plan.KindSticky) {
		return
	}
	b.Shots = b.Shots[:min(len(b.Shots), half)]
	b.Arms = append(b.Arms, plan.Arm{Name: "bare ACK on a dead flow", Via: plan.Raw, Script: s})
	for _, f := range dead {
		b.Shots = append(b.Shots, plan.Shot{Arm: 1, Flow: wire.Flow{Src: f.Src, Dst: v.Dst}, Again: true})
	}
	v.Rand.Shuffle(len(b.Shots), func(i, j int) { b.Shots[i], b.Shots[j] = b.Shots[j], b.Shots[i] })
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 10 * time.Millisecond
	}
}

// first is how many connections of the first contact were accepted at once.
func first(seen []observe.Observation) int {
	n := 0
	for j := range seen[0].Attempts {
		if seen[0].Attempts[j].Prompt() {
			n++
		}
	}
	return n
}
