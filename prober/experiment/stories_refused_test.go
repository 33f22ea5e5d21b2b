package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// someRefusal is an RST from the server or from one hop before it.
func someRefusal(r *rand.Rand) fakenet.Refusal {
	return fakenet.RefuseByReset(uint8(64 - r.IntN(2)))
}

// someICMP is an ICMP error from a filter, limited as Linux does or not.
func someICMP(r *rand.Rand) fakenet.Refusal {
	return fakenet.RefuseByICMP(netip.AddrFrom4([4]byte{203, 0, 113, 1}), r.IntN(2) == 0, time.Duration(r.IntN(2))*time.Second)
}

// refusedStories: limits with a word for what is over them, and what refuses some SYNs for another reason.
func refusedStories() []story {
	limited := only(diagnose.SYNRateLimited)
	return []story{
		{name: "SYNs over a rate reset", right: limited, share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimitRefusing(seed, upTo(r, 2.6, 8), between(r, 1, 8), someRefusal(r))
			}},
		{few: true, name: "SYNs over a rate reset, 3 % loss", right: limited, also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.RateLimitRefusing(seed, upTo(r, 2.6, 8), between(r, 1, 8), someRefusal(r)), 0.03)
			}},
		{few: true, name: "SYNs over a rate refused by ICMP", right: limited, share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimitRefusing(seed, upTo(r, 2.6, 8), between(r, 1, 8), someICMP(r))
			}},
		{name: "near miss: a rate that nobody reaches, or RSTs", right: only(diagnose.Healthy), share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimitRefusing(seed, 10_000, 10_000, someRefusal(r))
			}},
		{few: true, name: "near miss: SYNs over a slow rate reset", right: limited, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimitRefusing(seed, upTo(r, 0.05, 2), between(r, 1, 30), someRefusal(r))
			}},
		{few: true, name: "near miss: SYNs over a slow rate refused by ICMP", right: limited, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimitRefusing(seed, upTo(r, 0.05, 2), between(r, 1, 30), someICMP(r))
			}},
		{few: true, name: "near miss: connections over so many at a time reset", quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.PlacesRefusing(seed, between(r, 1, 8), 0)
			}},
		{few: true, name: "near miss: SYNs over so many in a while reset", right: limited, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.PlacesRefusing(seed, between(r, 1, 8), lasting(r, 300*time.Millisecond, 3*time.Second))
			}},
		{few: true, name: "a limit whose bucket holds one or two", right: limited, share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimit(seed, upTo(r, 1.5, 8), between(r, 1, 2))
			}},
		{few: true, name: "near miss: most is lost, at no rate", right: only(diagnose.ForwardSYNLoss), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNLoss(seed, upTo(r, 0.5, 0.85))
			}},
	}
}
