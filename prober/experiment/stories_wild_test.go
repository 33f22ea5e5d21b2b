package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// wildStories are near misses that networks drawn at random have shown (TestWild): each was once taken for the fault that it resembles.
func wildStories() []story {
	closed := either(diagnose.PortClosed)
	return []story{
		{name: "near miss: connections over a rate are reset, and no pool is empty", right: closed, quiet: true,
			also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, refuser(overLimit(skewed(r, 0.5, 20), between(r, 1, 60))))
				return w
			}},
		{name: "near miss: the service restarts, and no pool is empty", right: closed, quiet: true, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				h := w.Hosts[0]
				l := h.Ports[80]
				from := lasting(r, 0, 3*time.Second)
				w.After(from, func() { delete(h.Ports, 80) })
				w.After(from+lasting(r, 200*time.Millisecond, 8*time.Second), func() { h.Ports[80] = l })
				return w
			}},
		{name: "near miss: one member of two to six loses a half, and no path does", also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 2, 6))
				b.Members[0].Elements = []fakenet.Element{fakenet.Drop(fakenet.Chance(0.5, fakenet.SYNs))}
				return w
			}},
		{name: "near miss: the path breaks between handshakes and their data, and no proxy masks", also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				from := lasting(r, 500*time.Millisecond, 5*time.Second)
				w, _ := fakenet.Server(seed, fakenet.Drop(during(from, from+lasting(r, time.Second, 20*time.Second), fakenet.Any)))
				return w
			}},
		{name: "near miss: the way back passes SYN-ACKs and nothing else, and no proxy masks", quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, h := fakenet.Server(seed, fakenet.Drop(fakenet.Both(fakenet.Going(fakenet.Back), func(_ fakenet.Hop, p *fakenet.Packet) bool { return !p.SYNACK() })))
				h.Ports[80].Cookies = []fakenet.Cookies{fakenet.CookiesOnFull, fakenet.CookiesAlways}[r.IntN(2)]
				return w
			}},
		{name: "timestamps rewritten in SYNs alone, so that the listener rejects the ACK", right: only(diagnose.MiddleboxTSecrCorrupt), share: 0.9,
			also: may(diagnose.ClientPAWSReject),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, fakenet.ShiftTSval(1+r.Int64N(1<<31-1), fakenet.SYNs))
				return w
			}},
		{name: "near miss: a round trip a little over a rung, and no answer lost", plain: true, right: only(diagnose.BlackholeBackend), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Blackhole(seed, between(r, 5, 12))
				w.OneWay, w.Jitter = lasting(r, 45*time.Millisecond, 60*time.Millisecond), 4*time.Millisecond
				return w
			}},
		{name: "near miss: SYNs are dropped by the sign of their TSval, and nothing is remembered",
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				negative := r.IntN(2) == 0
				w, _ := fakenet.Server(seed, fakenet.Drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
					v, _, ok := p.Seg.Options.Timestamps()
					return fakenet.SYNs(h, p) && ok && (int32(v) < 0) == negative
				}))
				return w
			}},
		{name: "near miss: the same on a long path, where no search ends to the tick",
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, fakenet.Drop(stamped(func(v uint32) bool { return v>>31 == 1 })))
				w.OneWay, w.Jitter = lasting(r, 60*time.Millisecond, 150*time.Millisecond), lasting(r, 10*time.Millisecond, 40*time.Millisecond)
				return w
			}, plain: true},
		{name: "near miss: half of the circle is dropped by bits of the TSval, and nothing is remembered",
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				bit, mul := between(r, 16, 30), r.Uint32()|1
				w, _ := fakenet.Server(seed, fakenet.Drop(stamped(func(v uint32) bool { return v*mul>>bit&1 == 1 })))
				return w
			}, also: lossy(), quiet: true}, // none of four TSvals may be met
		{name: "near miss: a low bit of the TSval turns where the server was primed, and it remembers nothing", prime: true, quiet: true, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				bit := between(r, 1, 3)
				w, _ := fakenet.Server(seed, fakenet.Drop(stamped(func(v uint32) bool { return v>>bit&1 == 1 })))
				return w
			}},
		{name: "near miss: some members are slow by about as much as a listener waits before it repeats, and no answer is lost", plain: true,
			also: may(diagnose.SlowPathNotStall), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 3, 40))
				for i := range (len(b.Members) + 2) / 3 {
					b.Members[i].Host.Ports[80].Slow = lasting(r, 900*time.Millisecond, 1200*time.Millisecond)
				}
				w.OneWay, w.Jitter = lasting(r, 100*time.Microsecond, 100*time.Millisecond), lasting(r, 0, 10*time.Millisecond)
				return w
			}},
		{name: "near miss: dead members behind a limit on SYNs, and no path loses them", plain: true, also: may(diagnose.BlackholeBackend, diagnose.SYNRateLimited), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 4, 12))
				w.Insert(&fakenet.Limiter{Rate: skewed(r, 10, 200), Burst: between(r, 1, 20)})
				for i := range (len(b.Members) + 3) / 4 {
					b.Members[i].Host.Dead = true
				}
				return w
			}},
		{name: "near miss: few places for requests, each held for a long round trip, and no rate is limited", plain: true, right: only(diagnose.SYNQueueFullDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				n := oneOf(r, 16, 64, 128)
				w := fakenet.SYNQueueFull(seed, n, n-n/4-between(r, 0, 6))
				w.OneWay, w.Jitter = lasting(r, 20*time.Microsecond, 200*time.Millisecond), 100*time.Microsecond
				return w
			}},
		{name: "near miss: few connections at a time for each source, and no rate is limited", plain: true, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &concurrent{most: between(r, 1, 8)})
				w.OneWay, w.Jitter = lasting(r, 20*time.Millisecond, 200*time.Millisecond), 10*time.Millisecond
				return w
			}},
		{name: "near miss: few SNAT ports, kept for long, and no queue is full", right: only(diagnose.SNATPortExhaustion), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SNATPool(seed, between(r, 4, 30), 0, lasting(r, 20*time.Second, 120*time.Second))
			}},
		{few: true, name: "near miss: one SYN in ten seconds passes, to whatever port, and no queue is full", plain: true, quiet: true, also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &windows{most: 1, window: 10 * time.Second})
				return w
			}},
		{few: true, name: "near miss: half of the members, side by side, refuse in a balancer's turn, and no pool is empty", plain: true, right: closed, quiet: true,
			also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, b := fakenet.VIP(seed, between(r, 10, 30))
				b.Choose = fakenet.RoundRobin
				for _, m := range b.Members[:len(b.Members)/2] {
					clear(m.Host.Ports)
				}
				w.Insert(refuser(overLimit(skewed(r, 100, 2000), 1)))
				return w
			}},
		{few: true, name: "near miss: slow to answer a request that is forgotten meanwhile, and no queue is full", plain: true, quiet: true, also: may(diagnose.SlowPathNotStall),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.Clean(seed)
				l := w.Hosts[0].Ports[80]
				l.Slow, l.Retries = lasting(r, 1100*time.Millisecond, 3*time.Second), -1
				w.Insert(&concurrent{most: between(r, 60, 120), reset: true})
				return w
			}},
		{few: true, name: "near miss: a limit on all packets lets a listener's repeats through at last, and no path is slow", plain: true, quiet: true,
			also: append(lossy(), diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &fakenet.Limiter{Rate: upTo(r, 0.5, 2), Burst: between(r, 20, 80), Match: fakenet.Any})
				w.OneWay, w.Jitter = lasting(r, 50*time.Millisecond, 100*time.Millisecond), lasting(r, 0, 20*time.Millisecond)
				return w
			}},
		{name: "near miss: nearly everything is lost for everybody, and no member is dead", also: append(lossy(), diagnose.SYNRateLimited), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNLoss(seed, upTo(r, 0.9, 0.99))
			}},
		{few: true, name: "near miss: SYNs of some source ports are dropped before the host, and no listener of several is full", right: only(diagnose.ACLDrop), share: 0.6, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				mod := uint16(between(r, 4, 8))
				w, _ := fakenet.Server(seed, fakenet.Drop(func(h fakenet.Hop, p *fakenet.Packet) bool { return fakenet.SYNs(h, p) && p.Seg.Src.Port()%mod == 1 }))
				return w
			}},
		{few: true, name: "near miss: a source that opens too much is blocked, and no route back is missing", plain: true, quiet: true, also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &guardian{most: between(r, 12, 40), window: 30 * time.Second, block: lasting(r, time.Minute, 5*time.Minute), everything: true})
				w.Client.Others = []netip.Addr{w.Client.Source.Next()}
				return w
			}},
		{few: true, name: "near miss: few tokens that come back within a burst, and no ports collide", plain: true, quiet: true, also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &fakenet.Limiter{Rate: skewed(r, 3000, 10_000), Burst: between(r, 3, 6)}, &fakenet.Shape{Each: 20 * time.Microsecond, Depth: time.Second})
				return w
			}},
		{few: true, name: "near miss: two SYNs at once and hundreds a second, and no path loses", plain: true, quiet: true, also: may(diagnose.SYNRateLimited),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, &fakenet.Limiter{Rate: upTo(r, 100, 250), Burst: between(r, 1, 2)})
				w.Client.Scout = true
				return w
			}},
		{few: true, name: "near miss: the first SYN of each flow is swallowed unless it is doubled, and no path loses", plain: true, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.Server(seed, fakenet.Twice(lasting(r, 10*time.Microsecond, time.Millisecond), fakenet.Chance(upTo(r, 0.2, 0.6), fakenet.Any)), &verifier{within: 20 * time.Second})
				return w
			}},
	}
}

// stamped matches SYNs whose TSval is of a sort.
func stamped(of func(v uint32) bool) fakenet.Match {
	return func(h fakenet.Hop, p *fakenet.Packet) bool {
		v, _, ok := p.Seg.Options.Timestamps()
		return fakenet.SYNs(h, p) && ok && of(uint32(v))
	}
}
