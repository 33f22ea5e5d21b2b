package diagnose

import (
	"fmt"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// cellsBurst makes a burst of cells from patterns: for each flow its quadrants in order, an upper-case letter A to D for one that was
// answered, a lower-case one for silence.
func cellsBurst(flows ...string) observe.Observation {
	start := time.Unix(1_700_000_000, 0)
	o := observe.Observation{Kind: plan.KindCells, Captured: true, Started: start, Finished: start.Add(10 * time.Second)}
	for i, f := range flows {
		a := observe.Attempt{Index: i, Arm: fmt.Sprintf("flow %d", i), Via: plan.Raw, Outcome: observe.TimedOut}
		arm := plan.Arm{Name: a.Arm, Via: plan.Raw, Script: plan.Script{Clock: plan.TSClock{Hz: 1000}}}
		for n, r := range f {
			quadrant, answered := wire.TSval(r-'a'), false
			if r < 'a' {
				quadrant, answered = wire.TSval(r-'A'), true
			}
			at := start.Add(time.Duration(n) * 100 * time.Millisecond)
			val := quadrant<<30 + wire.TSval(n*100)
			arm.Script.Clock.Turns = append(arm.Script.Clock.Turns, quadrant<<30)
			a.SYNs = append(a.SYNs, observe.SYN{At: at, TSval: val, HasTS: true})
			if answered {
				a.Outcome = observe.Accepted
				a.Answers = append(a.Answers, observe.Answer{At: at.Add(time.Millisecond), Kind: observe.SYNACK, HasTS: true, TSecr: val})
			}
		}
		o.Arms = append(o.Arms, arm)
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

const (
	poisonedFlow = "abCDCbDaDabC" // quadrants a and b refused
	cleanFlow    = "ABCDCBDADABC"
	deadFlow     = "abcdcbdadabc"
	anewFlow     = "aBCDCbDADaBC"
)

func TestCellsAreSorted(t *testing.T) {
	in := &Input{Observations: []observe.Observation{cellsBurst(poisonedFlow, poisonedFlow, cleanFlow, deadFlow, anewFlow)}}
	c := readCells(in)
	if got, want := c.count(0), (cellCount{poisoned: 2, clean: 1, dead: 1, mixed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := c.count(2), (cellCount{clean: 1, dead: 1, mixed: 3}); got != want {
		t.Errorf("from the opposite quadrant: %+v, want %+v", got, want)
	}
	if c.blind() != 1 {
		t.Errorf("%d cells never answered, want 1", c.blind())
	}
}

// TestCellsNeedAStack: a bare ACK, an RST or an ICMP error on a flow is no silence, and no answer to the question.
func TestCellsNeedAStack(t *testing.T) {
	for _, kind := range []observe.AnswerKind{observe.BareACK, observe.RST, observe.ICMP} {
		o := cellsBurst(poisonedFlow, cleanFlow)
		o.Attempts[0].Answers = append(o.Attempts[0].Answers, observe.Answer{At: o.Started, Kind: kind})
		if c := readCells(&Input{Observations: []observe.Observation{o}}); len(c.flows) != 1 {
			t.Errorf("%s: %d flows count, want 1", kind, len(c.flows))
		}
	}
	o := cellsBurst(poisonedFlow)
	o.CaptureDrops = 1
	if c := readCells(&Input{Observations: []observe.Observation{o}}); c.bursts != 0 {
		t.Error("a capture with gaps counts")
	}
}

// TestCellsTurnOnTheTSval: three flows whose own member refuses are enough; as many silences dealt otherwise are not.
func TestCellsTurnOnTheTSval(t *testing.T) {
	others := []string{cleanFlow, cleanFlow, cleanFlow, cleanFlow}
	for _, tt := range []struct {
		name  string
		flows []string
		want  bool
	}{
		{"three members' flows refuse", append([]string{poisonedFlow, poisonedFlow, poisonedFlow}, others...), true},
		{"one flow is not enough", append([]string{poisonedFlow}, others...), false},
		{"dead flows do not turn", append([]string{deadFlow, deadFlow, deadFlow}, others...), false},
		{"every second SYN of a flow", append([]string{"aBcDcBdAdAbC", "AbCdCbDaDaBc", "aBcDcBdAdAbC"}, others...), false},
		{"opposite quadrants", append([]string{"aBcDcBDaDaBc", "aBcDcBDaDaBc", "aBcDcBDaDaBc"}, others...), false},
	} {
		c := readCells(&Input{Observations: []observe.Observation{cellsBurst(tt.flows...)}})
		if got := judgeTSvals(&quadrants{}, &c); (got.p < 1e-4) != tt.want {
			t.Errorf("%s: p = %g", tt.name, got.p)
		}
	}
}
