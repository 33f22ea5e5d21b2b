package experiment_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// side is one of two networks that people take for each other.
type side struct {
	verdict diagnose.Verdict
	world   func(seed uint64, r *rand.Rand) *fakenet.World
	// share is the least part of the networks in which the verdict is named, or noted where it is benign.
	share float64
	// beside may be named too: what is there as well.
	beside []diagnose.Verdict
}

// pair are two networks with one symptom.
type pair struct {
	name   string
	a, b   side
	permit func(*experiment.Setup) // what only the owner of a path permits; nil: nothing
}

// pairs are those that fool people, as lab.Pairs has them in networks of real kernels.
func pairs() []pair {
	hold := func(s *experiment.Setup) { s.Hold = 256 }
	backlog := side{diagnose.AcceptQueueOverflow, func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.AcceptFull(seed, between(r, 1, 8)) }, 0.8, nil}
	deaf := func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, between(r, 2, 5)) }
	return []pair{
		{"backlog, ARP queue", backlog,
			side{diagnose.RemoteARPQueueOverflow, func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RemoteQueue(seed, between(r, 1, 5), slowARP(r))
			}, 1, nil}, nil},
		{"rate limit, backlog",
			side{diagnose.SYNRateLimited, func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.RateLimit(seed, upTo(r, 3, 8), between(r, 2, 8))
			}, 0.6, nil}, backlog, nil},
		{"blackhole backend, random loss", side{diagnose.BlackholeBackend, deaf, 0.9, nil},
			side{diagnose.ForwardSYNLoss, func(seed uint64, r *rand.Rand) *fakenet.World {
				return lose(fakenet.CleanVIP(seed, between(r, 2, 5)), upTo(r, 0.15, 0.4))
			}, 0.3, lossy()}, nil},
		{"ECMP loss, bad backend",
			side{diagnose.ECMPPathLoss, func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ECMPLoss(seed, between(r, 2, 4), upTo(r, 0.35, 0.6))
			}, 0.4, nil}, side{diagnose.BlackholeBackend, deaf, 0.9, nil}, nil},
		{"SYN-ACK loss, SYN loss",
			side{diagnose.SYNACKLoss, func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNACKLoss(seed, upTo(r, 0.15, 0.5)) }, 0.8, nil},
			side{diagnose.ForwardSYNLoss, func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, upTo(r, 0.15, 0.5)) }, 0.8, nil}, nil},
		{"connection table full, ports exhausted",
			side{diagnose.ConntrackTableFull, func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.ConntrackLimit(seed, between(r, 140, 200))
			}, 0.9, nil},
			side{diagnose.SNATPortExhaustion, func(seed uint64, r *rand.Rand) *fakenet.World {
				return fakenet.SNATPool(seed, between(r, 140, 200), 0, time.Second)
			}, 0.9, nil}, hold},
		{"deferred accept, accept queue",
			side{diagnose.DeferAcceptBenign, func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.DeferAccept(seed) }, 0.9, []diagnose.Verdict{diagnose.Healthy}},
			backlog, func(s *experiment.Setup) { s.Backlog = 64 }},
		{"SYN proxy before nobody, before a service",
			side{diagnose.LBFullProxyMasks, func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Synproxy(seed, true) }, 0.9, nil},
			side{diagnose.Healthy, func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Synproxy(seed, false) }, 1, nil}, nil},
	}
}

// TestPairsThatFoolPeople: of two networks with one symptom each is named for what it is, and never for the other.
func TestPairsThatFoolPeople(t *testing.T) {
	t.Parallel()
	for _, p := range pairs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, way := range [][2]side{{p.a, p.b}, {p.b, p.a}} {
				way[0].tell(t, way[1].verdict, p.permit)
			}
		})
	}
}

// tell looks at networks of one side: it is told from the other.
func (s *side) tell(t *testing.T, other diagnose.Verdict, permit func(*experiment.Setup)) {
	t.Helper()
	n, right := 20, 0
	for k := range n {
		seed := uint64(k)*104_729 + 3
		r := rand.New(rand.NewPCG(seed, 7))
		res := pursue(s.world(seed, r), seed, patient, func(x *experiment.Setup) {
			if x.Burst = between(r, 8, 16); permit != nil {
				permit(x)
			}
		})
		got := named(&res.diagnosis)
		for _, f := range res.diagnosis.Notes {
			if f.Verdict.Benign() && f.Level >= diagnose.Suspected {
				got = append(got, f.Verdict)
			}
		}
		if slices.Contains(got, s.verdict) {
			right++
		}
		if slices.Contains(got, other) && !slices.Contains(s.beside, other) {
			t.Errorf("seed %d: %s taken for %s", seed, s.verdict, other)
		}
	}
	t.Logf("%s: %d of %d", s.verdict, right, n)
	if float64(right) < s.share*float64(n) {
		t.Errorf("%s named in %d of %d networks, want %.0f %% or more", s.verdict, right, n, 100*s.share)
	}
}
