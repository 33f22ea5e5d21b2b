package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// lose adds background loss to a world's path.
func lose(w *fakenet.World, share float64) *fakenet.World {
	w.Lose = share
	return w
}

// upTo is a random share of lo … hi.
func upTo(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// either is any of several right answers.
func either(vs ...diagnose.Verdict) [][]diagnose.Verdict {
	var sets [][]diagnose.Verdict
	for _, v := range vs {
		sets = append(sets, []diagnose.Verdict{v})
	}
	return sets
}

// chance is the share of networks with random loss for which rules that name at p < 1e-2, after several looks, are wrong at most.
const chance = 0.05

// asksECN is a host that asks for ECN, before a filter that may drop SYNs that do.
func asksECN(seed uint64, filtered bool) *fakenet.World {
	const asks = wire.ECE | wire.CWR
	w, _ := fakenet.Server(seed, fakenet.Drop(func(_ fakenet.Hop, p *fakenet.Packet) bool { return filtered && p.Seg.Flags&asks == asks }))
	w.Client.ECN = true
	return w
}

// clashing loses a share of the first SYNs that come within half a millisecond of another's.
func clashing(seed uint64, share float64) *fakenet.World {
	var last time.Time
	clash := func(h fakenet.Hop, _ *fakenet.Packet) bool {
		now := h.World().Now()
		near := !last.IsZero() && now.Sub(last) < 500*time.Microsecond
		last = now
		return near && h.Chance(share)
	}
	w, _ := fakenet.Server(seed, fakenet.Drop(fakenet.Both(fakenet.Nth(fakenet.SYNs, 1), clash)))
	return w
}

// starved lets a prober act but once in 8 to 30 ms.
func starved(r *rand.Rand, w *fakenet.World) *fakenet.World {
	turn := lasting(r, 8*time.Millisecond, 30*time.Millisecond)
	w.Starved = func(due time.Duration) time.Duration { return due.Truncate(turn) + turn }
	return w
}

// lateAnswers holds a share of the SYN-ACKs back by d, and loses another share.
func lateAnswers(seed uint64, share float64, d time.Duration, lost float64) *fakenet.World {
	w, _ := fakenet.Server(seed, fakenet.Hold(d, fakenet.Chance(share, fakenet.SYNACKs)), fakenet.Drop(fakenet.Chance(lost, fakenet.SYNACKs)))
	return w
}

func pathStories() []story {
	forward, back, healthy := only(diagnose.ForwardSYNLoss), only(diagnose.SYNACKLoss), only(diagnose.Healthy)
	return []story{
		{name: "SYNs lost, 10 to 50 %", rare: chance, right: forward, share: 0.85,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.1, 0.5)) }},
		{name: "SYNs lost, 1 to 5 %", rare: chance, right: forward, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.01, 0.05)) }},
		{name: "SYN-ACKs lost, 10 to 50 %", rare: chance, right: back, share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNACKLoss(seed, upTo(r, 0.1, 0.5)) }},
		{name: "SYN-ACKs lost, 1 to 5 %", rare: chance, right: back, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNACKLoss(seed, upTo(r, 0.01, 0.05)) }},
		{name: "near miss: SYN-ACKs lost, 30 to 50 %, and some of several members answer by cookie", rare: chance, right: back, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w, _ := fakenet.VIP(seed, 8)
				for _, h := range w.Hosts[:between(r, 2, 4)] {
					h.Ports[80].Cookies = fakenet.CookiesAlways
				}
				w.Insert(fakenet.Drop(fakenet.Chance(upTo(r, 0.3, 0.5), fakenet.Going(fakenet.Back))))
				return w
			}},
		{name: "lost both ways, 5 to 30 %", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), share: 0.4,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Loss(seed, upTo(r, 0.05, 0.3)) }},
		{name: "lost both ways, 1 to 5 %", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Loss(seed, upTo(r, 0.01, 0.05)) }},
		{name: "VIP, lost both ways, 1 to 5 %", rare: chance, right: either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.CleanVIP(seed, between(r, 1, 8)), upTo(r, 0.01, 0.05))
			}},
		{name: "first SYN of every flow lost",
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.NthSYN(seed, 1) }},
		{name: "first two SYNs of every flow lost",
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.NthSYN(seed, 1, 2) }},
		{name: "near miss: reordered and doubled, nothing lost", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.Reordered(seed, upTo(r, 0, 0.3), upTo(r, 0, 0.3), lasting(r, 0, 20*time.Millisecond))
			}},
		{name: "SYN-ACKs 1.2 to 1.8 s late", right: only(diagnose.SlowPathNotStall), share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SlowSYNACK(seed, lasting(r, 1200*time.Millisecond, 1800*time.Millisecond))
			}},
		{name: "some SYN-ACKs 1.2 to 1.8 s late, none lost", quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lateAnswers(seed, upTo(r, 0.1, 0.4), lasting(r, 1200*time.Millisecond, 1800*time.Millisecond), 0)
			}},
		{name: "near miss: some SYN-ACKs 1.2 to 1.8 s late, SYN-ACKs lost, 30 to 50 %", rare: chance, right: back, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lateAnswers(seed, 0.01, lasting(r, 1200*time.Millisecond, 1800*time.Millisecond), upTo(r, 0.3, 0.5))
			}},
		{name: "near miss: SYN-ACKs 0 to 0.6 s late", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SlowSYNACK(seed, lasting(r, 0, 600*time.Millisecond))
			}},
		{name: "SYNs over a rate dropped", rare: chance, right: only(diagnose.SYNRateLimited), share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimit(seed, upTo(r, 2.6, 8), between(r, 1, 8))
			}},
		{name: "SYNs over a rate dropped, 3 % loss", right: only(diagnose.SYNRateLimited), also: lossy(),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.RateLimit(seed, upTo(r, 2.6, 8), between(r, 1, 8)), 0.03)
			}},
		{name: "near miss: a rate that nobody reaches", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RateLimit(seed, 10_000, 10_000) }},
		{name: "filtered with a word", right: only(diagnose.ACLDrop), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ACL(seed, true) }},
		{name: "filtered without a word", right: only(diagnose.ACLDrop), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ACL(seed, false) }},
		{name: "SYNs that ask for ECN dropped", right: only(diagnose.ACLDrop), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return asksECN(seed, true) }},
		{name: "SYNs that ask for ECN dropped, 5 % loss", rare: chance, right: only(diagnose.ACLDrop), also: lossy(), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return lose(asksECN(seed, true), 0.05) }},
		{name: "near miss: ECN asked for, nobody minds", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return asksECN(seed, false) }},
		{name: "near miss: ECN asked for, SYNs lost, 20 to 50 %", rare: chance, right: forward, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				w := fakenet.SYNLoss(seed, upTo(r, 0.2, 0.5))
				w.Client.ECN = true
				return w
			}},
		{name: "filtered before a router", right: only(diagnose.ACLDrop), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ACLBefore(seed) }},
		{name: "near miss: every member of the VIP is dead",
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.DeadPool(seed, between(r, 1, 8)) }},
		{name: "filtered by source", right: only(diagnose.ReversePathFilter), share: 0.95,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.RPFilter(seed) }},
		{name: "near miss: the source that passes", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World {
				w := fakenet.RPFilter(seed)
				w.Client.Source = netip.AddrFrom4([4]byte{192, 0, 2, 11})
				return w
			}},
		{name: "one of several ways loses some", right: either(diagnose.ECMPPathLoss, diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ECMPLoss(seed, between(r, 2, 8), upTo(r, 0.2, 0.6))
			}},
		{name: "one of several ways loses all", right: only(diagnose.ECMPPathLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.ECMPLoss(seed, between(r, 2, 8), 1) }},
		{name: "one of two to four ways loses all, 2 % loss", rare: chance, right: either(diagnose.ECMPPathLoss), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.ECMPLoss(seed, between(r, 2, 4), 1), 0.02)
			}},
		{name: "large segments vanish", right: only(diagnose.MTUBlackhole), share: 0.9,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.MTUBlackhole(seed, between(r, 700, 1400))
			}},
		{name: "large segments vanish, 5 % loss", rare: chance, right: only(diagnose.MTUBlackhole), also: lossy(), share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.MTUBlackhole(seed, between(r, 700, 1400)), 0.05)
			}},
		{name: "near miss: the path carries 1,500", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.MTUBlackhole(seed, 1500) }},
		{name: "near miss: a narrow path whose SYNs' MSS is made to fit", right: healthy, share: 1,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.MTUClamped(seed, between(r, 700, 1400)) }},
		{name: "connection table full", right: only(diagnose.ConntrackTableFull), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.ConntrackLimit(seed, between(r, 0, 60)) }},
		{name: "near miss: room in the connection table", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ConntrackLimit(seed, 4000) }},
		{name: "SNAT ports exhausted", right: only(diagnose.SNATPortExhaustion), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SNATPool(seed, between(r, 4, 40), 0, lasting(r, time.Second, 120*time.Second))
			}},
		{name: "SNAT ports allocated twice at once", right: only(diagnose.SNATPortRace), also: []diagnose.Verdict{diagnose.ForwardSYNLoss}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SNATRace(seed, between(r, 30, 400)) }},
		{few: true, plain: true, name: "of SYNs of one instant some clash", right: only(diagnose.SNATPortRace), share: 0.55,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return clashing(seed, upTo(r, 0.3, 0.7)) }},
		{few: true, plain: true, name: "of SYNs of one instant some clash, and this prober is starved: what was to leave apart leaves at once", right: only(diagnose.SNATPortRace), share: 0.2,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return starved(r, clashing(seed, upTo(r, 0.3, 0.7))) }},
		{few: true, name: "near miss: this prober is starved, and SYNs are lost, 10 to 50 %", rare: chance, right: forward, share: 0.7,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return starved(r, fakenet.SYNLoss(seed, upTo(r, 0.1, 0.5)))
			}},
		{name: "near miss: SNAT with ports for all", right: healthy, share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.SNATPool(seed, 20000, 0, time.Second) }},
		{name: "a reused port loses its first SYN", right: only(diagnose.IPVSPortReuseDrop, diagnose.Healthy), quiet: true,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.ReusedPort(seed) }},
	}
}
