package stats

// Stratum is one block of trials whose treatments were assigned at random: N trials, Treated of them in the arm in question, Hits in
// all.
type Stratum struct{ N, Treated, Hits int }

func (s Stratum) valid() bool {
	return s.N >= 0 && s.Treated >= 0 && s.Treated <= s.N && s.Hits >= 0 && s.Hits <= s.N
}

// StratifiedGreater is the exact permutation test of several blocks, one-sided: how likely at least hits of the blocks' hits fall on
// treated trials, if in each block every assignment of its treatments was as likely and made no difference. Nothing is assumed of
// how hits come about: they may depend on the block, on time, and on each other.
//
//	p = P(ΣX ≥ hits),  X of a block ~ Hypergeometric(N, Treated, Hits)
//
// (N. Mantel and W. Haenszel, JNCI 22, 1959, for the strata; R. A. Fisher, The Design of Experiments, 1935, for the randomisation.)
// Blocks that are not valid, or whose hits leave nothing to chance, count as they are. No block gives 1 for hits ≤ 0.
func StratifiedGreater(blocks []Stratum, hits int) float64 {
	groups := make([][]Stratum, len(blocks))
	for i := range blocks {
		groups[i] = blocks[i : i+1]
	}
	return GroupedGreater(groups, func(hits int) int { return hits }, hits)
}

// GroupedGreater is StratifiedGreater for a statistic that favours hits which gather: the sum over groups of blocks of score(hits on treated
// trials of the group). score must not be negative; a convex one makes one group with many hits count for more than many with few.
// It is as exact: only the assignments are random, and any statistic of them will do that was chosen before the counts were seen.
func GroupedGreater(groups [][]Stratum, score func(hits int) int, observed int) float64 {
	dist := []float64{1} // of the sum so far
	for _, g := range groups {
		in := groupHits(g)
		most := 0
		for x, p := range in {
			if p > 0 {
				most = max(most, score(x))
			}
		}
		next := make([]float64, len(dist)+most)
		for x, p := range in {
			if p == 0 {
				continue
			}
			by := score(x)
			for i, q := range dist {
				next[i+by] += p * q
			}
		}
		dist = next
	}
	p := 0.0
	for i := len(dist) - 1; i >= max(observed, 0); i-- { // the small terms first
		p += dist[i]
	}
	return min(1, p)
}

// groupHits is the distribution of the hits on treated trials over some blocks together.
func groupHits(blocks []Stratum) []float64 {
	dist := []float64{1}
	for _, b := range blocks {
		if !b.valid() {
			continue
		}
		treated, rest := Arm{Hits: 0, N: b.Treated}, Arm{Hits: b.Hits, N: b.N - b.Treated}
		least, most := max(0, b.Hits-rest.N), min(b.Treated, b.Hits)
		next := make([]float64, len(dist)+most)
		for x := least; x <= most; x++ {
			p := hypergeometric(treated, rest, x)
			for i, q := range dist {
				next[i+x] += p * q
			}
		}
		dist = next
	}
	return dist
}

// Looks divides a significance level among looks at growing data: with p at the n-th look, counted from 1, n·(n+1)·p is a p-value that
// holds however many looks are taken, since Σ 1/(n·(n+1)) = 1 (union bound).
func Looks(p float64, n int) float64 {
	if n < 1 {
		return 1
	}
	return min(1, p*float64(n)*float64(n+1))
}
