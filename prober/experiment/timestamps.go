package experiment

import (
	"fmt"
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
	var slowest time.Duration
	for i := range seen {
		for j := range seen[i].Attempts {
			slowest = max(slowest, seen[i].Attempts[j].RTT)
		}
	}
	return min(max(80*time.Millisecond, 4*slowest), 2*time.Second)
}

// oracle narrows down the remembered TSval: single SYNs at evenly spaced TSvals between the newest one known refused and the oldest known
// answered, then, when these are neighbours, both again several times.
func (v *Investigation) oracle(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: oraclePatience(seen)}
	lo, hi, ok := diagnose.OracleBounds(seen)
	if !ok {
		return b
	}
	n := v.flows(16)
	gap := hi.Sub(lo)
	var vals []wire.TSval
	if gap <= 1 {
		for range n / 2 {
			vals = append(vals, lo, hi)
		}
	} else {
		for i := 1; i < n; i++ {
			vals = append(vals, lo.Add(int64(gap)*int64(i)/int64(n)))
		}
		vals = slices.Compact(vals)
	}
	v.Rand.Shuffle(len(vals), func(i, j int) { vals[i], vals[j] = vals[j], vals[i] })
	for i, val := range vals {
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("TSval %d", val), Via: plan.Raw, Script: v.fixed(val, plan.Single(), plan.Reset)})
		v.shots(&b, i, 1, time.Duration(i)*time.Millisecond, 0)
	}
	return b
}

// surveyTime is how long other traffic of this host to the target is listened to.
const surveyTime = 1200 * time.Millisecond

// survey only listens.
func (v *Investigation) survey([]observe.Observation) plan.Burst {
	return plan.Burst{Listen: surveyTime}
}
