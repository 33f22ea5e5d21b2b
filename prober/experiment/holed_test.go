package experiment_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// holes makes one burst of data with a hole in front.
func holes(w *fakenet.World, seed uint64) diagnose.HoledSum {
	inv := &experiment.Investigation{
		Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(seed, 1)),
		Setup: experiment.Setup{Source: netip.AddrPortFrom(netip.Addr{}, 0), Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder, MSS: 1460, HalfOpen: 16,
			Transfer: &experiment.Transfer{Transfer: plan.Transfer{Way: plan.Sink, Bytes: 1}, Flows: 1}},
	}
	b := inv.Build(plan.KindHoled)
	return diagnose.SumHoled([]observe.Observation{w.Run(b)})
}

// Losses of each way are counted as that way's, and what is only late, doubled or out of order as no loss of either.
func TestDataWithAHoleTellsTheWays(t *testing.T) {
	for _, c := range []struct {
		name        string
		world       func(seed uint64) *fakenet.World
		there, back float64 // share lost
		says        string
	}{
		{"clean", func(s uint64) *fakenet.World { return fakenet.CleanVIP(s, 3) }, 0, 0, "neither"},
		{"3 % lost on the way there", func(s uint64) *fakenet.World { return fakenet.DataLoss(s, 0.03, 0) }, 0.03, 0, "the way to the target loses, the way back does not"},
		{"3 % lost on the way back", func(s uint64) *fakenet.World { return fakenet.DataLoss(s, 0, 0.03) }, 0, 0.03, "the way back loses, the way to the target does not"},
		{"5 % and 2 %", func(s uint64) *fakenet.World { return fakenet.DataLoss(s, 0.05, 0.02) }, 0.05, 0.02, "lose"},
		{"near miss: doubled and out of order by less than the gap", func(s uint64) *fakenet.World { return fakenet.Reordered(s, 0.2, 0.2, 3_000_000) }, 0, 0, "neither"},
		{"near miss: out of order by more than the gap", func(s uint64) *fakenet.World { return fakenet.Reordered(s, 0.1, 0, 25_000_000) }, 0, 0, "too unevenly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sum diagnose.HoledSum
			said := 0
			const seeds = 10
			for seed := range uint64(seeds) {
				s := holes(c.world(seed+1), seed+1)
				sum.Add(&s.Holed)
				if s.Arrived == 0 {
					t.Fatalf("seed %d: nothing was read: %+v", seed+1, s)
				}
				if strings.Contains(s.Says(), c.says) {
					said++
				}
			}
			within(t, "on the way there", sum.Lost, sum.Lost+sum.Arrived, c.there)
			if c.back > 0 || sum.Late == 0 {
				within(t, "on the way back", sum.Missing, sum.Asked, c.back)
			} else if sum.Missing > 2*sum.Late {
				t.Errorf("%d acknowledgments are missing, more than the %d late ones explain", sum.Missing, sum.Late)
			}
			if said < seeds-1 {
				t.Errorf("%d of %d say %q: %+v", said, seeds, c.says, sum)
			}
		})
	}
}

// within wants a share within a quarter of what was set, and none where none was.
func within(t *testing.T, what string, k, n int, p float64) {
	t.Helper()
	if got := float64(k) / float64(n); got < 0.75*p || got > 1.25*p {
		t.Errorf("%s: %s lost, want %.3f", what, fmt.Sprintf("%d of %d (%.4f)", k, n, got), p)
	}
}
