package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// run feeds trials at a rate until the test decides, and says how many it took.
func run(t testing.TB, rng *rand.Rand, test stats.SPRT, rate float64) (stats.Decision, int) {
	for range 1_000_000 {
		if d := test.Add(rng.Float64() < rate); d != stats.Undecided {
			return d, test.N()
		}
	}
	t.Fatalf("no decision at rate %g in a million trials", rate)
	return stats.Undecided, 0
}

// The rate of wrong decisions stays within alpha and beta: at most four standard errors above in a fixed sequence of runs.
func TestSPRTKeepsItsErrorRates(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		p0, p1, alpha, beta float64
		runs                int
	}{
		{0.01, 0.5, 1e-2, 0.05, 20_000},
		{0.01, 0.2, 1e-2, 0.05, 20_000},
		{0.05, 0.95, 1e-3, 0.05, 100_000},
		{0.01, 0.5, 1e-4, 0.05, 300_000},
		{0.5, 0.1, 1e-2, 0.1, 20_000}, // fewer hits than the null
	} {
		rejected, accepted := 0, 0
		for range c.runs {
			if d, _ := run(t, rng, stats.NewSPRT(c.p0, c.p1, c.alpha, c.beta), c.p0); d == stats.RejectNull {
				rejected++
			}
			if d, _ := run(t, rng, stats.NewSPRT(c.p0, c.p1, c.alpha, c.beta), c.p1); d == stats.AcceptNull {
				accepted++
			}
		}
		n := float64(c.runs)
		most := func(p float64) float64 { return n*p + 4*math.Sqrt(n*p*(1-p)) }
		if float64(rejected) > most(c.alpha) {
			t.Errorf("%+v: a true null was rejected %d times", c, rejected)
		}
		if float64(accepted) > most(c.beta) {
			t.Errorf("%+v: a false null was accepted %d times", c, accepted)
		}
	}
}

// Also with a rate between the two, and one below the null, alpha holds for the null's side.
func TestSPRTRejectsLessBelowTheNull(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	rejected := 0
	for range 20_000 {
		if d, _ := run(t, rng, stats.NewSPRT(0.05, 0.5, 1e-2, 0.05), 0.02); d == stats.RejectNull {
			rejected++
		}
	}
	if rejected > 200 {
		t.Errorf("rejected %d times of 20,000 at a rate below the null", rejected)
	}
}

// The probes that a decision takes at the drop rates of old-kernel PAWS behind a NAT, against a loss of 1 %: 2 at .95,
// 5 at .5, 20 at .2, 59 at .1; the simulated mean lies above by the overshoot only.
func TestSPRTExpectedTrials(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for rate, want := range map[float64]float64{0.95: 2, 0.5: 5, 0.2: 20, 0.1: 60} {
		test := stats.NewSPRT(0.01, rate, 1e-4, 0.05)
		_, expected := test.Expected()
		if math.Round(expected) != want {
			t.Errorf("rate %g: %g trials, want about %g", rate, expected, want)
		}
		total := 0
		for range 2000 {
			_, n := run(t, rng, test, rate)
			total += n
		}
		if mean := float64(total) / 2000; mean < expected*0.95 || mean > expected*1.15+2 {
			t.Errorf("rate %g: %g trials on average, expected %g", rate, mean, expected)
		}
	}
}

// The exact path at its bounds: with p1 = 4·p0 a hit adds ln 4; alpha = 1/16 is met by two hits, not by one.
func TestSPRTDecidesAtItsBounds(t *testing.T) {
	test := stats.NewSPRT(0.125, 0.5, 1.0/16, 0.01)
	if d := test.Add(true); d != stats.Undecided || test.P() != 0.25 {
		t.Errorf("after one hit: %s, P %g", d, test.P())
	}
	if d := test.Add(true); d != stats.RejectNull || !near(test.P(), 1.0/16, 1e-15) {
		t.Errorf("after two hits: %s, P %g", d, test.P())
	}
	for range 100 {
		if d := test.Add(false); d != stats.RejectNull || test.N() != 2 || test.Decision() != stats.RejectNull {
			t.Fatalf("a decision was taken back: %s after %d", d, test.N())
		}
	}
	// A miss adds ln(4/7): nine misses bring Λ to 0.0065 ≤ 0.01, eight to 0.0114.
	test = stats.NewSPRT(0.125, 0.5, 1.0/16, 0.01)
	for i := range 9 {
		want := stats.Undecided
		if i == 8 {
			want = stats.AcceptNull
		}
		if d := test.Add(false); d != want {
			t.Errorf("after %d misses: %s, want %s", i+1, d, want)
		}
	}
	if test.P() != 1 || test.LogRatio() >= 0 {
		t.Errorf("P %g, log ratio %g", test.P(), test.LogRatio())
	}
}

func TestSPRTOfWrongParametersNeverDecides(t *testing.T) {
	for _, c := range [][4]float64{
		{0, 0.5, 0.01, 0.05}, {0.1, 1, 0.01, 0.05}, {0.5, 0.5, 0.01, 0.05}, {0.1, 0.5, 0, 0.05}, {0.1, 0.5, 0.01, 1},
		{math.NaN(), 0.5, 0.01, 0.05},
	} {
		test := stats.NewSPRT(c[0], c[1], c[2], c[3])
		for i := range 1000 {
			if d := test.Add(i%3 > 0); d != stats.Undecided {
				t.Errorf("%v: %s", c, d)
				break
			}
		}
	}
	var zero stats.SPRT
	if d := zero.Add(true); d != stats.Undecided {
		t.Errorf("the zero test: %s", d)
	}
}
