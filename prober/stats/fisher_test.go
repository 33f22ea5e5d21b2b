package stats_test

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// near reports whether two probabilities agree to a relative error of tolerance.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(math.Abs(a), math.Abs(b))
}

// All placements of the hits over the trials are enumerated, up to 11 trials, and those at least as extreme are counted.
func TestFisherAgainstEnumeration(t *testing.T) {
	for n := range 12 {
		for na := range n + 1 {
			for hits := range n + 1 {
				count, total := make([]int, na+1), 0
				for set := range 1 << n {
					if bits.OnesCount(uint(set)) == hits {
						count[bits.OnesCount(uint(set)&(1<<na-1))]++
						total++
					}
				}
				for x := max(0, hits-(n-na)); x <= min(na, hits); x++ {
					greater, less := 0, 0
					for y := range count {
						if y >= x {
							greater += count[y]
						}
						if y <= x {
							less += count[y]
						}
					}
					a, b := stats.Arm{Hits: x, N: na}, stats.Arm{Hits: hits - x, N: n - na}
					if p, want := stats.FisherGreater(a, b), float64(greater)/float64(total); !near(p, want, 1e-13) {
						t.Fatalf("greater %v %v: %g, want %g", a, b, p, want)
					}
					if p, want := stats.FisherLess(a, b), float64(less)/float64(total); !near(p, want, 1e-13) {
						t.Fatalf("less %v %v: %g, want %g", a, b, p, want)
					}
				}
			}
		}
	}
}

// fisherRational is the same sum in exact rational arithmetic.
func fisherRational(a, b stats.Arm) float64 {
	hits := a.Hits + b.Hits
	sum := new(big.Int)
	for x := a.Hits; x <= min(a.N, hits); x++ {
		if hits-x <= b.N {
			ways := new(big.Int).Binomial(int64(a.N), int64(x))
			sum.Add(sum, ways.Mul(ways, new(big.Int).Binomial(int64(b.N), int64(hits-x))))
		}
	}
	p, _ := new(big.Rat).SetFrac(sum, new(big.Int).Binomial(int64(a.N+b.N), int64(hits))).Float64()
	return p
}

func arm(t *rapid.T, label string, most int) stats.Arm {
	n := rapid.IntRange(0, most).Draw(t, label+" trials")
	return stats.Arm{Hits: rapid.IntRange(0, n).Draw(t, label+" hits"), N: n}
}

// Large arms by log-gamma agree with rational arithmetic to nine digits, tails of 10⁻¹⁰⁰ included.
func TestFisherAgainstRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := arm(t, "a", 400), arm(t, "b", 400)
		if p, want := stats.FisherGreater(a, b), fisherRational(a, b); !near(p, want, 1e-9) {
			t.Fatalf("%v %v: %g, want %g", a, b, p, want)
		}
	})
}

// Where exact coefficients give way to log-gamma nothing jumps.
func TestFisherAroundTheSwitchToLogGamma(t *testing.T) {
	for n := 27; n <= 36; n++ {
		for x := range n + 1 {
			a, b := stats.Arm{Hits: x, N: n}, stats.Arm{Hits: n - x, N: n}
			if p, want := stats.FisherGreater(a, b), fisherRational(a, b); !near(p, want, 1e-12) {
				t.Errorf("%v %v: %g, want %g", a, b, p, want)
			}
		}
	}
}

// All drops in one arm and none in the other: 1/C(2n, n).
func TestFisherAllAgainstNone(t *testing.T) {
	for n, want := range map[int]string{5: "0.004", 6: "0.0011", 8: "7.8e-05", 10: "5.4e-06"} {
		p := stats.FisherGreater(stats.Arm{Hits: n, N: n}, stats.Arm{N: n})
		if got := fmt.Sprintf("%.2g", p); got != want {
			t.Errorf("%d per arm: p %s, want %s", n, got, want)
		}
	}
}

func TestFisherProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := arm(t, "a", 60), arm(t, "b", 60)
		greater, less := stats.FisherGreater(a, b), stats.FisherLess(a, b)
		if !(greater > 0 && greater <= 1 && less > 0 && less <= 1) {
			t.Fatalf("%v %v: greater %g, less %g", a, b, greater, less)
		}
		if greater+less < 1-1e-12 {
			t.Fatalf("%v %v: the tails share a term, but sum to %g", a, b, greater+less)
		}
		if mirrored := stats.FisherLess(b, a); !near(greater, mirrored, 1e-11) {
			t.Fatalf("%v %v: %g, seen from the other arm %g", a, b, greater, mirrored)
		}
		if a.Hits < a.N && b.Hits > 0 {
			more := stats.FisherGreater(stats.Arm{Hits: a.Hits + 1, N: a.N}, stats.Arm{Hits: b.Hits - 1, N: b.N})
			if more > greater*(1+1e-11) {
				t.Fatalf("%v %v: %g, one step more extreme %g", a, b, greater, more)
			}
		}
	})
}

// Two arms of one rate, whatever it is: the chance that p ≤ α is at most α. Every outcome is counted with its probability.
func TestFisherKeepsItsErrorRate(t *testing.T) {
	for _, n := range [][2]int{{8, 8}, {10, 30}, {40, 40}} {
		for _, alpha := range []float64{1e-2, 1e-4} {
			for rate := 0.02; rate < 1; rate += 0.02 {
				wrong := 0.0
				for x := range n[0] + 1 {
					for y := range n[1] + 1 {
						if stats.FisherGreater(stats.Arm{Hits: x, N: n[0]}, stats.Arm{Hits: y, N: n[1]}) <= alpha {
							wrong += binomial(x, n[0], rate) * binomial(y, n[1], rate)
						}
					}
				}
				if wrong > alpha {
					t.Errorf("%v trials at rate %.2f: p ≤ %g in %g of all cases", n, rate, alpha, wrong)
				}
			}
		}
	}
}

// binomial is the probability of x hits in n trials.
func binomial(x, n int, p float64) float64 {
	c, _ := new(big.Float).SetInt(new(big.Int).Binomial(int64(n), int64(x))).Float64()
	return c * math.Pow(p, float64(x)) * math.Pow(1-p, float64(n-x))
}

func TestFisherEdges(t *testing.T) {
	for name, c := range map[string]struct {
		a, b stats.Arm
		want float64
	}{
		"no trials":              {stats.Arm{}, stats.Arm{}, 1},
		"an empty arm":           {stats.Arm{}, stats.Arm{Hits: 3, N: 5}, 1},
		"the other arm is empty": {stats.Arm{Hits: 5, N: 5}, stats.Arm{}, 1},
		"no hits":                {stats.Arm{N: 10}, stats.Arm{N: 10}, 1},
		"all hits":               {stats.Arm{Hits: 10, N: 10}, stats.Arm{Hits: 10, N: 10}, 1},
	} {
		if p := stats.FisherGreater(c.a, c.b); p != c.want {
			t.Errorf("%s: %g", name, p)
		}
	}
	for _, bad := range []stats.Arm{{Hits: -1, N: 5}, {Hits: 6, N: 5}, {Hits: 0, N: -1}} {
		good := stats.Arm{Hits: 1, N: 2}
		if p, q := stats.FisherGreater(bad, good), stats.FisherLess(good, bad); !math.IsNaN(p) || !math.IsNaN(q) {
			t.Errorf("%v: %g, %g", bad, p, q)
		}
	}
}
