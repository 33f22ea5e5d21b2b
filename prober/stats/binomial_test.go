package stats_test

import (
	"math"
	"math/big"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// Every sequence of up to 12 trials is enumerated and weighed.
func TestBinomialAgainstEnumeration(t *testing.T) {
	for n := range 13 {
		for _, p := range []float64{0, 1e-3, 0.1, 0.5, 0.9, 1} {
			weight := make([]float64, n+1)
			for set := range 1 << n {
				hits := bits.OnesCount(uint(set))
				weight[hits] += math.Pow(p, float64(hits)) * math.Pow(1-p, float64(n-hits))
			}
			for k := -1; k <= n+1; k++ {
				atLeast, atMost := 0.0, 0.0
				for x, w := range weight {
					if x >= k {
						atLeast += w
					}
					if x <= k {
						atMost += w
					}
				}
				if got := stats.BinomialAtLeast(k, n, p); !near(got, atLeast, 1e-12) {
					t.Fatalf("P(X ≥ %d) of %d at %g: %g, want %g", k, n, p, got, atLeast)
				}
				if got := stats.BinomialAtMost(k, n, p); !near(got, atMost, 1e-12) {
					t.Fatalf("P(X ≤ %d) of %d at %g: %g, want %g", k, n, p, got, atMost)
				}
			}
		}
	}
}

// Rational arithmetic at rates that a float64 holds exactly.
func TestBinomialAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		sixteenths := int64(rapid.IntRange(1, 15).Draw(t, "p in sixteenths"))
		sum := new(big.Int)
		for x := k; x <= n; x++ {
			w := new(big.Int).Binomial(int64(n), int64(x))
			w.Mul(w, new(big.Int).Exp(big.NewInt(sixteenths), big.NewInt(int64(x)), nil))
			w.Mul(w, new(big.Int).Exp(big.NewInt(16-sixteenths), big.NewInt(int64(n-x)), nil))
			sum.Add(sum, w)
		}
		want, _ := new(big.Rat).SetFrac(sum, new(big.Int).Exp(big.NewInt(16), big.NewInt(int64(n)), nil)).Float64()
		if got := stats.BinomialAtLeast(k, n, float64(sixteenths)/16); !near(got, want, 1e-10) {
			t.Fatalf("P(X ≥ %d) of %d at %d/16: %g, want %g", k, n, sixteenths, got, want)
		}
	})
}

func TestBinomialRefuses(t *testing.T) {
	for _, c := range []struct {
		k, n int
		p    float64
	}{{0, -1, 0.5}, {1, 2, -0.1}, {1, 2, 1.1}, {1, 2, math.NaN()}} {
		if got := stats.BinomialAtLeast(c.k, c.n, c.p); !math.IsNaN(got) {
			t.Errorf("%v: %g", c, got)
		}
	}
}
