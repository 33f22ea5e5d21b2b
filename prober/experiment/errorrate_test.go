package experiment_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// oneIn is the share of networks for which something may be named that is not there: 1 in 10,000.
const oneIn = 1e-4

// TestErrorRate: how often something false is named, over healthy networks and over everything that looks like the faults that rules name by chance. It
// fails where more are wrong than 1 in 10,000 networks makes at all likely. The short run asks a few hundred networks; for the figures:
//
//	go test ./prober/experiment -run TestErrorRate -v -timeout 0 -seeds 20000
func TestErrorRate(t *testing.T) { //nolint:tparallel // the subtests are summed up
	t.Parallel()
	n := 20
	if *moreSeeds != usualSeeds {
		n = *moreSeeds
	}
	total := stats.Arm{}
	for _, s := range populations() {
		t.Run(s.name, func(t *testing.T) {
			if *oneSeed != 0 {
				t.Log(s.explain(*oneSeed))
				return
			}
			c := s.score(n)
			wrong := stats.Arm{Hits: len(c.wrong), N: c.n}
			total.Hits, total.N = total.Hits+wrong.Hits, total.N+wrong.N
			t.Logf("%s; wrong at most %.2g (95 %%); %v", c, atMost(wrong), c.wrong[:min(5, len(c.wrong))])
			hold(t, wrong)
		})
	}
	t.Logf("wrong %d of %d, at most %.2g (95 %%)", total.Hits, total.N, atMost(total))
	hold(t, total)
}

// atMost is the upper end of what the share of wrong ones may be, one-sided.
func atMost(wrong stats.Arm) float64 { return stats.ClopperPearson(wrong, 0.90).High }

func hold(t *testing.T, wrong stats.Arm) {
	t.Helper()
	if least := stats.ClopperPearson(wrong, 0.98).Low; least > oneIn {
		t.Errorf("wrong %d of %d: at least %.2g (99 %%), permitted %.2g", wrong.Hits, wrong.N, least, oneIn)
	}
}

// populations are kinds of networks with what may be named of each.
func populations() []story {
	makes := wellWorlds()
	well := func(seed uint64, r *rand.Rand) *fakenet.World { return makes[r.IntN(len(makes))](seed, r) }
	loss := either(diagnose.ForwardSYNLoss, diagnose.SYNACKLoss)
	some := func(seed uint64, r *rand.Rand, f func(uint64) *fakenet.World) *fakenet.World {
		return lose(f(seed), upTo(r, 0, 0.05))
	}
	list := []story{
		{name: "well", right: only(diagnose.Healthy), world: well},
		{name: "well, far and jittery", right: only(diagnose.Healthy),
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.Jittery(seed, lasting(r, time.Millisecond, 150*time.Millisecond), lasting(r, 0, 40*time.Millisecond))
			}},
		{name: "well, up to 5 % loss", right: loss, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return lose(well(seed, r), upTo(r, 0, 0.05)) }},
		{name: "loss of any rate", right: loss, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Loss(seed, upTo(r, 0.05, 0.7)) }},
		{name: "VIP, loss of any rate", right: loss, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.CleanVIP(seed, between(r, 1, 12)), upTo(r, 0.05, 0.7))
			}},
		{name: "SYNs lost at any rate", right: only(diagnose.ForwardSYNLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.01, 0.9)) }},
		{name: "SYN-ACKs lost at any rate", right: only(diagnose.SYNACKLoss), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNACKLoss(seed, upTo(r, 0.01, 0.9)) }},
		{name: "clocks of their own per connection, up to 5 % loss", right: loss, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return some(seed, r, func(seed uint64) *fakenet.World {
					w := fakenet.RandomTSClient(seed)
					w.Hosts[0].Recycle = nil
					return w
				})
			}},
		{name: "SYN cookies, up to 5 % loss", right: loss, also: []diagnose.Verdict{diagnose.SYNCookiesActive}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return some(seed, r, fakenet.SYNCookies) }},
		{name: "timestamps stripped, up to 5 % loss", right: loss, also: []diagnose.Verdict{diagnose.MiddleboxTSStripped}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return some(seed, r, fakenet.TSStripped) }},
		{name: "timestamps rewritten, up to 5 % loss", right: only(diagnose.MiddleboxTSecrCorrupt), also: append(lossy(), diagnose.ClientPAWSReject),
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return some(seed, r, fakenet.TSRewritten) }},
		{name: "stateful filter, up to 5 % loss", right: loss, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return some(seed, r, fakenet.Stateful) }},
		{name: "reused ports, up to 5 % loss", right: loss, also: []diagnose.Verdict{diagnose.IPVSPortReuseDrop}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return some(seed, r, fakenet.ReusedPort) }},
	}
	return append(list, faulty()...)
}

// faulty are populations with a fault that must not be taken for another.
func faulty() []story {
	limited := only(diagnose.SYNRateLimited)
	return []story{
		{name: "collisions with TIME_WAIT, up to 5 % loss", right: only(diagnose.TimeWaitCollision), also: append(lossy(), diagnose.SNATPortExhaustion), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.TimeWaitReuse(seed, between(r, 20, 60)), upTo(r, 0, 0.05))
			}},
		{name: "rate limit of any rate", right: limited, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimit(seed, upTo(r, 0.2, 40), between(r, 1, 40))
			}},
		{name: "rate limit, up to 5 % loss", right: limited, also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.RateLimit(seed, upTo(r, 0.2, 40), between(r, 1, 40)), upTo(r, 0, 0.05))
			}},
		{name: "a member swallows, up to 5 % loss", right: only(diagnose.BlackholeBackend), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.Blackhole(seed, between(r, 2, 30)), upTo(r, 0, 0.05))
			}},
		{name: "one way of several loses some", right: either(diagnose.ECMPPathLoss), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ECMPLoss(seed, between(r, 2, 8), upTo(r, 0.05, 0.65))
			}},
		{name: "full connection table", right: only(diagnose.ConntrackTableFull), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ConntrackLimit(seed, between(r, 0, 200))
			}},
		{name: "few SNAT ports", right: only(diagnose.SNATPortExhaustion), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SNATPool(seed, between(r, 2, 80), 0, lasting(r, time.Second, 120*time.Second))
			}},
		{name: "SNAT race", right: only(diagnose.SNATPortRace), also: []diagnose.Verdict{diagnose.ForwardSYNLoss}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SNATRace(seed, between(r, 30, 400)) }},
		{name: "nobody accepts, up to 5 % loss", right: only(diagnose.AcceptQueueOverflow), also: lossy(), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.AcceptFull(seed, between(r, 1, 30)), upTo(r, 0, 0.05))
			}},
		{name: "SYN queue nearly full", right: only(diagnose.SYNQueueFullDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SYNQueueFull(seed, 64, between(r, 40, 64))
			}},
		{name: "pool empties for seconds", right: only(diagnose.VIPPoolEmpty), also: []diagnose.Verdict{diagnose.PortClosed}, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return sickPool(seed, lasting(r, time.Second, 8*time.Second), []fakenet.Empty{fakenet.EmptyReset, fakenet.EmptyUnreachable}[r.IntN(2)])
			}},
		{name: "some members old", right: only(diagnose.TWRecyclePAWSDropSNAT), also: lossy(), quiet: true, settle: primed,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				n := between(r, 1, 8)
				return lose(fakenet.RecycleVIP(seed, n, between(r, 0, n)), upTo(r, 0, 0.05))
			}},
		{name: "slow answers", right: only(diagnose.SlowPathNotStall), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SlowSYNACK(seed, lasting(r, 0, 2*time.Second))
			}},
		{name: "this host loses its own SYNs", right: only(diagnose.ProberLocalDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.LocalLoss(seed, upTo(r, 0.01, 0.5)) }},
	}
}
