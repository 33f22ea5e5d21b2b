package diagnose_test

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// halfOpens is a burst of n SYNs of which the first kept are answered again after the time that late gives for each.
func halfOpens(n, kept int, late func(i int) time.Duration) observe.Observation {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := observe.Observation{Kind: plan.KindBacklog, Captured: true, Started: start, Finished: start.Add(3 * time.Second)}
	for i := range n {
		at := start.Add(time.Duration(i) * 500 * time.Microsecond)
		a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: at}},
			Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(time.Millisecond)}}}
		if i < kept {
			a.Answers = append(a.Answers, observe.Answer{Kind: observe.SYNACK, At: at.Add(late(i))})
		}
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

// Old queues end at a power of two above the backlog, and their repeats come in waves; what ends so with a timer of each request's own is
// a backlog to one.
func TestBacklogOfOldKernels(t *testing.T) {
	t.Parallel()
	own := func(int) time.Duration { return time.Second }
	waves := func(i int) time.Duration { return time.Second + time.Duration(i%3)*200*time.Millisecond }
	for name, c := range map[string]struct {
		obs         observe.Observation
		value, most int
	}{
		"one timer for all, 32 kept":                        {halfOpens(64, 32, waves), 16, 0},
		"near miss: each its own timer, 32 kept":            {halfOpens(64, 32, own), 31, 32},
		"near miss: one timer for all, 33 kept":             {halfOpens(64, 33, waves), 32, 33},
		"near miss: three after the last are no proof":      {halfOpens(35, 32, own), 31, 0},
		"near miss: four after the last, each its own time": {halfOpens(36, 32, own), 31, 32},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{c.obs}})
			if len(d.Measurements) != 1 {
				t.Fatalf("measured %v", d.Measurements)
			}
			if m := d.Measurements[0]; m.Name != diagnose.ListenerBacklog || m.Value != c.value || m.Most != c.most {
				t.Errorf("got %s (%s), want %d to %d", &m, m.How, c.value, c.most)
			}
		})
	}
}
