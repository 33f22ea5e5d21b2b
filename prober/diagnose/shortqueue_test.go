package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// inTurnBurst is a burst of n SYNs in this order and with this gap, of which those of the numbers lost were answered only when they were repeated.
func inTurnBurst(kind plan.Kind, n int, gap time.Duration, lost ...int) observe.Observation {
	began := time.Unix(1e9, 0)
	o := observe.Observation{Kind: kind, Started: began, Captured: true}
	for i := range n {
		at := began.Add(time.Duration(i) * gap)
		a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: at}}}
		if kind == plan.KindConnect {
			a.Via = plan.Kernel
		}
		answered := at.Add(time.Millisecond)
		for _, k := range lost {
			if k == i {
				a.Retransmissions, a.SYNs, answered = 1, append(a.SYNs, observe.SYN{At: at.Add(time.Second)}), answered.Add(time.Second)
			}
		}
		a.Answers = []observe.Answer{{At: answered, Kind: observe.SYNACK}}
		if kind == plan.KindServed {
			a.Answers = append(a.Answers, observe.Answer{At: answered.Add(time.Millisecond), Kind: observe.Data})
		}
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

func TestShortQueue(t *testing.T) {
	t.Parallel()
	const dense = 5 * time.Microsecond
	tail := func() observe.Observation { return inTurnBurst(plan.KindConnect, 10, dense, 6, 7, 8, 9) }
	volley := func(lost ...int) observe.Observation { return inTurnBurst(plan.KindVolley, 16, dense, lost...) }
	served := inTurnBurst(plan.KindServed, 8, 3*time.Millisecond)
	for _, x := range []struct {
		name  string
		seen  []observe.Observation
		level Level
		wants plan.Kind
	}{
		{"the last of each burst, and of those that are reset none", []observe.Observation{tail(), served, volley(), volley(), volley(), tail(), tail()}, Confirmed, ""},
		{"room again for the last of one burst", []observe.Observation{tail(), served, volley(), volley(), volley(), inTurnBurst(plan.KindConnect, 10, dense, 6, 7, 8), tail()}, Confirmed, ""},
		{"no more connections were open together than fit", []observe.Observation{tail(), volley(), volley(), volley(), tail(), tail()}, Suspected, ""},
		{"one burst of SYNs that were reset", []observe.Observation{tail(), served, volley(), tail(), tail()}, Inconclusive, plan.KindVolley},
		{"none that were reset", []observe.Observation{tail(), served, tail(), tail()}, Inconclusive, plan.KindVolley},
		{"none between them", []observe.Observation{tail(), tail(), served, volley(), volley(), volley()}, Inconclusive, plan.KindConnect},
		{"those that are reset lose their last, too", []observe.Observation{tail(), served, volley(), volley(8, 9, 10, 11, 12, 13, 14, 15), tail(), tail()}, LevelUnknown, ""},
		{"those that are reset left too far apart", []observe.Observation{tail(), served, inTurnBurst(plan.KindVolley, 16, 4*time.Millisecond), tail(), tail()}, Inconclusive, plan.KindVolley},
		{"SYNs apart are lost as well", []observe.Observation{tail(), inTurnBurst(plan.KindQuadrants, 16, 4*time.Millisecond, 3, 9), served, volley(), volley(), volley(), tail(), tail()}, LevelUnknown, ""},
		{"others than the last are lost", []observe.Observation{tail(), served, volley(), volley(), volley(), inTurnBurst(plan.KindConnect, 10, dense, 0, 1, 8), tail()}, LevelUnknown, ""},
		{"one burst of connections", []observe.Observation{tail(), served, volley(), inTurnBurst(plan.KindConnect, 10, dense)}, LevelUnknown, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			fs := checkShortQueue(&Input{Observations: x.seen, explained: map[int]bool{}, read: &readOnce{}})
			if x.level == LevelUnknown {
				if len(fs) != 0 {
					t.Fatalf("%+v; want nothing", fs)
				}
				return
			}
			if len(fs) != 1 || fs[0].Verdict != AcceptQueueOverflow || fs[0].Level != x.level {
				t.Fatalf("%+v; want %s", fs, x.level)
			}
			if got := fs[0].Wants; x.wants == "" && len(got) > 0 || x.wants != "" && (len(got) == 0 || got[0].Kind != x.wants) {
				t.Errorf("wants %+v; want %q", got, x.wants)
			}
		})
	}
}
