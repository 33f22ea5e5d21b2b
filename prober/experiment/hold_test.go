package experiment_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// Connections are held open to find what limits them: of every network only what is right may be named, whatever the seed.
func TestHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(seed uint64, r *rand.Rand) *fakenet.World
		want  diagnose.Verdict
		share float64 // of the seeds for which it is named, at least
	}{
		"a connection table with room for few": {want: diagnose.ConntrackTableFull, share: 0.95,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ConntrackLimit(seed, between(r, 140, 200))
			}},
		"near miss: room for all": {want: diagnose.Healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ConntrackLimit(seed, 4000) }},
		"few source ports of a NAT": {want: diagnose.SNATPortExhaustion, share: 0.95,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SNATPool(seed, between(r, 140, 200), 0, time.Second)
			}},
		"near miss: ports for all": {want: diagnose.Healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.SNATPool(seed, 20000, 0, time.Second) }},
		"near miss: 3 % loss": {want: diagnose.ForwardSYNLoss,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.Clean(seed), 0.03) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const seeds = 60
			right := 0
			for seed := range uint64(seeds) {
				w := c.world(seed, rand.New(rand.NewPCG(seed, 3)))
				got := named(holding(w, seed))
				for _, v := range got {
					switch v {
					case c.want:
						right++
					case diagnose.SYNStallUnclassified, diagnose.Healthy, diagnose.SYNACKLoss:
						if v == diagnose.Healthy && c.share > 0 && c.want != v {
							t.Errorf("seed %d: healthy", seed)
						}
					default:
						t.Errorf("seed %d: %s", seed, v)
					}
				}
			}
			if right < int(c.share*seeds) {
				t.Errorf("%s named %d times of %d", c.want, right, seeds)
			}
		})
	}
}

// holding investigates with leave to hold 256 connections.
func holding(w *fakenet.World, seed uint64) *diagnose.Diagnosis {
	inv := &experiment.Investigation{
		Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(seed, 1)),
		Setup: experiment.Setup{Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder, Listen: 9500 * time.Millisecond, MSS: 1460, HalfOpen: 16, Hold: 256},
	}
	in := diagnose.Input{Ladder: w.Client.Ladder}
	for began := w.Elapsed(); w.Elapsed()-began < patient; {
		b, more := inv.Next(in.Observations)
		if !more {
			break
		}
		in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
	}
	d := diagnose.Diagnose(in)
	return &d
}
