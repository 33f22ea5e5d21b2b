package stats

import "math"

// ContiguousTail is the chance that the q survivors of a burst of n are exactly its last q, if all sets of q are equally
// likely: 1/C(n, q). It is the p-value of a queue that keeps its tail against loss that does not look at the order. q = 0 and
// q = n say nothing: 1.
func ContiguousTail(n, q int) float64 {
	if q < 0 || q > n {
		return math.NaN()
	}
	if n <= exactChoose {
		return 1 / choose(n, q)
	}
	return math.Exp(-logChoose(n, q))
}

// LeadingRun is the chance that k losses among n places begin with a run of at least r, if all sets of k are equally likely:
// C(n−r, k−r)/C(n, k). It is the p-value of a queue that drops from its head, with a few losses of another make behind; r = k is
// ContiguousTail. The n places may hold a control group behind the burst: then it is the chance that losses which could have fallen on
// either begin the burst like that. Nonsense (r > k, k > n, anything negative) gives NaN.
func LeadingRun(n, k, r int) float64 {
	switch {
	case r < 0 || k < r || n < k:
		return math.NaN()
	case r == 0:
		return 1
	case n <= exactChoose:
		return choose(n-r, k-r) / choose(n, k)
	}
	return math.Exp(logChoose(n-r, k-r) - logChoose(n, k))
}

// DrawsToHit is the least number of independent draws that meet a share (above 0, at most 1) at least once with the given
// confidence (0 … 1): the least m with 1 − (1−share)ᵐ ≥ confidence. 0 where there is none.
func DrawsToHit(share, confidence float64) int {
	switch {
	case !(share > 0 && share <= 1) || !(confidence > 0 && confidence <= 1):
		return 0
	case share == 1:
		return 1
	case confidence == 1:
		return 0
	}
	return int(math.Ceil(math.Log1p(-confidence) / math.Log1p(-share)))
}

// DrawsToSeeAll is the least number of draws, each of n equally likely, that meet every one of the n with the given
// confidence (0 … 1, below 1): how many flows show all backends of a hash. 0 where there is none. The work grows as the
// result times n.
//
// It follows the chance P(m, k) of having seen k of them after m draws: P(m+1, k) = P(m, k)·k/n + P(m, k−1)·(n−k+1)/n, which
// has no cancellation, unlike inclusion and exclusion.
func DrawsToSeeAll(n int, confidence float64) int {
	if n <= 0 || !(confidence > 0 && confidence < 1) {
		return 0
	}
	seen := make([]float64, n+1)
	seen[0] = 1
	for m := 1; ; m++ {
		for k := n; k > 0; k-- {
			seen[k] = (seen[k]*float64(k) + seen[k-1]*float64(n-k+1)) / float64(n)
		}
		seen[0] = 0
		if seen[n] >= confidence {
			return m
		}
	}
}
