package stats

import "math"

// Arm is the count of one arm of a comparison: how many of N trials were hits (SYNs without answer, for instance).
type Arm struct{ Hits, N int }

func (a Arm) valid() bool { return a.Hits >= 0 && a.Hits <= a.N }

// Rate is Hits/N; NaN for an empty arm.
func (a Arm) Rate() float64 { return float64(a.Hits) / float64(a.N) }

// FisherGreater is Fisher's exact test, one-sided: how likely arm a has at least its number of hits if both arms have one
// and the same hit rate. With N = a.N + b.N trials and K = a.Hits + b.Hits hits in all,
//
//	p = P(X ≥ a.Hits) = Σ C(a.N, x)·C(b.N, K−x) / C(N, K),  x = a.Hits … min(a.N, K)
//
// (R. A. Fisher, The Design of Experiments, 1935, §II). An empty arm gives 1. The comparison must have been chosen before the
// counts were seen, else it is multiple testing: choose on one half, test on the other.
func FisherGreater(a, b Arm) float64 {
	if !a.valid() || !b.valid() {
		return math.NaN()
	}
	hits, n := a.Hits+b.Hits, a.N+b.N
	most, least := min(a.N, hits), max(0, hits-b.N)
	if a.Hits <= least {
		return 1
	}
	// The mass falls away from the mode on both sides: sum the tail that does not hold it, from its big end.
	mode := int((int64(hits) + 1) * (int64(a.N) + 1) / (int64(n) + 2))
	if a.Hits > mode {
		return min(1, sumHypergeometric(a, b, a.Hits, most))
	}
	return max(0, 1-sumHypergeometric(a, b, a.Hits-1, least))
}

// FisherLess is FisherGreater for the other tail: how likely arm a has at most its number of hits.
func FisherLess(a, b Arm) float64 {
	return FisherGreater(Arm{a.N - a.Hits, a.N}, Arm{b.N - b.Hits, b.N})
}

// sumHypergeometric adds the probabilities of x = from … to hits in arm a, downward where to < from, each term from the one
// before by their ratio.
func sumHypergeometric(a, b Arm, from, to int) float64 {
	hits := a.Hits + b.Hits
	term := hypergeometric(a, b, from)
	sum := term
	for x := from; x != to && term > sum*epsilon; {
		up, down := float64(a.N-x)*float64(hits-x), float64(x)*float64(b.N-hits+x)
		if to > from {
			term *= up / (float64(x+1) * float64(b.N-hits+x+1))
			x++
		} else {
			term *= down / (float64(a.N-x+1) * float64(hits-x+1))
			x--
		}
		sum += term
	}
	return sum
}

// hypergeometric is the probability of x hits in arm a, all margins fixed.
func hypergeometric(a, b Arm, x int) float64 {
	hits := a.Hits + b.Hits
	if a.N+b.N <= exactChoose {
		return choose(a.N, x) * choose(b.N, hits-x) / choose(a.N+b.N, hits)
	}
	return math.Exp(logChoose(a.N, x) + logChoose(b.N, hits-x) - logChoose(a.N+b.N, hits))
}

// epsilon ends a sum whose terms have become too small to change it: 2⁻⁶⁰.
const epsilon = 0x1p-60

// exactChoose is the largest n for which every C(n, k) is a float64 without rounding: C(56, 28) < 2⁵³ < C(57, 28).
const exactChoose = 56

// choose is the binomial coefficient C(n, k), 0 ≤ k ≤ n, exact for n ≤ exactChoose.
func choose(n, k int) float64 {
	k = min(k, n-k)
	c := uint64(1)
	for i := range k {
		c = c * uint64(n-i) / uint64(i+1) // exact: the product of i+1 successive numbers is a multiple of (i+1)!
	}
	return float64(c)
}

// logChoose is ln C(n, k) by log-gamma; the absolute error is about 10⁻¹⁶ times ln n!.
func logChoose(n, k int) float64 {
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n) + 1)
	return l
}
