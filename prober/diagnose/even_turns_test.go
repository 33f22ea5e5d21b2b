package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// otherPorts are 16 SYNs to other ports of the address, of which the first so many were refused, as closed ports do, and the others lost.
func otherPorts(refused int) *Input {
	o := observe.Observation{Kind: plan.KindOther, Captured: true}
	for i := range 16 {
		at := time.Unix(200, 0).Add(time.Duration(i) * 5 * time.Millisecond)
		a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.TimedOut, Answered: -1, SYNs: []observe.SYN{{At: at}}}
		if i < refused {
			a.Outcome, a.Answered, a.Answers = observe.Refused, 0, []observe.Answer{{At: at.Add(time.Millisecond), Kind: observe.RST}}
		}
		o.Attempts = append(o.Attempts, a)
	}
	return &Input{Observations: []observe.Observation{o}, explained: map[int]bool{}}
}

// What drops a part drops it at random; what goes away and comes back loses everything meanwhile. The first is one of several ways, or a member that does the same; the
// second, too, may be either, and nothing tells where no other port answers.
func TestUnevenLossByTurns(t *testing.T) {
	t.Parallel()
	scattered := func(flow, rung int) bool { return flow < 8 && (7*flow+5*rung+flow*rung)%11 < 4 }
	turns := func(flow, rung int) bool { return flow < 8 && rung%4 < 2 }
	for name, x := range map[string]struct {
		lost    func(flow, rung int) bool
		refused int
		verdict Verdict
		level   Level
	}{
		"half of the flows lose here and there, other ports are silent":      {scattered, 0, ECMPPathLoss, Suspected},
		"near miss: half of the flows lose in turns, other ports are silent": {turns, 0, ECMPPathLoss, Inconclusive},
		"half of the flows lose in turns, other ports as much":               {turns, 11, ECMPPathLoss, Confirmed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e evenness
			e.add(0, 16, withoutOutages(asked16(x.lost)))
			f := e.elsewhere(otherPorts(x.refused), Finding{Verdict: ECMPPathLoss, Level: Confirmed})
			if f.Verdict != x.verdict || f.Level != x.level {
				t.Errorf("%s (%s), want %s (%s); by turns with p = %.2g", f.Verdict, f.Level, x.verdict, x.level, combined(e.turns...))
			}
			if f.Level == Inconclusive && f.Settle == "" {
				t.Error("what would settle it is not said")
			}
		})
	}
}
