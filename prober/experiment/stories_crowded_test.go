package experiment_test

import (
	"math/rand/v2"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// floods are times at which somebody else fills this machine's backlog: each for a random while.
func floods(r *rand.Rand, on, off time.Duration) func(time.Duration) bool {
	is, until := r.IntN(2) == 0, time.Duration(0)
	return func(at time.Duration) bool {
		for at >= until {
			is = !is
			mean := off
			if is {
				mean = on
			}
			until += time.Duration(float64(mean)*r.ExpFloat64()) + time.Millisecond
		}
		return is
	}
}

// flooded is a backlog that overflows now and then, and much then.
func flooded(r *rand.Rand) *fakenet.Softnet {
	s := overflowing(r, upTo(r, 0.2, 1))
	s.Full = floods(r, skewedTime(r, 50*time.Millisecond, 3*time.Second), skewedTime(r, 300*time.Millisecond, 10*time.Second))
	return s
}

// overflowing is a backlog that drops a share of what comes; up to three times as much as comes to it the CPU takes beside it.
func overflowing(r *rand.Rand, share float64) *fakenet.Softnet {
	s := &fakenet.Softnet{Lose: share, Taken: skewed(r, 1000, 100_000)}
	s.Dropped = s.Taken * share / (1.03 - share) / upTo(r, 1, 3)
	return s
}

// busy is a backlog from which one packet of 3,000 to 100,000 is dropped, all the time.
func busy(r *rand.Rand) *fakenet.Softnet {
	s := &fakenet.Softnet{Lose: skewed(r, 1e-5, 3e-4), Taken: skewed(r, 50_000, 500_000)}
	s.Dropped = s.Taken * s.Lose
	return s
}

func crowded(w *fakenet.World, s *fakenet.Softnet) *fakenet.World {
	w.Crowd(s)
	return w
}

// crowdedStories are hosts whose own backlog drops packets. That a stall is not classified is wrong there: it says that there is one on the way.
func crowdedStories() []story {
	own := may(diagnose.Healthy, diagnose.ProberLocalDrop, diagnose.InsufficientSamples)
	return []story{
		{name: "this host's backlog is flooded now and then", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return crowded(fakenet.Clean(seed), flooded(r)) }},
		{name: "this host's backlog is flooded now and then, before a pool", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.CleanVIP(seed, between(r, 1, 8)), flooded(r))
			}},
		{few: true, name: "this host's backlog is flooded all the time", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.Clean(seed), overflowing(r, upTo(r, 0.03, 0.9)))
			}},
		{few: true, name: "the backlog of one CPU of this host overflows, and flows are dealt to CPUs by their hash", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := overflowing(r, upTo(r, 0.5, 1))
				s.Of = fakenet.Sticky(upTo(r, 0.1, 0.6), seed, fakenet.Any)
				return crowded(fakenet.Clean(seed), s)
			}},
		{name: "this host's backlog is flooded for a while, and nothing comes through", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := overflowing(r, 1)
				until := skewedTime(r, time.Second, time.Minute)
				s.Full = func(at time.Duration) bool { return at < until }
				return crowded(fakenet.Clean(seed), s)
			}},
		{few: true, name: "near miss: this host drops a few of very many packets, and the path loses SYNs", right: only(diagnose.ForwardSYNLoss), rare: chance, share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.SYNLoss(seed, upTo(r, 0.2, 0.5)), busy(r))
			}},
		{few: true, name: "near miss: this host drops a few of very many packets, and one of two to four members is dead", right: only(diagnose.BlackholeBackend), share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.Blackhole(seed, between(r, 2, 4)), busy(r))
			}},
		{few: true, name: "this host's own device drops now and then what the tap saw leave", also: own,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := flooded(r)
				s.Device = "bond0.100"
				return crowded(fakenet.CleanVIP(seed, between(r, 1, 4)), s)
			}},
		{few: true, name: "this host's own device drops a part of our SYNs, and nothing of others", right: only(diagnose.ProberLocalDrop), also: own, share: 0.5,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.Clean(seed), &fakenet.Softnet{Device: "eth0", Lose: upTo(r, 0.2, 0.5), Of: fakenet.SYNs})
			}},
		{few: true, name: "near miss: this host's own device drops a few of very many packets, and the path loses SYNs", right: only(diagnose.ForwardSYNLoss), rare: chance, share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := busy(r)
				s.Device = "eth0"
				return crowded(fakenet.SYNLoss(seed, upTo(r, 0.2, 0.5)), s)
			}},
		{name: "near miss: this host drops a few of very many packets, and a filter swallows all", right: only(diagnose.ACLDrop), share: 0.8,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return crowded(fakenet.ACL(seed, false), busy(r)) }},
		{few: true, name: "near miss: another CPU of this host is flooded now and then, and the path loses SYNs", right: only(diagnose.ForwardSYNLoss), rare: chance, quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := flooded(r)
				s.Lose = 0
				return crowded(fakenet.SYNLoss(seed, upTo(r, 0.2, 0.5)), s)
			}},
		{few: true, name: "near miss: this host's backlog is flooded now and then, and old servers remember", settle: primed, right: only(diagnose.TWRecyclePAWSDropSNAT), share: 0.5,
			also: may(diagnose.ProberLocalDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				s := flooded(r)
				s.Lose = upTo(r, 0.05, 0.3)
				return crowded(fakenet.RecycleVIP(seed, 2, 2), s)
			}},
		{few: true, name: "near miss: this host's backlog is flooded all the time, and a server that was primed remembers", prime: true, right: only(diagnose.TWRecyclePAWSDrop), share: 0.5,
			also: may(diagnose.ProberLocalDrop), quiet: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World {
				return crowded(fakenet.RecycleDirect(seed, false), overflowing(r, upTo(r, 0.01, 0.05)))
			}},
	}
}
