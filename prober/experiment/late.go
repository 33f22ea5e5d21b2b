package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// lateListen is how long a silent SYN is left alone: longer than the 15 s after which some balancers reset a connection that no member
// answered.
const lateListen = 22 * time.Second

// late sends a few SYNs that will have no answer, never again, and waits for what a device on the way does about them.
func (v *Investigation) late(seen []observe.Observation) plan.Burst {
	val, ok := diagnose.RefusedTSval(seen)
	if !ok {
		val = v.clock(seen)
	}
	b := plan.Burst{Listen: lateListen}
	b.Arms = []plan.Arm{{Name: "left alone", Via: plan.Raw, Script: v.fixed(val, plan.Single(), plan.Reset)}}
	v.shots(&b, 0, v.flows(4), 0, 5*time.Millisecond)
	return b
}

// lateStep is the last burst of an investigation that may wait so long, and that met silence.
func (v *Investigation) lateStep(seen []observe.Observation, done map[plan.Kind]int) (Step, bool) {
	s := Step{plan.KindLate, "what becomes of a connection that is never answered?"}
	if !v.LateReset || v.NoRaw || done[plan.KindLate] > 0 || v.skipped(plan.KindLate) {
		return s, false
	}
	for i := range seen {
		if silent(&seen[i]) {
			return s, true
		}
	}
	return s, false
}

// watchGap is the time between two SYNs of a watch: several fall into each second that an address serves.
const watchGap = 300 * time.Millisecond

// watch sends single SYNs over some five seconds, with a TSval that is served if any is, so that what comes and goes is not mistaken for what
// turns on the TSval.
func (v *Investigation) watch(seen []observe.Observation) plan.Burst {
	val, refused := diagnose.RefusedTSval(seen)
	if !refused {
		val = v.clock(seen)
	} else {
		val += 1 << 31
	}
	b := plan.Burst{Listen: patience(seen)}
	b.Arms = []plan.Arm{{Name: "watch", Via: plan.Raw, Script: v.fixed(val, plan.Single(), plan.Reset)}}
	v.shots(&b, 0, v.flows(16), 0, watchGap)
	return b
}
