package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// slowARP is how long an answer to who-has takes that lets a queue fill and is there before the first repeat.
func slowARP(r *rand.Rand) time.Duration {
	return lasting(r, 5*time.Millisecond, 400*time.Millisecond)
}

func neighborStories() []story {
	local := only(diagnose.LocalARPQueueOverflow)
	remote := only(diagnose.RemoteARPQueueOverflow)
	healthy := only(diagnose.Healthy)
	return []story{
		{name: "local queue of 1 to 5", right: local, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.LocalQueue(seed, between(r, 1, 5), slowARP(r))
			}},
		{name: "local queue of 3, client of 3 s", right: local, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.LocalQueue(seed, 3, slowARP(r)).SlowRTO(3 * time.Second)
			}},
		{name: "local queue with 3 % loss", rare: chance, right: local, share: 0.95, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.LocalQueue(seed, between(r, 2, 5), slowARP(r)), 0.03)
			}},
		{name: "near miss: local queue as long as the burst", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.LocalQueue(seed, 16, slowARP(r)) }},
		{name: "local next hop dead", right: only(diagnose.LocalARPUnresolved), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.LocalDead(seed) }},
		{name: "local next hop late", right: only(diagnose.LocalARPUnresolved), share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.LocalQueue(seed, 256, lasting(r, 1100*time.Millisecond, 1900*time.Millisecond))
			}},
		{name: "near miss: local next hop late once", right: healthy, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.LocalWakes(seed, lasting(r, 500*time.Millisecond, 1900*time.Millisecond))
			}},
		{name: "remote queue of 1 to 5", right: remote, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RemoteQueue(seed, between(r, 1, 5), slowARP(r))
			}},
		{name: "remote queue with 3 % loss", rare: chance, right: remote, share: 0.9, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.RemoteQueue(seed, between(r, 2, 5), slowARP(r)), 0.03)
			}},
		{name: "near miss: remote queue as long as the burst", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.RemoteQueue(seed, 16, slowARP(r)) }},
		{name: "near miss: remote verifies by unicast while answers are lost", right: only(diagnose.SYNACKLoss), quiet: true, seeds: 150,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.SYNACKLoss(seed, upTo(r, 0.2, 0.6))
				w.Near.Verifies, w.Client.Answers.Delay = true, slowARP(r)
				return w
			}},
		{name: "remote asks in vain", right: only(diagnose.RemoteARPUnresolved), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RemoteDead(seed) }},
		{name: "near miss: remote asks, its queue is long enough, 5 % loss", rare: chance, also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.RemoteQueue(seed, 64, slowARP(r)), 0.05)
			}},
		{name: "near miss: local queue long enough, 5 % loss", rare: chance, also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.LocalQueue(seed, 64, slowARP(r)), 0.05)
			}},
		{name: "remote queue of a router", right: remote, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.CleanVIP(seed, 3)
				w.Near.Knows, w.Near.Queue, w.Client.Answers.Delay = false, between(r, 1, 5), slowARP(r)
				return w
			}},
		{name: "local queue towards a router", right: local, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.CleanVIP(seed, 3)
				w.Client.Neighbors.Queue, w.Client.Neighbors.Warm, w.Near.Learns = between(r, 1, 5), false, true
				w.Client.Link = map[netip.Addr]fakenet.Station{w.Near.Addr: {Delay: slowARP(r)}}
				return w
			}},
		{name: "both queues too short", right: only(diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow), share: 0.9, also: local[0],
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				q := between(r, 4, 6)
				w := fakenet.BothQueues(seed, q, slowARP(r))
				w.Near.Queue = q - between(r, 2, 3)
				return w
			}},
		{name: "both sides ask", right: local, share: 1, also: remote[0],
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.BothQueues(seed, between(r, 1, 5), slowARP(r))
			}},
		{name: "near miss: both sides ask, queues long enough", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.BothQueues(seed, 16, slowARP(r)) }},
		{name: "table full", right: only(diagnose.NeighTableOverflow), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.TableFull(seed) }},
		{name: "address flaps", right: only(diagnose.NeighborFlapping), share: 0.9, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.Flapping(seed, lasting(r, 50*time.Millisecond, 400*time.Millisecond))
			}},
		{name: "near miss: address moved once, announced", right: healthy, share: 1, settle: 0,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Flapping(seed, 1500*time.Millisecond) }},
		{name: "address claimed twice", right: only(diagnose.DuplicateAddress), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.DuplicateAddress(seed) }},
		{name: "address moved without a word", right: only(diagnose.StaleNeighborAfterFailover), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.VIPMoved(seed) }},
		{name: "near miss: address moved and announced", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.VIPMoved(seed)
				w.Announce(w.Target.Addr(), wire.MAC{2, 0, 0, 0, 0, 0x77})
				return w
			}},
	}
}

// lossy lists what random loss beside a fault may truly be called.
func lossy() []diagnose.Verdict {
	return []diagnose.Verdict{diagnose.ForwardSYNLoss, diagnose.SYNACKLoss}
}
