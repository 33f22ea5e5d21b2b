package experiment_test

import (
	"math/rand/v2"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// sharedAddress is an old server and others whose connections it closes from the vantage's own address, every so often, ahead ticks before
// the vantage's clock. seen: they go out from this very host, where a survey hears them.
func sharedAddress(seed uint64, ahead int64, every time.Duration, seen bool) *fakenet.World {
	w := fakenet.RecycleDirect(seed, seed%2 == 0)
	own := w.Client.Clock.At(0, wire.Flow{Src: addrPort(w.Client.Source, 0), Dst: w.Target})
	p := &fakenet.Primer{From: w.Client.Source, Every: every, Clock: fakenet.Clock{Hz: 1000, Base: own.Add(ahead), Seed: seed}}
	w.Hosts[0].Recycle.Primers = []*fakenet.Primer{p}
	if seen {
		w.Business = []*fakenet.Primer{p}
	}
	return w
}

// leapingMemory is an old server and three to five others behind the vantage's own address, whose clocks lie all around the circle: each is newer than the one before
// it, so that what the server remembers leaps from clock to clock.
func leapingMemory(seed uint64, r *rand.Rand) *fakenet.World {
	w := fakenet.RecycleDirect(seed, seed%2 == 0)
	every := lasting(r, 100*time.Millisecond, 2*time.Second)
	n := between(r, 3, 5)
	w.Hosts[0].Recycle.Primers = nil
	for i := range n {
		w.Hosts[0].Recycle.Primers = append(w.Hosts[0].Recycle.Primers, &fakenet.Primer{From: w.Client.Source, Every: every,
			Clock: fakenet.Clock{Hz: 1000, Base: wire.TSval(uint64(i)<<32/uint64(n)) + wire.TSval(r.Uint32N(1<<28)), Seed: seed + uint64(i)}})
	}
	return w
}

// oneClock is a VIP of n old servers behind a balancer that gives all connections with timestamps one clock, and a client that may send none.
func oneClock(seed uint64, n int, timestamps, noTSDropped bool) *fakenet.World {
	w, b := fakenet.VIP(seed, n)
	clock := fakenet.Clock{Hz: 1000, Base: wire.TSval(uint32(seed) * 2654435761), Seed: seed}
	for _, m := range b.Members {
		m.Elements = []fakenet.Element{&fakenet.Normalize{Clock: clock}}
		m.Host.Recycle = &fakenet.Recycle{NoTSDropped: noTSDropped,
			Primers: []*fakenet.Primer{{From: b.SNAT.Addrs[0], Every: 100 * time.Millisecond, Clock: clock}}}
	}
	w.Client.NoTimestamps = !timestamps
	return w
}

// ahead is a distance on the circle at which the vantage is refused: more than one tick, less than half the circle; far from both ends.
func ahead(r *rand.Rand) int64 { return 100_000 + r.Int64N(1<<31-200_000) }

// primed is when others have closed connections enough to be remembered.
const primed = 5 * time.Second

// anew makes a balancer choose a member for each connection by itself, in turn or at random.
func anew(w *fakenet.World, r *rand.Rand) *fakenet.World {
	w.Balancer.Choose = []fakenet.Policy{fakenet.RoundRobin, fakenet.Random}[r.IntN(2)]
	return w
}

func timestampStories() []story {
	snat := only(diagnose.TWRecyclePAWSDropSNAT)
	own := only(diagnose.TWRecyclePAWSDrop)
	healthy := only(diagnose.Healthy)
	return []story{
		{settle: primed, name: "shared address, another clock ahead", right: snat, share: 0.98,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sharedAddress(seed, ahead(r), lasting(r, 20*time.Millisecond, time.Second), false)
			}},
		{settle: primed, name: "shared address, several clocks all around the circle", right: snat, share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return leapingMemory(seed, r) }},
		{settle: primed, name: "shared address, several clocks all around the circle, 5 % loss", rare: chance, right: snat, share: 0.5, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return lose(leapingMemory(seed, r), 0.05) }},
		{name: "near miss: half of the circle is dropped by a bit of a multiple of the TSval",
			also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				mul := r.Uint32()&^15 | oneOf[uint32](r, 1, 15)
				w, _ := fakenet.Server(seed, fakenet.Drop(stamped(func(v uint32) bool { return v*mul>>31 == 1 })))
				return w
			}},
		{name: "near miss: half of all SYNs lost, whatever their TSval", right: only(diagnose.ForwardSYNLoss), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.35, 0.65)) }},
		{name: "near miss: every other SYN lost, whatever its TSval", also: append(lossy(), diagnose.BlackholeBackend), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				n := 0
				w, _ := fakenet.Server(seed, fakenet.Drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
					if fakenet.SYNs(h, p) {
						n++
					}
					return fakenet.SYNs(h, p) && n%2 == 0
				}))
				return w
			}},
		{settle: primed, name: "shared address, another clock ahead, 5 % loss", rare: chance, right: snat, share: 0.95, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(sharedAddress(seed, ahead(r), lasting(r, 20*time.Millisecond, time.Second), false), 0.05)
			}},
		{settle: primed, name: "shared address, another clock behind", right: snat, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sharedAddress(seed, -ahead(r), lasting(r, 20*time.Millisecond, time.Second), false)
			}},
		{settle: primed, name: "shared address, own clock", right: own, also: snat[0], quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sharedAddress(seed, 0, lasting(r, 20*time.Millisecond, time.Second), false)
			}},
		{settle: primed, name: "this host sends business of others", right: only(diagnose.TSClockDomainConflict), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sharedAddress(seed, ahead(r), lasting(r, 20*time.Millisecond, 200*time.Millisecond), true)
			}},
		{name: "another clock comes to be remembered meanwhile", right: snat, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := sharedAddress(seed, ahead(r), 20*time.Millisecond, false)
				w.Hosts[0].Recycle.Primers[0].Since = lasting(r, 0, 4*time.Second)
				return w
			}},
		{name: "near miss: the same from an address of their own", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := sharedAddress(seed, ahead(r), lasting(r, 20*time.Millisecond, 200*time.Millisecond), false)
				w.Hosts[0].Recycle.Primers[0].From = w.Target.Addr()
				return w
			}},
		{settle: primed, name: "one clock for all but a client without timestamps", right: snat, share: 0.98,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return oneClock(seed, between(r, 1, 4), false, true) }},
		{settle: primed, name: "one clock for all but a client without timestamps, 3 % loss", rare: chance, right: snat, also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(oneClock(seed, between(r, 1, 4), false, true), 0.03)
			}},
		{settle: primed, name: "near miss: one clock for all, this client's too", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return oneClock(seed, between(r, 1, 4), true, true) }},
		{settle: primed, name: "near miss: one clock for all, and servers that take SYNs without timestamps", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return oneClock(seed, between(r, 1, 4), false, false) }},
		{name: "near miss: a client without timestamps loses a third", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := lose(fakenet.Clean(seed), 0.3)
				w.Client.NoTimestamps = true
				return w
			}},
		{name: "near miss: recycle, and nobody whom the server closes", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RecycleDirect(seed, seed%2 == 0) }},
		{settle: primed, name: "VIP with SNAT, two clocks, every member old", right: snat, share: 0.95,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				n := between(r, 1, 4)
				return fakenet.RecycleVIP(seed, n, n)
			}},
		{settle: primed, name: "VIP with SNAT, two clocks, one of two old", right: snat, share: 0.8,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RecycleVIP(seed, 2, 1) }},
		{settle: primed, name: "VIP with SNAT, two clocks, one of four old", right: snat, quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RecycleVIP(seed, 4, 1) }},
		{settle: primed, name: "VIP with SNAT, two clocks, one of two old, 3 % loss", right: snat, also: lossy(), share: 0.5,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.RecycleVIP(seed, 2, 1), 0.03) }},
		{settle: primed, name: "VIP with SNAT, two clocks, one of ten old", right: snat, share: 0.8, quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RecycleVIP(seed, 10, 1) }},
		{settle: primed, name: "VIP with SNAT, two clocks, one of ten old, 5 % loss", right: snat, also: lossy(), share: 0.65, quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.RecycleVIP(seed, 10, 1), 0.05) }},
		{settle: primed, name: "VIP that picks a member anew each time, one of two to four old", right: snat, share: 0.9, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return anew(fakenet.RecycleVIP(seed, between(r, 2, 4), 1), r)
			}},
		{settle: primed, name: "VIP that picks a member anew each time, one of two to four old, 5 % loss", right: snat, also: lossy(), share: 0.8, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(anew(fakenet.RecycleVIP(seed, between(r, 2, 4), 1), r), 0.05)
			}},
		{settle: primed, name: "VIP of an old and a dead member among four", right: either(diagnose.TWRecyclePAWSDropSNAT), also: []diagnose.Verdict{diagnose.BlackholeBackend}, share: 0.7,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RecycleVIP(seed, 4, 1)
				w.Balancer.Members[3].Host.Dead = true
				return w
			}},
		{name: "near miss: VIP that picks a member anew each time, one of two to four dead", right: either(diagnose.BlackholeBackend), quiet: true,
			also: []diagnose.Verdict{diagnose.ECMPPathLoss},
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return anew(fakenet.Blackhole(seed, between(r, 2, 4)), r)
			}},
		{name: "near miss: VIP with SNAT, two clocks, modern members", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.RecycleVIP(seed, between(r, 1, 4), 0) }},
		{settle: primed, name: "client with a random clock per connection", right: only(diagnose.ClientRandomTSVsRecycle), also: snat[0], share: 0.8,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RandomTSClient(seed) }},
		{name: "near miss: random clock per connection, modern server", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RandomTSClient(seed)
				w.Hosts[0].Recycle = nil
				return w
			}},
		{name: "old server primed", right: own, share: 0.95, prime: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RecycleDirect(seed, seed%2 == 0) }},
		{name: "old server primed, 5 % loss", rare: chance, right: own, share: 0.8, prime: true, also: lossy(),
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				return lose(fakenet.RecycleDirect(seed, seed%2 == 0), 0.05)
			}},
		{name: "near miss: modern server primed", right: healthy, share: 1, prime: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Clean(seed) }},
		{name: "near miss: modern server primed, 5 % loss", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), prime: true, quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(fakenet.Clean(seed), 0.05) }},
		{name: "near miss: old server that lets the client close first", prime: true, right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RecycleDirect(seed, seed%2 == 0)
				w.Hosts[0].Ports[80].App = fakenet.App{Reply: []byte("ok\r\n")}
				return w
			}},
		{name: "old server primed whose application closes by itself after a while", prime: true, right: own, share: 0.98,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.RecycleDirect(seed, seed%2 == 0)
				w.Hosts[0].Ports[80].App = fakenet.App{Close: fakenet.CloseAtOnce, Delay: lasting(r, 3*time.Second, 11*time.Second)}
				return w
			}},
		{name: "near miss: old server primed, SYN cookies in force", prime: true, right: healthy, also: []diagnose.Verdict{diagnose.SYNCookiesActive}, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RecycleDirect(seed, seed%2 == 0)
				w.Hosts[0].Ports[80].Cookies = fakenet.CookiesAlways
				return w
			}},
		{name: "near miss: old server that resets in place of closing", prime: true, right: healthy, quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RecycleDirect(seed, seed%2 == 0)
				w.Hosts[0].Ports[80].App = fakenet.App{Close: fakenet.ResetOnData}
				return w
			}},
		{name: "old server primed, and overtaken by another clock at the same address", prime: true, quiet: true, right: own, also: snat[0],
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := sharedAddress(seed, 1000+r.Int64N(900_000), lasting(r, 20*time.Millisecond, time.Second), false)
				w.Hosts[0].Recycle.Primers[0].Since = lasting(r, 2*time.Second, 4*time.Second)
				return w
			}},
		{name: "SNAT gives ports that are in TIME_WAIT", right: only(diagnose.TimeWaitCollision), quiet: true,
			also:  []diagnose.Verdict{diagnose.SNATPortExhaustion},
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.TimeWaitReuse(seed, between(r, 20, 60)) }},
	}
}
