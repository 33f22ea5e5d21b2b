package experiment_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// only is the right answer of one set.
func only(vs ...diagnose.Verdict) [][]diagnose.Verdict { return [][]diagnose.Verdict{vs} }

// between is a random number of lo … hi.
func between(r *rand.Rand, lo, hi int) int { return lo + r.IntN(hi-lo+1) }

func lasting(r *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)+1))
}

// wellWorlds are networks with nothing wrong, of every make.
func wellWorlds() []func(uint64, *rand.Rand) *fakenet.World {
	return []func(uint64, *rand.Rand) *fakenet.World{
		func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Clean(seed) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.CleanVIP(seed, between(r, 1, 12)) },
		func(seed uint64, r *rand.Rand) *fakenet.World {
			w, b := fakenet.VIP(seed, between(r, 2, 32))
			b.Choose = []fakenet.Policy{fakenet.RoundRobin, fakenet.Random, fakenet.SourceHash}[r.IntN(3)]
			if r.IntN(2) == 0 {
				b.SNAT = nil
			}
			return w
		},
		func(seed uint64, r *rand.Rand) *fakenet.World {
			w, _ := fakenet.VIP(seed, between(r, 1, 4))
			w.Client.Clock.Per = fakenet.PerFlow // Linux from about 6.18.19
			return w
		},
		func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.TSNormalized(seed) },
		func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Stateful(seed) },
		func(seed uint64, _ *rand.Rand) *fakenet.World {
			return fakenet.FullProxy(seed, 3, 0, false, seed%2 == 0)
		},
		func(seed uint64, r *rand.Rand) *fakenet.World {
			w := fakenet.Clean(seed)
			w.Hosts[0].Ports[80].App.Every = lasting(r, time.Microsecond, time.Millisecond)
			return w
		},
	}
}

// healthyRounds is how many networks with nothing wrong are tried; 10,000 take minutes.
var healthyRounds = flag.Int("healthy", 1_000, "networks with nothing wrong")

// TestHealthy: a thousand networks with nothing wrong, and nothing is named but health.
func TestHealthy(t *testing.T) {
	t.Parallel()
	makes := wellWorlds()
	s := story{name: "healthy", right: only(diagnose.Healthy), share: 1, seeds: *healthyRounds,
		world: func(seed uint64, r *rand.Rand) *fakenet.World { return makes[r.IntN(len(makes))](seed, r) }}
	s.play(t)
}
