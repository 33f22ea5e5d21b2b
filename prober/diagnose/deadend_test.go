package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// deadOf is a burst of n flows, the first so many of which had no answer to three SYNs.
func deadOf(kind plan.Kind, dead, n int) observe.Observation {
	o := observe.Observation{Kind: kind, Captured: true}
	for i := range n {
		at := time.Unix(100, 0).Add(time.Duration(i) * 3 * time.Millisecond)
		a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: at}}}
		if i < dead {
			a.Outcome, a.Answered, a.SYNs = observe.TimedOut, -1, append(a.SYNs, observe.SYN{At: at.Add(200 * time.Millisecond)}, observe.SYN{At: at.Add(400 * time.Millisecond)})
		} else {
			a.Answers = []observe.Answer{{At: at.Add(time.Millisecond), Kind: observe.SYNACK}}
		}
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

// What a flow's hash chooses takes as many flows of one experiment as of another; what counts SYNs does not.
func TestUnlikeShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		story  string
		others []observe.Observation
		want   bool
	}{
		{"no other experiment", nil, false},
		{"as many of all", []observe.Observation{deadOf(plan.KindConnect, 12, 16), deadOf(plan.KindEven, 6, 8)}, false},
		{"near miss: all of few others", []observe.Observation{deadOf(plan.KindConnect, 10, 10)}, false},
		{"all of many others", []observe.Observation{deadOf(plan.KindConnect, 16, 16), deadOf(plan.KindEven, 16, 16), deadOf(plan.KindServed, 8, 8)}, true},
		{"none of many others", []observe.Observation{deadOf(plan.KindConnect, 0, 16)}, true},
		{"single SYNs say nothing of flows", []observe.Observation{deadOf(plan.KindQuadrants, 64, 64)}, false},
	} {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			in := &Input{Observations: append([]observe.Observation{deadOf(plan.KindSticky, 12, 16)}, c.others...), explained: map[int]bool{}}
			if got := unlikeShare(in, fates(in, plan.KindSticky)); got != c.want {
				t.Errorf("unlike %t, want %t", got, c.want)
			}
		})
	}
}
