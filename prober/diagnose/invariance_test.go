package diagnose_test

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// round is what an investigation of a world sees.
func round(w *fakenet.World, seed uint64) diagnose.Input {
	inv := &experiment.Investigation{Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(seed, 2)),
		Setup: experiment.Setup{Source: netip.AddrPortFrom(netip.Addr{}, 0), Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder,
			Listen: 9500 * time.Millisecond, MSS: 1460, HalfOpen: 16, NoRaw: w.Tap.Off}}
	in := diagnose.Input{Ladder: w.Client.Ladder}
	for w.Elapsed() < time.Minute {
		b, more := inv.Next(in.Observations)
		if !more {
			break
		}
		in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
	}
	return in
}

// shuffled is the same round with the attempts of each burst in another order of the list; their times stay.
func shuffled(in diagnose.Input, r *rand.Rand) diagnose.Input {
	out := in
	out.Observations = slices.Clone(in.Observations)
	for i := range out.Observations {
		o := &out.Observations[i]
		o.Attempts = slices.Clone(o.Attempts)
		r.Shuffle(len(o.Attempts), func(a, b int) { o.Attempts[a], o.Attempts[b] = o.Attempts[b], o.Attempts[a] })
	}
	return out
}

type cause struct {
	Verdict diagnose.Verdict
	Level   diagnose.Level
}

func causes(d diagnose.Diagnosis) []cause {
	var out []cause
	for i := range d.Causes {
		out = append(out, cause{d.Causes[i].Verdict, d.Causes[i].Level})
	}
	return out
}

// TestOrderDoesNotMatter: a diagnosis is a function of what was seen: the same input gives the same words, and the order in which a list
// holds its attempts changes no verdict and no level. Neither changes what it is given.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for _, n := range fakenet.Catalogue() {
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(12) {
				in := round(n.Make(seed), seed)
				before := deep(in.Observations)
				first := diagnose.Diagnose(in)
				for range 4 {
					if again := diagnose.Diagnose(in); !reflect.DeepEqual(again, first) {
						t.Fatalf("seed %d: not the same twice:\n%+v\n%+v", seed, first, again)
					}
				}
				if !reflect.DeepEqual(before, in.Observations) {
					t.Fatalf("seed %d: the observations were changed", seed)
				}
				r := rand.New(rand.NewPCG(seed, 3))
				for range 4 {
					if got, want := causes(diagnose.Diagnose(shuffled(in, r))), causes(first); !reflect.DeepEqual(got, want) {
						t.Fatalf("seed %d: shuffled %v, in order %v", seed, got, want)
					}
				}
			}
		})
	}
}

func deep(os []observe.Observation) []observe.Observation {
	out := slices.Clone(os)
	for i := range out {
		out[i].Attempts = slices.Clone(out[i].Attempts)
		for j := range out[i].Attempts {
			a := &out[i].Attempts[j]
			a.SYNs, a.Answers = slices.Clone(a.SYNs), slices.Clone(a.Answers)
		}
		out[i].Neighbor = slices.Clone(out[i].Neighbor)
	}
	return out
}

// TestNothingSeen: no observation, or one that holds nothing, names nothing and does not panic.
func TestNothingSeen(t *testing.T) {
	t.Parallel()
	for _, in := range []diagnose.Input{{}, {Observations: []observe.Observation{{}}}, {Observations: make([]observe.Observation, 40)}} {
		if d := diagnose.Diagnose(in); len(d.Causes) != 0 {
			t.Errorf("%d empty observations: %v", len(in.Observations), causes(d))
		}
	}
}

// TestEveryCauseIsComplete: what is named says in words why, what would refute it and what to do, and its verdict is in the catalogue.
func TestEveryCauseIsComplete(t *testing.T) {
	t.Parallel()
	for _, n := range fakenet.Catalogue() {
		for seed := range uint64(6) {
			d := diagnose.Diagnose(round(n.Make(seed+100), seed))
			for _, c := range d.Causes {
				if c.Summary == "" || len(c.Evidence) == 0 || c.Disproof == "" || c.Remedy == "" || !slices.Contains(diagnose.Verdicts(), c.Verdict) {
					t.Errorf("%s, seed %d: %s lacks something: %+v", n.Name, seed, c.Verdict, c)
				}
				if c.P < 0 || c.P > 1 {
					t.Errorf("%s, seed %d: %s has p = %g", n.Name, seed, c.Verdict, c.P)
				}
			}
			for _, c := range d.Notes {
				if c.Summary == "" || c.Level >= diagnose.Suspected && !c.Verdict.Benign() {
					t.Errorf("%s, seed %d: note %s: %+v", n.Name, seed, c.Verdict, c)
				}
			}
		}
	}
}

// BenchmarkDiagnose judges a whole round of an investigation that had to look long.
func BenchmarkDiagnose(b *testing.B) {
	in := round(fakenet.Loss(3, 0.05), 3)
	b.ReportAllocs()
	b.ReportMetric(float64(len(in.Observations)), "bursts")
	for b.Loop() {
		diagnose.Diagnose(in)
	}
}
