package experiment

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// cellBlocks is how often each flow of a cells burst is asked in each quadrant.
const cellBlocks = 3

// cells asks each flow with TSvals of all four quadrants in turn, in blocks of four whose order is drawn for each flow: a balancer that
// keeps a flow on its member lets each flow tell whether its own member refuses by TSval. Half-open connections are reset at once; a SYN
// that is refused leaves nothing to reset. The 4-tuple is met again within the burst on purpose, as in reuse.
func (v *Investigation) cells(seen []observe.Observation) plan.Burst {
	gap := cellGap(seen)
	at := make([]time.Duration, 4*cellBlocks)
	for i := range at {
		at[i] = time.Duration(i) * gap
	}
	b := plan.Burst{Listen: at[len(at)-1] + patience(seen)}
	base := v.base(seen)
	for i := range v.flows(16) {
		s := v.script(base, plan.Custom(at...), plan.Reset)
		s.Persist = true
		for range cellBlocks {
			for _, k := range v.Rand.Perm(4) {
				s.Clock.Turns = append(s.Clock.Turns, wire.TSval(k)<<30)
			}
		}
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("flow %d", i), Via: plan.Raw, Script: s})
		v.shots(&b, i, 1, time.Duration(i)*3*time.Millisecond, 0)
	}
	return b
}

// cellGap lets the answer to one SYN, and our reset of it, arrive before the next, with room for a busy host at either end.
func cellGap(seen []observe.Observation) time.Duration {
	var slowest time.Duration
	for i := range seen {
		for j := range seen[i].Attempts {
			slowest = max(slowest, seen[i].Attempts[j].RTT)
		}
	}
	return min(max(40*time.Millisecond, 3*slowest), time.Second)
}
