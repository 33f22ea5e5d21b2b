package experiment_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// leaps is whether a burst of dead flows asks one with another TSval than its own, and how many are asked with their own and stay silent.
func leaps(o *observe.Observation) (leapt bool, dead, alive int) {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		switch {
		case a.Arm == o.Arms[1].Name:
			leapt = true
		case a.Arm == o.Arms[0].Name && a.Outcome == observe.TimedOut:
			dead++
		case a.Arm == o.Arms[0].Name:
			alive++
		}
	}
	return leapt, dead, alive
}

// A TSval that leaps on a flow is no client's doing, and a box on the way may pass the leap on to others: it is the last question, and only of flows
// that stayed dead without it.
func TestDeadFlowsAreAskedWithALeapOnlyOnceTheyStayDead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(seed uint64, r *rand.Rand) *fakenet.World
		leaps bool // in some network of the make
	}{
		"a member swallows": {func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, between(r, 2, 6)) }, true},
		"a rate limit":      {func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.RateLimit(seed, upTo(r, 0.5, 8), 4) }, false},
		"a full table":      {func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.ConntrackLimit(seed, between(r, 0, 60)) }, false},
		"most SYNs lost":    {func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.5, 0.8)) }, false},
		"a pool goes and comes": {func(seed uint64, r *rand.Rand) *fakenet.World {
			return sickPool(seed, lasting(r, time.Second, 4*time.Second), fakenet.EmptyReset)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leapt := false
			for seed := range uint64(25) {
				res := investigate(c.world(seed, rand.New(rand.NewPCG(seed, 9))), seed, 10, false)
				dead, alive := 0, 0
				for i := range res.seen {
					o := &res.seen[i]
					if o.Kind != plan.KindAgain {
						continue
					}
					once, d, a := leaps(o)
					if once && (dead < 3 || alive > 0) {
						t.Errorf("seed %d: a leap after %d flows stayed dead and %d did not", seed, dead, alive)
					}
					leapt = leapt || once
					dead, alive = dead+d, alive+a
				}
			}
			if leapt != c.leaps {
				t.Errorf("leaps: %t, want %t", leapt, c.leaps)
			}
		})
	}
}
