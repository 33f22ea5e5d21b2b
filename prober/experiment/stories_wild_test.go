package experiment_test

import (
	"math/rand/v2"
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
				ports := between(r, 4, 30)
				if ports == 7 || ports == 8 {
					ports = 9 // as many as bare ACKs are sent: the last of these would have to fail
				}
				return fakenet.SNATPool(seed, ports, 0, lasting(r, 20*time.Second, 120*time.Second))
			}},
		{name: "near miss: nearly everything is lost for everybody, and no member is dead", also: append(lossy(), diagnose.SYNRateLimited), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNLoss(seed, upTo(r, 0.9, 0.99))
			}},
	}
}
