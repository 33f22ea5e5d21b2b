package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestStratifiedIsFisherOnOneBlock: with one block it is Fisher's exact test.
func TestStratifiedIsFisherOnOneBlock(t *testing.T) {
	for n := 2; n <= 12; n++ {
		for treated := 1; treated < n; treated++ {
			for hits := 0; hits <= n; hits++ {
				for x := max(0, hits-(n-treated)); x <= min(treated, hits); x++ {
					want := FisherGreater(Arm{x, treated}, Arm{hits - x, n - treated})
					got := StratifiedGreater([]Stratum{{n, treated, hits}}, x)
					if math.Abs(want-got) > 1e-12 {
						t.Fatalf("N %d, treated %d, hits %d, x %d: %g, Fisher has %g", n, treated, hits, x, got, want)
					}
				}
			}
		}
	}
}

// TestStratifiedByCounting: blocks of four with two treated, every assignment counted.
func TestStratifiedByCounting(t *testing.T) {
	assignments := [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}
	for _, tt := range [][]int{{2, 2, 2}, {1, 3, 2}, {4, 0, 2}, {1, 1, 1}} {
		counts := map[int]int{}
		total := 0
		for _, a := range assignments {
			for _, b := range assignments {
				for _, c := range assignments {
					x := 0
					for i, as := range [][2]int{a, b, c} { // the first so many of a block's trials are hits
						for _, at := range as {
							if at < tt[i] {
								x++
							}
						}
					}
					counts[x]++
					total++
				}
			}
		}
		var blocks []Stratum
		for _, h := range tt {
			blocks = append(blocks, Stratum{4, 2, h})
		}
		for hits := range 7 {
			more := 0
			for x, n := range counts {
				if x >= hits {
					more += n
				}
			}
			if want, got := float64(more)/float64(total), StratifiedGreater(blocks, hits); math.Abs(want-got) > 1e-12 {
				t.Errorf("hits %v, at least %d: %g, counted %g", tt, hits, got, want)
			}
		}
	}
}

// TestStratifiedHoldsItsLevel: hits that depend on their block and on each other, treatments at random: p < α no oftener than α.
func TestStratifiedHoldsItsLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const rounds, alpha = 20000, 0.05
	low := 0
	for range rounds {
		var blocks []Stratum
		x := 0
		for range 12 {
			hits := 0
			run := r.IntN(5) // a run of hits, or none
			from := r.IntN(4)
			p := r.Perm(4)
			for i := range 4 {
				if i >= from && i < from+run {
					hits++
					if p[i] < 2 {
						x++
					}
				}
			}
			blocks = append(blocks, Stratum{4, 2, hits})
		}
		if StratifiedGreater(blocks, x) < alpha {
			low++
		}
	}
	if share := float64(low) / rounds; share > alpha*1.05 {
		t.Errorf("p < %g in %.4f of the rounds", alpha, share)
	}
}

// TestGroupedByCounting: squares over two groups of two blocks, every assignment counted.
func TestGroupedByCounting(t *testing.T) {
	assignments := [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}
	hits := [4]int{2, 1, 3, 2}
	counts := map[int]int{}
	total := 0
	var pick func(i int, x [4]int)
	pick = func(i int, x [4]int) {
		if i == 4 {
			counts[(x[0]+x[1])*(x[0]+x[1])+(x[2]+x[3])*(x[2]+x[3])]++
			total++
			return
		}
		for _, as := range assignments {
			y := x
			for _, at := range as {
				if at < hits[i] {
					y[i]++
				}
			}
			pick(i+1, y)
		}
	}
	pick(0, [4]int{})
	groups := [][]Stratum{{{4, 2, hits[0]}, {4, 2, hits[1]}}, {{4, 2, hits[2]}, {4, 2, hits[3]}}}
	for observed := range 31 {
		more := 0
		for x, n := range counts {
			if x >= observed {
				more += n
			}
		}
		want, got := float64(more)/float64(total), GroupedGreater(groups, func(h int) int { return h * h }, observed)
		if math.Abs(want-got) > 1e-12 {
			t.Errorf("at least %d: %g, counted %g", observed, got, want)
		}
	}
}

func TestStratifiedOddities(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blocks []Stratum
		hits   int
		want   float64
	}{
		{"nothing", nil, 0, 1}, {"nothing, one hit asked", nil, 1, 0}, {"all hit", []Stratum{{4, 2, 4}}, 2, 1},
		{"an invalid block is left out", []Stratum{{4, 5, 1}, {4, 2, 1}}, 1, 0.5},
	} {
		if got := StratifiedGreater(tt.blocks, tt.hits); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", tt.name, got, tt.want)
		}
	}
}

func TestLooks(t *testing.T) {
	sum := 0.0
	for n := 1; n <= 10000; n++ {
		sum += 1e-12 / Looks(1e-12, n) // the part of α that the n-th look may spend
	}
	if sum > 1 || sum < 0.99 {
		t.Errorf("10,000 looks spend %g of the level", sum)
	}
	if Looks(0.5, 0) != 1 || Looks(0.5, 3) != 1 || Looks(0.01, 1) != 0.02 {
		t.Error("Looks(0.5, 0), (0.5, 3), (0.01, 1):", Looks(0.5, 0), Looks(0.5, 3), Looks(0.01, 1))
	}
}
