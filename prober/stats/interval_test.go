package stats_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// Whatever the rate, the exact interval covers it with at least the confidence: every outcome is counted.
func TestClopperPearsonCovers(t *testing.T) {
	for _, confidence := range []float64{0.9, 0.99} {
		for _, n := range []int{1, 5, 20, 40} {
			intervals := make([]stats.Interval, n+1)
			for x := range intervals {
				intervals[x] = stats.ClopperPearson(stats.Arm{Hits: x, N: n}, confidence)
			}
			for rate := 0.005; rate < 1; rate += 0.005 {
				covered := 0.0
				for x, i := range intervals {
					if i.Contains(rate) {
						covered += binomial(x, n, rate)
					}
				}
				if covered < confidence-1e-12 {
					t.Errorf("%d trials at rate %.3f: covered with %g, want %g", n, rate, covered, confidence)
				}
			}
		}
	}
}

// Its ends are where the tails have α/2; with no hits and with hits only there is a closed form.
func TestClopperPearsonEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := arm(t, "a", 300)
		if a.N == 0 {
			return
		}
		i := stats.ClopperPearson(a, 0.95)
		if a.Hits > 0 && !near(stats.BinomialAtLeast(a.Hits, a.N, i.Low), 0.025, 1e-9) {
			t.Fatalf("%v: low end %g", a, i.Low)
		}
		if a.Hits < a.N && !near(stats.BinomialAtMost(a.Hits, a.N, i.High), 0.025, 1e-9) {
			t.Fatalf("%v: high end %g", a, i.High)
		}
		if !i.Contains(a.Rate()) {
			t.Fatalf("%v: %v", a, i)
		}
	})
	if i := stats.ClopperPearson(stats.Arm{N: 10}, 0.95); i.Low != 0 || !near(i.High, 1-math.Pow(0.025, 0.1), 1e-12) {
		t.Errorf("0 of 10: %v", i)
	}
	if i := stats.ClopperPearson(stats.Arm{Hits: 10, N: 10}, 0.95); i.High != 1 || !near(i.Low, math.Pow(0.025, 0.1), 1e-12) {
		t.Errorf("10 of 10: %v", i)
	}
}

// The ends of Wilson's interval lie z standard errors from the rate, the error being that at the end itself.
func TestWilsonEnds(t *testing.T) {
	const z95 = 1.959963984540054 // the 97.5 % quantile of the normal distribution
	rapid.Check(t, func(t *rapid.T) {
		a := arm(t, "a", 1000)
		if a.N == 0 {
			return
		}
		i := stats.Wilson(a, 0.95)
		for _, end := range []float64{i.Low, i.High} {
			if end == 0 || end == 1 {
				continue
			}
			if away := math.Abs(a.Rate()-end) / math.Sqrt(end*(1-end)/float64(a.N)); !near(away, z95, 1e-9) {
				t.Fatalf("%v: end %g is %g standard errors away", a, end, away)
			}
		}
		if !i.Contains(a.Rate()) || (i.Low == 0) != (a.Hits == 0) || (i.High == 1) != (a.Hits == a.N) {
			t.Fatalf("%v: %v", a, i)
		}
	})
}

// On average over the rates Wilson's interval covers what it says.
func TestWilsonCoversOnAverage(t *testing.T) {
	const n = 40
	covered, rates := 0.0, 0.0
	for rate := 0.0005; rate < 1; rate += 0.001 {
		rates++
		for x := range n + 1 {
			if stats.Wilson(stats.Arm{Hits: x, N: n}, 0.95).Contains(rate) {
				covered += binomial(x, n, rate)
			}
		}
	}
	if mean := covered / rates; mean < 0.945 || mean > 0.96 {
		t.Errorf("mean coverage %g", mean)
	}
}

func TestIntervalEdges(t *testing.T) {
	for name, f := range map[string]func(stats.Arm, float64) stats.Interval{"Wilson": stats.Wilson, "Clopper-Pearson": stats.ClopperPearson} {
		if i := f(stats.Arm{}, 0.95); i != (stats.Interval{Low: 0, High: 1}) {
			t.Errorf("%s of no trials: %v", name, i)
		}
		if i := f(stats.Arm{Hits: 3, N: 9}, 1); i != (stats.Interval{Low: 0, High: 1}) {
			t.Errorf("%s at confidence 1: %v", name, i)
		}
		for _, bad := range []stats.Interval{
			f(stats.Arm{Hits: 3, N: 2}, 0.95), f(stats.Arm{Hits: 1, N: 2}, 1.5), f(stats.Arm{Hits: 1, N: 2}, math.NaN()),
		} {
			if !math.IsNaN(bad.Low) || !math.IsNaN(bad.High) || bad.Contains(0.5) {
				t.Errorf("%s of what cannot be: %v", name, bad)
			}
		}
	}
}
