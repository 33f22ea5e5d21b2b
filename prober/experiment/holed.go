package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// What is sent behind a hole: a thousand segments on sixteen connections in little more than a second, of which a loss of 1 % takes ten. The gap is
// twenty times what a receiver waits to answer two at once, and longer than most pauses of a busy host.
const (
	holedFlows    = 16
	holedSegments = 60
	holedSize     = 100
	holedGap      = 20 * time.Millisecond
)

// holed sends data that the target's stack acknowledges and its application never gets: which way is something lost?
func (v *Investigation) holed(seen []observe.Observation) plan.Burst {
	h := plan.Holed{Segments: holedSegments, Size: holedSize, Gap: holedGap}
	wait := patience(seen)
	s := v.script(v.clock(seen), thrice(seen), plan.Acknowledge)
	s.Patience = wait
	// What the server sends by itself is not acknowledged: its stream would hold up the acknowledgments that are waited for.
	s.Then = plan.Exchange{Close: plan.Abort, Holed: &h, CloseDelay: wait, Withhold: true}
	b := plan.Burst{Label: "data with a hole in front", Listen: s.Ladder.Last() + h.Lasts() + 2*wait}
	b.Arms = []plan.Arm{{Name: "holed", Via: plan.Raw, Script: s}}
	n := v.flows(holedFlows)
	v.shots(&b, 0, n, 0, holedGap/time.Duration(n))
	return b
}
