package stats

import "math"

// Interval is a two-sided confidence interval of a rate, 0 ≤ Low ≤ High ≤ 1.
type Interval struct{ Low, High float64 }

// Contains reports whether p lies in the interval, ends included.
func (i Interval) Contains(p float64) bool { return i.Low <= p && p <= i.High }

// Wilson is the score interval of a rate (E. B. Wilson, JASA 22, 1927): all p with |p̂−p| ≤ z·√(p(1−p)/n). Its coverage is the
// confidence on average, not for every rate: for display. confidence is 0 … 1, as 0.95. No trials: 0 … 1.
//
//	(p̂ + z²/2n ± z·√(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)
func Wilson(a Arm, confidence float64) Interval {
	if i, done := trivial(a, confidence); done {
		return i
	}
	z := math.Sqrt2 * math.Erfinv(confidence)
	n, p := float64(a.N), a.Rate()
	mid, scale := p+z*z/(2*n), 1+z*z/n
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	i := Interval{max(0, (mid-half)/scale), min(1, (mid+half)/scale)}
	if a.Hits == 0 {
		i.Low = 0 // exactly, not but for rounding
	}
	if a.Hits == a.N {
		i.High = 1
	}
	return i
}

// ClopperPearson is the exact interval of a rate (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934): it covers every rate
// with at least the confidence, so a decision may rest on it. With α = 1 − confidence:
//
//	Low:  P(X ≥ hits | Low) = α/2      High:  P(X ≤ hits | High) = α/2
func ClopperPearson(a Arm, confidence float64) Interval {
	if i, done := trivial(a, confidence); done {
		return i
	}
	tail := (1 - confidence) / 2
	i := Interval{0, 1}
	if a.Hits > 0 {
		i.Low, _ = bisect(func(p float64) bool { return BinomialAtLeast(a.Hits, a.N, p) >= tail })
	}
	if a.Hits < a.N {
		_, i.High = bisect(func(p float64) bool { return BinomialAtMost(a.Hits, a.N, p) < tail })
	}
	return i
}

// trivial answers what needs no arithmetic.
func trivial(a Arm, confidence float64) (Interval, bool) {
	switch {
	case !a.valid() || !(confidence >= 0 && confidence <= 1):
		return Interval{math.NaN(), math.NaN()}, true
	case a.N == 0 || confidence == 1:
		return Interval{0, 1}, true
	}
	return Interval{}, false
}

// bisect returns two neighbouring float64s in 0 … 1 between which reached turns from false to true, or ones as near as 80
// halvings bring them.
func bisect(reached func(float64) bool) (before, after float64) {
	before, after = 0, 1
	for range 80 {
		mid := (before + after) / 2
		if mid == before || mid == after {
			break
		}
		if reached(mid) {
			after = mid
		} else {
			before = mid
		}
	}
	return before, after
}
