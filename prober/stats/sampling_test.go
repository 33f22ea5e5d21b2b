package stats_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// Of all sets of q survivors of n, one is the tail.
func TestContiguousTailAgainstEnumeration(t *testing.T) {
	for n := range 15 {
		for q := range n + 1 {
			sets, tails := 0, 0
			for set := range 1 << n {
				if bits.OnesCount(uint(set)) != q {
					continue
				}
				sets++
				if set == (1<<q-1)<<(n-q) {
					tails++
				}
			}
			if got, want := stats.ContiguousTail(n, q), float64(tails)/float64(sets); !near(got, want, 1e-14) {
				t.Errorf("%d of %d: %g, want %g", q, n, got, want)
			}
		}
	}
}

func TestContiguousTailOfRealQueues(t *testing.T) {
	if got := stats.ContiguousTail(10, 3); got != 1.0/120 {
		t.Errorf("3 of 10: %g", got)
	}
	// Either side of the switch to log-gamma: C(n, q) = C(n−1, q−1)·n/q.
	if got, want := stats.ContiguousTail(57, 28), stats.ContiguousTail(56, 27)*28/57; !near(got, want, 1e-12) {
		t.Errorf("28 of 57: %g, want %g", got, want)
	}
	if got := stats.ContiguousTail(600, 256); !(got > 0 && got < 1e-170) {
		t.Errorf("256 of 600: %g", got)
	}
	for _, c := range [][2]int{{5, -1}, {5, 6}, {-1, 0}} {
		if got := stats.ContiguousTail(c[0], c[1]); !math.IsNaN(got) {
			t.Errorf("%v: %g", c, got)
		}
	}
}

func TestDrawsToHit(t *testing.T) {
	for share, want := range map[float64]int{0.1: 44, 0.05: 90, 0.01: 459, 1: 1, 0: 0, -1: 0, 1.1: 0, 0.999: 1} {
		if got := stats.DrawsToHit(share, 0.99); got != want {
			t.Errorf("share %g: %d, want %d", share, got, want)
		}
	}
	for _, share := range []float64{0.3, 0.07} {
		m := stats.DrawsToHit(share, 0.95)
		if math.Pow(1-share, float64(m)) > 0.05 || math.Pow(1-share, float64(m-1)) <= 0.05 {
			t.Errorf("share %g: %d is not the least", share, m)
		}
	}
	if got := stats.DrawsToHit(0.5, 1); got != 0 {
		t.Errorf("certainty: %d", got)
	}
}

func TestDrawsToSeeAll(t *testing.T) {
	for n, want := range map[int]int{1: 1, 4: 21, 8: 51, 16: 115, 32: 255, 0: 0} { // n·(ln n + 4.6), the limit for large n, asks 3 or 4 more
		got := stats.DrawsToSeeAll(n, 0.99)
		if got != want {
			t.Errorf("%d backends: %d draws, want %d", n, got, want)
		}
		if n > 1 && (allSeen(got, n) < 0.99 || allSeen(got-1, n) >= 0.99) {
			t.Errorf("%d backends: all seen after %d draws with %g", n, got, allSeen(got, n))
		}
	}
	rng := rand.New(rand.NewPCG(7, 8))
	const runs = 20_000
	missed, m := 0, stats.DrawsToSeeAll(8, 0.95)
	for range runs {
		seen := 0
		for range m {
			seen |= 1 << rng.IntN(8)
		}
		if seen != 0xff {
			missed++
		}
	}
	if most := 0.05*runs + 4*math.Sqrt(0.05*0.95*runs); float64(missed) > most {
		t.Errorf("8 backends, %d draws: not all seen in %d of %d", m, missed, runs)
	}
}

// allSeen is the chance that m draws meet all of n, by inclusion and exclusion: Σ (−1)ⁱ·C(n, i)·(1−i/n)ᵐ.
func allSeen(m, n int) float64 {
	p, ways := 0.0, 1.0
	for i := range n + 1 {
		p += ways * math.Pow(1-float64(i)/float64(n), float64(m))
		ways *= -float64(n-i) / float64(i+1)
	}
	return p
}

// Of all sets of k losses, as many begin with a run of r as leave k−r to choose behind it.
func TestLeadingRunAgainstEnumeration(t *testing.T) {
	for n := range 12 {
		for k := range n + 1 {
			for r := range k + 1 {
				sets, runs := 0, 0
				for set := range 1 << n {
					if bits.OnesCount(uint(set)) != k {
						continue
					}
					sets++
					if set&(1<<r-1) == 1<<r-1 {
						runs++
					}
				}
				if got, want := stats.LeadingRun(n, k, r), float64(runs)/float64(sets); !near(got, want, 1e-13) {
					t.Errorf("run %d of %d among %d: %g, want %g", r, k, n, got, want)
				}
			}
		}
	}
	for _, bad := range [][3]int{{3, 4, 1}, {3, 1, 2}, {3, 1, -1}} {
		if got := stats.LeadingRun(bad[0], bad[1], bad[2]); !math.IsNaN(got) {
			t.Errorf("%v: %g, want NaN", bad, got)
		}
	}
	if got, want := stats.LeadingRun(200, 7, 7), stats.ContiguousTail(200, 193); !near(got, want, 1e-12) {
		t.Errorf("7 of 200: %g, want %g", got, want)
	}
}
