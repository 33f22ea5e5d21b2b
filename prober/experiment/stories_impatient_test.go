package experiment_test

import (
	"math/rand/v2"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// impatient makes a balancer reset what its member leaves unanswered, far sooner than a quarter of a minute.
func impatient(w *fakenet.World, r *rand.Rand) *fakenet.World {
	w.Balancer.LateRST = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 3 * time.Second}[r.IntN(4)]
	return w
}

// offsets gives the vantage a kernel whose every connection has a timestamp offset of its own.
func offsets(w *fakenet.World) *fakenet.World {
	w.Client.Clock.Per = fakenet.PerFlow
	return w
}

// impatientStories are balancers that reset early, and clients without a clock of their own, before servers that remember others.
func impatientStories() []story {
	snat := only(diagnose.TWRecyclePAWSDropSNAT)
	return []story{
		{settle: primed, name: "balancer resets early, one of two old", right: snat, share: 0.85,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return impatient(fakenet.RecycleVIP(seed, 2, 1), r)
			}},
		{name: "near miss: balancer resets early, one of two to four dead", right: only(diagnose.BlackholeBackend), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return impatient(fakenet.Blackhole(seed, between(r, 2, 4)), r)
			}},
		{name: "near miss: balancer resets early, one of two to four refuses", right: only(diagnose.PortClosed), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return impatient(fakenet.Refusing(seed, between(r, 2, 4)), r)
			}},
		{settle: primed, name: "client with a random clock per connection behind an address that others have poisoned", right: snat, share: 0.9,
			also: only(diagnose.TWRecyclePAWSDrop)[0],
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				return offsets(fakenet.RecycleVIP(seed, 2, 2))
			}},
		{settle: time.Minute, name: "near miss: client with a random clock per connection and little business of its own", quiet: true,
			right: either(diagnose.ClientRandomTSVsRecycle, diagnose.TWRecyclePAWSDrop),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.RandomTSClient(seed)
				w.Business[0].Every = lasting(r, 5*time.Second, 50*time.Second)
				return w
			}},
	}
}
