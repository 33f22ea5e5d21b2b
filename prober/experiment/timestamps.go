package experiment

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// clock is the TSval that this machine's kernel would send about now: what it sent last, moved on by the time since. Probes that are not
// about timestamps carry it, so that they look neither older nor newer than this host's own traffic. Without a kernel SYN on
// record it goes on from what a server was primed with, or is random.
func (v *Investigation) clock(seen []observe.Observation) wire.TSval {
	for _, o := range slices.Backward(seen) {
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Via != plan.Kernel || len(a.SYNs) == 0 || !a.SYNs[0].HasTS {
				continue
			}
			last := seen[len(seen)-1].Finished
			return a.SYNs[0].TSval.Add(last.Sub(a.SYNs[0].At).Milliseconds())
		}
	}
	if p, ok := diagnose.Primed(seen); ok {
		return p.T0.Add(seen[len(seen)-1].Finished.Sub(p.At).Milliseconds())
	}
	return wire.TSval(v.Rand.Uint32())
}

// fixed is a script whose TSval never moves.
func (v *Investigation) fixed(val wire.TSval, l plan.Ladder, r plan.Reaction) plan.Script {
	s := v.script(val, l, r)
	s.Clock.Hz = 0
	return s
}

// oraclePatience is how long the oracle waits for an answer: less than others do, since what it finds is verified in the end.
func oraclePatience(seen []observe.Observation) time.Duration {
	return min(max(50*time.Millisecond, 4*slowest(seen)), 2*time.Second)
}

// surveyTime is how long other traffic of this host to the target is listened to.
const surveyTime = 1200 * time.Millisecond

// survey only listens.
func (v *Investigation) survey([]observe.Observation) plan.Burst {
	return plan.Burst{Listen: surveyTime}
}
