package diagnose

import (
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// raced are bursts of connects at one instant that lose the first SYNs of these places, and then 48 SYNs 4 ms apart that are all answered.
func raced(lost ...[]int) []observe.Observation {
	out := make([]observe.Observation, 0, len(lost)+1)
	for b, places := range lost {
		o := inTurnBurst(plan.KindConnect, 10, 0, places...)
		for _, k := range places {
			o.Attempts[k].Answered = 1
		}
		out = append(out, shifted(o, time.Duration(b)*2*time.Second))
	}
	return append(out, shifted(inTurnBurst(plan.KindSticky, 48, 4*time.Millisecond), 10*time.Second))
}

func shifted(o observe.Observation, by time.Duration) observe.Observation {
	o.Started = o.Started.Add(by)
	for i := range o.Attempts {
		a := &o.Attempts[i]
		for k := range a.SYNs {
			a.SYNs[k].At = a.SYNs[k].At.Add(by)
		}
		for k := range a.Answers {
			a.Answers[k].At = a.Answers[k].At.Add(by)
		}
	}
	return o
}

// usedAgain is a burst in which six flows are asked three times, half a second apart, and six fresh ones 1 ms after each second use; second and fresh say
// which of these are answered.
func usedAgain(second, fresh bool) observe.Observation {
	began := time.Unix(1e9, 0).Add(20 * time.Second)
	o := observe.Observation{Kind: plan.KindReuse, Captured: true, Started: began, Arms: []plan.Arm{{Name: "same flow"}, {Name: "fresh flow"}}}
	add := func(arm string, answers []bool, at ...time.Duration) {
		a := observe.Attempt{Index: len(o.Attempts), Arm: arm, Via: plan.Raw, Outcome: observe.TimedOut, Answered: -1}
		for k, d := range at {
			a.SYNs = append(a.SYNs, observe.SYN{At: began.Add(d)})
			if answers[k] {
				a.Answers = append(a.Answers, observe.Answer{At: began.Add(d + time.Millisecond), Kind: observe.SYNACK})
				a.Outcome = observe.Accepted
			}
		}
		if a.Outcome == observe.Accepted {
			a.Answered = 0
		}
		o.Attempts = append(o.Attempts, a)
	}
	const ms = time.Millisecond
	for i := range 6 {
		at := time.Duration(i) * 3 * ms
		add("same flow", []bool{true, second, true}, at, at+500*ms, at+1000*ms)
		add("fresh flow", []bool{fresh}, at+501*ms)
	}
	return o
}

// Of two flows that are given one port at the same time the first passes: where SYNs are lost and none near them is answered, they did not collide.
func TestRaceNeedsAnotherThatPassed(t *testing.T) {
	t.Parallel()
	seen := raced([]int{1, 6, 7, 9}, []int{4, 6, 9}, []int{0, 2, 3, 4, 5, 7})
	for _, c := range []struct {
		story string
		more  []observe.Observation
		named bool
	}{
		{"connects of one instant alone lose SYNs", nil, true},
		{"flows used again, and fresh ones beside them, are answered", []observe.Observation{usedAgain(true, true)}, true},
		{"fresh flows are lost beside second uses that are answered: they collided", []observe.Observation{usedAgain(true, false)}, true},
		{"near miss: fresh flows are lost, and all beside them as well", []observe.Observation{usedAgain(false, false)}, false},
	} {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			in := &Input{Observations: slices.Concat(seen, c.more), Ladder: plan.Exponential(time.Second, 4), explained: map[int]bool{}}
			fs := checkRace(in)
			if named := len(fs) > 0 && fs[0].Level >= Suspected; named != c.named {
				t.Errorf("named %t, want %t: %+v, %+v", named, c.named, fs, readConcurrency(in))
			}
		})
	}
}
