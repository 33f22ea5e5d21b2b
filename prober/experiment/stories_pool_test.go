package experiment_test

import (
	"math/rand/v2"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// poisonedPool is incident 002: business makes the only member refuse the health check, which comes from the same address.
func poisonedPool(seed uint64, r *rand.Rand, answer fakenet.Empty) *fakenet.World {
	w := fakenet.PoolEmpty(seed, answer)
	w.Wait(lasting(r, 80*time.Second, 200*time.Second))
	return w
}

// sickPool has a member that drops SYNs for so long and serves as long in turn, and a health check that takes it out.
func sickPool(seed uint64, period time.Duration, answer fakenet.Empty) *fakenet.World {
	w, b := fakenet.VIP(seed, 1)
	b.Empty = answer
	b.Check = &fakenet.Checker{From: b.Members[0].Addr.Addr().Next(), Every: time.Second, Timeout: 500 * time.Millisecond}
	b.Members[0].Elements = []fakenet.Element{fakenet.Drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
		return p.SYN() && h.Now()/period%2 == 1
	})}
	return w
}

// oneFull is a pool with a member whose accept queue is full.
func oneFull(seed uint64, n int) *fakenet.World {
	w, b := fakenet.VIP(seed, n)
	l := b.Members[0].Host.Ports[b.Members[0].Addr.Port()]
	l.Backlog, l.App.Never = 2, true
	l.Queued = l.Backlog + 1
	return w
}

func poolStories() []story {
	hole, healthy := only(diagnose.BlackholeBackend), only(diagnose.Healthy)
	return []story{
		{name: "1 of 2 to 6 swallows", right: hole, share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, between(r, 2, 6)) }},
		{name: "1 of 7 to 30 swallows", right: hole, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, between(r, 7, 30)) }},
		{name: "1 of 2 to 6 swallows, 3 % loss", rare: chance, right: hole, also: lossy(), share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.Blackhole(seed, between(r, 2, 6)), 0.03)
			}},
		{name: "1 of 2 to 6 swallows, in turn", right: hole, share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.BlackholeRoundRobin(seed, between(r, 2, 6))
			}},
		{name: "1 of 2 to 5 does not accept", right: only(diagnose.AcceptQueueOverflow), share: 0.6,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return oneFull(seed, between(r, 2, 5)) }},
		{name: "1 of 2 to 5 does not accept, 3 % loss", rare: chance, right: only(diagnose.AcceptQueueOverflow), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return lose(oneFull(seed, between(r, 2, 5)), 0.03) }},
		{name: "the only member swallows",
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, 1) }},
		{name: "the balancer resets late",
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.LateReset(seed, lasting(r, time.Second, 15*time.Second))
			}},
		{name: "1 of 2 to 6 refuses", right: only(diagnose.PortClosed), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Refusing(seed, between(r, 2, 6)) }},
		{name: "1 of 2 to 6 refuses, 5 % loss", right: only(diagnose.PortClosed), also: lossy(), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.Refusing(seed, between(r, 2, 6)), 0.05)
			}},
		{name: "members of different make", right: only(diagnose.BackendHeterogeneity), also: []diagnose.Verdict{diagnose.MiddleboxTSStripped}, share: 0.95,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Mixed(seed, between(r, 2, 3)) }},
		{name: "members of different make, 5 % loss", rare: chance, right: only(diagnose.BackendHeterogeneity), also: lossy(), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.Mixed(seed, between(r, 2, 3)), 0.05)
			}},
		{name: "one member without timestamps", right: only(diagnose.BackendHeterogeneity), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 2, 4))
				b.Members[0].Host.Look.NoTimestamps = true
				return w
			}},
		{name: "pool goes empty for minutes, unreachable", right: either(diagnose.VIPPoolEmpty), quiet: true,
			also:  []diagnose.Verdict{diagnose.TWRecyclePAWSDropSNAT, diagnose.ACLDrop},
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return poisonedPool(seed, r, fakenet.EmptyUnreachable) }},
		{name: "pool goes empty for minutes, reset", right: either(diagnose.VIPPoolEmpty), quiet: true,
			also:  []diagnose.Verdict{diagnose.TWRecyclePAWSDropSNAT, diagnose.PortClosed},
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return poisonedPool(seed, r, fakenet.EmptyReset) }},
		{name: "pool goes empty for seconds, unreachable", right: only(diagnose.VIPPoolEmpty), share: 0.3, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sickPool(seed, lasting(r, time.Second, 4*time.Second), fakenet.EmptyUnreachable)
			}},
		{name: "pool goes empty for seconds, reset", right: only(diagnose.VIPPoolEmpty), also: []diagnose.Verdict{diagnose.PortClosed}, share: 0.3, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sickPool(seed, lasting(r, time.Second, 4*time.Second), fakenet.EmptyReset)
			}},
		{name: "near miss: checked, and well", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return sickPool(seed, time.Hour, fakenet.EmptyReset) }},
		{name: "full proxy, members hang", right: only(diagnose.LBFullProxyMasks), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.FullProxy(seed, 3, between(r, 1, 3), false, false)
			}},
		{name: "full proxy, members reset", right: only(diagnose.LBFullProxyMasks), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.FullProxy(seed, 3, between(r, 1, 3), true, false)
			}},
		{name: "near miss: a member with another TSval clock", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 2, 6))
				b.Members[0].Host.Clock.Hz = 250
				return w
			}},
	}
}
