package diagnose

import (
	"testing"
	"time"
)

// asked16 is a sweep of 16 flows, asked 12 times each, a SYN of each flow in every 100 ms; lost says which had no answer.
func asked16(lost func(flow, rung int) bool) []flowTrial {
	var out []flowTrial
	for rung := range 12 {
		for flow := range 16 {
			at := time.Unix(100, 0).Add(time.Duration(rung)*100*time.Millisecond + time.Duration(flow*7%16)*time.Millisecond)
			out = append(out, flowTrial{at, flow, lost(flow, rung), rung >= 6})
		}
	}
	return out
}

func TestWithoutOutages(t *testing.T) {
	five := func(flow, rung int) bool { return flow < 5 && (5*flow+rung)%3 == 0 }
	outage := func(_, rung int) bool { return rung == 8 }
	both := func(flow, rung int) bool { return five(flow, rung) || outage(flow, rung) }
	nobody := func(int, int) bool { return false }
	for name, x := range map[string]struct {
		lost          func(flow, rung int) bool
		trials, lossy int // that are left; what was lost just before the moment goes with it
	}{
		"nothing lost":                   {nobody, 192, 0},
		"five flows lose":                {five, 192, 20},
		"one moment loses everything":    {outage, 176, 0},
		"five flows, and a moment":       {both, 175, 18},
		"everything from a moment on":    {func(_, rung int) bool { return rung >= 6 }, 96, 0},
		"one flow loses all":             {func(flow, _ int) bool { return flow == 3 }, 192, 12},
		"half of all, in turn":           {func(flow, rung int) bool { return (flow+rung)%2 == 0 }, 192, 96},
		"two that happen to be in a row": {func(flow, rung int) bool { return rung == 4 && (flow == 0 || flow == 7) }, 192, 2},
	} {
		t.Run(name, func(t *testing.T) {
			left := withoutOutages(asked16(x.lost))
			n := 0
			for _, f := range left {
				if f.lost {
					n++
				}
			}
			if len(left) != x.trials || n != x.lossy {
				t.Errorf("%d trials are left, %d of them lost; want %d and %d", len(left), n, x.trials, x.lossy)
			}
		})
	}
}
