package stats

import "math"

// BinomialAtLeast is P(X ≥ k) for X hits in n independent trials of hit rate p: Σ C(n, x)·pˣ·(1−p)ⁿ⁻ˣ, x = k … n. It is the
// p-value of k hits against the hypothesis of a rate of at most p.
func BinomialAtLeast(k, n int, p float64) float64 {
	switch {
	case n < 0 || !(p >= 0 && p <= 1):
		return math.NaN()
	case k <= 0:
		return 1
	case k > n || p == 0:
		return 0
	case p == 1:
		return 1
	case float64(k) > float64(n)*p:
		return min(1, sumBinomial(k, n, n, p))
	}
	return max(0, 1-sumBinomial(k-1, 0, n, p))
}

// BinomialAtMost is P(X ≤ k), the p-value of k hits against the hypothesis of a rate of at least p.
func BinomialAtMost(k, n int, p float64) float64 { return BinomialAtLeast(n-k, n, 1-p) }

// sumBinomial adds the probabilities of x = from … to hits, downward where to < from, each term from the one before by
// their ratio. 0 < p < 1.
func sumBinomial(from, to, n int, p float64) float64 {
	term := math.Exp(logChoose(n, from) + float64(from)*math.Log(p) + float64(n-from)*math.Log1p(-p))
	sum, odds := term, p/(1-p)
	for x := from; x != to && term > sum*epsilon; {
		if to > from {
			term *= odds * float64(n-x) / float64(x+1)
			x++
		} else {
			term *= float64(x) / (odds * float64(n-x+1))
			x--
		}
		sum += term
	}
	return sum
}
