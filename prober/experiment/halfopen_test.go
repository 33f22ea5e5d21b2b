package experiment_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// TestNoBurstPassesTheHalfOpenLimit: no experiment sends more raw SYNs that could stay half-open than permitted, nor nothing at all.
func TestNoBurstPassesTheHalfOpenLimit(t *testing.T) {
	t.Parallel()
	for name, world := range map[string]func(uint64) *fakenet.World{
		"clean":          fakenet.Clean,
		"members differ": func(s uint64) *fakenet.World { return fakenet.Mixed(s, 3) },
		"one swallows":   func(s uint64) *fakenet.World { return fakenet.Blackhole(s, 3) },
		"queue full":     func(s uint64) *fakenet.World { return fakenet.AcceptFull(s, 12) },
		"lossy":          func(s uint64) *fakenet.World { return lose(fakenet.CleanVIP(s, 3), 0.2) },
	} {
		for _, limit := range []int{4, 5, 7, 11, 16} {
			t.Run(fmt.Sprintf("%s, %d", name, limit), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(3) {
					res := pursue(world(seed), seed, patient, func(s *experiment.Setup) { s.HalfOpen = limit })
					for i := range res.seen {
						o := &res.seen[i]
						may := map[string]bool{}
						for _, arm := range o.Arms {
							a := &arm.Script
							may[arm.Name] = (a.OnSYNACK != plan.Acknowledge || a.Then.AckDelay > 0) && !a.Closed
						}
						at, n := map[netip.AddrPort]int{}, 0 // of each listener
						for j := range o.Attempts {
							if a := &o.Attempts[j]; a.Via == plan.Raw && may[a.Arm] {
								at[a.Flow.Dst]++
								n = max(n, at[a.Flow.Dst])
							}
						}
						if n > limit || len(o.Attempts)+len(o.Pings) == 0 && o.Kind != plan.KindSurvey {
							t.Errorf("seed %d, %s: %d raw SYNs may stay half-open, %d attempts", seed, o.Kind, n, len(o.Attempts))
						}
					}
				}
			})
		}
	}
}
