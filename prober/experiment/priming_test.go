package experiment_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// innocents is how many networks the long run primes: go test ./prober/experiment -run TestPrimingBlamesNobody -innocents 40000
var innocents = flag.Int("innocents", 600, "networks without per-host PAWS that are primed")

// innocent networks lose, limit, swallow and overload, and remember no TSval.
func innocent() []func(seed uint64, r *rand.Rand) *fakenet.World {
	type builder = func(uint64, *rand.Rand) *fakenet.World
	return []builder{
		func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.Clean(seed) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.CleanVIP(seed, between(r, 1, 4)) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return lose(fakenet.Clean(seed), 0.05*r.Float64()) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return lose(fakenet.Clean(seed), 0.4*r.Float64()) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNLoss(seed, 0.6*r.Float64()) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.SYNACKLoss(seed, 0.6*r.Float64()) },
		func(seed uint64, r *rand.Rand) *fakenet.World {
			return fakenet.RateLimit(seed, 2+60*r.Float64(), between(r, 1, 60))
		},
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.Blackhole(seed, between(r, 2, 6)) },
		func(seed uint64, r *rand.Rand) *fakenet.World {
			return fakenet.BlackholeRoundRobin(seed, between(r, 2, 6))
		},
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.AcceptFull(seed, between(r, 1, 60)) },
		func(seed uint64, r *rand.Rand) *fakenet.World {
			return fakenet.SYNQueueFull(seed, 64, between(r, 40, 80))
		},
		func(seed uint64, r *rand.Rand) *fakenet.World {
			return fakenet.ECMPLoss(seed, between(r, 2, 4), r.Float64())
		},
		func(seed uint64, r *rand.Rand) *fakenet.World {
			return fakenet.ConntrackLimit(seed, between(r, 20, 200))
		},
		func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.SYNCookies(seed) },
		func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.LocalLoss(seed, 0.3*r.Float64()) },
	}
}

// A network that remembers no TSval is never said to, whatever else it does to SYNs. The answer keeps an error rate of 10⁻⁴: in 40,000 networks none
// bounds it by 7.5·10⁻⁵ with 95 %.
func TestPrimingBlamesNobody(t *testing.T) {
	kinds := innocent()
	flips := 0
	for i := range *innocents {
		seed := uint64(i)*104729 + 3
		r := rand.New(rand.NewPCG(seed, 0xb1a3e))
		w := kinds[i%len(kinds)](seed, r)
		w.OneWay = lasting(r, 50*time.Microsecond, 20*time.Millisecond)
		w.Wait(lasting(r, 0, time.Second))
		res := pursue(w, seed, 20*time.Second, func(s *experiment.Setup) { s.MayPrime, s.PrimeAnyway = true, true })
		if slices.ContainsFunc(res.seen, func(o observe.Observation) bool { return o.Kind == plan.KindFlip }) {
			flips++
		}
		if n := named(&res.diagnosis); slices.Contains(n, diagnose.TWRecyclePAWSDrop) {
			t.Errorf("network %d (kind %d): named %v", i, i%len(kinds), n)
		}
	}
	t.Logf("%d networks, of which %d came to a flip", *innocents, flips)
	if flips < *innocents/3 {
		t.Errorf("only %d of %d networks came to a flip: nothing was tested", flips, *innocents)
	}
}

// evidence is all that a diagnosis says for a verdict.
func evidence(d *diagnose.Diagnosis, v diagnose.Verdict) string {
	for i := range d.Causes {
		if d.Causes[i].Verdict == v {
			return strings.Join(d.Causes[i].Evidence, "\n")
		}
	}
	return ""
}

func TestHealing(t *testing.T) {
	for _, c := range []struct {
		story string
		world func(seed uint64) *fakenet.World
		want  string
	}{
		{"the server forgets", func(seed uint64) *fakenet.World { return fakenet.RecycleDirect(seed, true) }, "it healed as per-host PAWS does"},
		{"the server forgets, 5 % loss", func(seed uint64) *fakenet.World { return lose(fakenet.RecycleDirect(seed, false), 0.05) },
			"it healed as per-host PAWS does"},
		{"somebody renews it", func(seed uint64) *fakenet.World {
			w := sharedAddress(seed, 1000, 10*time.Second, false)
			w.Hosts[0].Recycle.Primers[0].Since = 38 * time.Second
			return w
		}, "T0 itself was refused"},
	} {
		for seed := range uint64(20) {
			w := c.world(seed + 1)
			res := pursue(w, seed, 150*time.Second, func(s *experiment.Setup) { s.MayPrime, s.Heal = true, true })
			if got := evidence(&res.diagnosis, diagnose.TWRecyclePAWSDrop); !strings.Contains(got, c.want) {
				t.Errorf("%s, seed %d: want %q in\n%s", c.story, seed, c.want, got)
			}
		}
	}
}

// Nothing is sent between the proof and the last question but the questions themselves.
func TestHealingWaitsInSilence(t *testing.T) {
	w := fakenet.RecycleDirect(1, true)
	res := pursue(w, 1, 150*time.Second, func(s *experiment.Setup) { s.MayPrime, s.Heal = true, true })
	var ages []time.Duration
	p, _ := diagnose.Primed(res.seen)
	for i := range res.seen {
		o := &res.seen[i]
		if o.Finished.Sub(p.At) < 20*time.Second {
			continue
		}
		if o.Kind != plan.KindHeal {
			t.Errorf("a burst of kind %s %s after the prime", o.Kind, o.Finished.Sub(p.At))
		}
		ages = append(ages, o.Attempts[0].SYNs[0].At.Sub(p.At).Round(time.Second/2))
	}
	if want := diagnose.HealAges(); !slices.Equal(ages, want[:]) {
		t.Errorf("asked at %v, want %v", ages, want)
	}
}

func TestControlSource(t *testing.T) {
	other := netip.AddrFrom4([4]byte{192, 0, 2, 11})
	for seed := range uint64(20) {
		res := pursue(fakenet.RecycleDirect(seed, true), seed, patient, func(s *experiment.Setup) {
			s.MayPrime, s.Control = true, netip.AddrPortFrom(other, 0)
		})
		if got := evidence(&res.diagnosis, diagnose.TWRecyclePAWSDrop); !strings.Contains(got, "it is this address that the server refuses") {
			t.Errorf("seed %d:\n%s", seed, got)
		}
	}
}

// The remembered TSval is the one that the server has.
func TestRememberedIsExact(t *testing.T) {
	for seed := range uint64(50) {
		w := lose(fakenet.RecycleDirect(seed, true), 0.05)
		res := pursue(w, seed, 20*time.Second, func(s *experiment.Setup) { s.MayPrime = true })
		p, primed := diagnose.Primed(res.seen)
		x, remembered := w.Hosts[0].Recycle.Remembered(w, w.Client.Source)
		if !primed || !remembered || p.T0 != x {
			t.Errorf("seed %d: primed %t with %d, the server remembers %t %d", seed, primed, p.T0, remembered, x)
		}
	}
}

// Where what is seen speaks against a prime, none is made without the word for it; and with it none where it would show nothing more.
func TestPrimeIsRefusedWhereOthersMayShare(t *testing.T) {
	for _, c := range []struct {
		story  string
		world  *fakenet.World
		settle time.Duration
		want   string
		useful bool
	}{
		{"another clock is remembered", sharedAddress(1, 500_000, 100*time.Millisecond, false), primed, "remember", false},
		{"members differ", fakenet.Mixed(1, 4), 0, "different stacks", true},
	} {
		for _, anyway := range []bool{false, true} {
			w := c.world
			w.Wait(c.settle)
			res := pursue(w, 1, 20*time.Second, func(s *experiment.Setup) { s.MayPrime, s.PrimeAnyway = true, anyway })
			if done := slices.ContainsFunc(res.seen, func(o observe.Observation) bool { return o.Kind == plan.KindPrime }); done != (anyway && c.useful) {
				t.Errorf("%s, anyway %t: primed %t", c.story, anyway, done)
			}
			in := diagnose.Input{Observations: res.seen}
			if why := diagnose.PrimeRisk(&in); !strings.Contains(why, c.want) {
				t.Errorf("%s: %q, want %q in it", c.story, why, c.want)
			}
		}
	}
}
