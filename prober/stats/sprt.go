package stats

import "math"

// Decision is where a sequential test stands.
type Decision uint8

// The decisions. Once taken, one stands.
const (
	Undecided  Decision = iota
	AcceptNull          // the rate is p0, with a chance of at most beta to be wrong
	RejectNull          // the rate is p1, with a chance of at most alpha to be wrong
)

func (d Decision) String() string {
	switch d {
	case AcceptNull:
		return "accept_null"
	case RejectNull:
		return "reject_null"
	case Undecided:
	}
	return "undecided"
}

// SPRT is the sequential probability ratio test (A. Wald, Ann. Math. Stat. 16, 1945) of a hit rate: it looks after every
// trial, and stops as soon as it may. With Λ the likelihood ratio of the hits so far, p1 over p0,
//
//	ln Λ += ln(p1/p0) for a hit, ln((1−p1)/(1−p0)) for a miss
//	reject the null at Λ ≥ 1/alpha, accept it at Λ ≤ beta, else go on
//
// Wald's own bounds, (1−beta)/alpha and beta/(1−alpha), hold his error rates only nearly; these hold them strictly, by
// Ville's inequality: under p0, P(Λ ever ≥ 1/alpha) ≤ alpha, whatever the number of looks, and likewise for beta under p1. The
// cost is a few hundredths of a hit. Trials must be independent at one rate; loss that sticks to a flow is not.
type SPRT struct {
	hit, miss    float64 // what each adds to the log ratio
	upper, lower float64 // the bounds
	ratio        float64 // ln Λ
	n            int
	decision     Decision
	p0, p1       float64
}

// NewSPRT tests rate p0 (the null) against p1, both above 0 and below 1, and p1 on either side of p0; alpha is the chance to
// reject a true null, beta to accept a false one. Of other parameters comes a test
// that never decides, and the zero SPRT is one.
func NewSPRT(p0, p1, alpha, beta float64) SPRT {
	s := SPRT{p0: p0, p1: p1, upper: math.NaN(), lower: math.NaN()}
	inside := func(p float64) bool { return p > 0 && p < 1 }
	if !inside(p0) || !inside(p1) || p0 == p1 || !inside(alpha) || !inside(beta) {
		return s
	}
	s.hit, s.miss = math.Log(p1/p0), math.Log1p(-p1)-math.Log1p(-p0)
	s.upper, s.lower = -math.Log(alpha), math.Log(beta)
	return s
}

// Add takes one trial and says where the test stands. After a decision it takes none.
func (s *SPRT) Add(hit bool) Decision {
	if s.decision != Undecided {
		return s.decision
	}
	s.n++
	if hit {
		s.ratio += s.hit
	} else {
		s.ratio += s.miss
	}
	switch {
	case s.upper > 0 && s.ratio >= s.upper: // 0 in the zero SPRT, which must not decide either
		s.decision = RejectNull
	case s.lower < 0 && s.ratio <= s.lower:
		s.decision = AcceptNull
	}
	return s.decision
}

// Decision is where the test stands.
func (s *SPRT) Decision() Decision { return s.decision }

// N is the number of trials taken.
func (s *SPRT) N() int { return s.n }

// LogRatio is ln Λ: above 0 the trials speak for p1.
func (s *SPRT) LogRatio() float64 { return s.ratio }

// P bounds the chance of so large a likelihood ratio under the null, at any look: min(1, 1/Λ) (Ville).
func (s *SPRT) P() float64 { return min(1, math.Exp(-s.ratio)) }

// Expected is about how many trials a decision takes if the rate is p0, and if it is p1: Wald's formula, which takes the
// bounds to be met without overshoot, so the truth is a little more.
//
//	E₁ = ((1−β)·ln(1/α) + β·ln β) / (p1·ln(p1/p0) + (1−p1)·ln((1−p1)/(1−p0))), and E₀ likewise
func (s *SPRT) Expected() (null, alternative float64) {
	alpha, beta := math.Exp(-s.upper), math.Exp(s.lower)
	drift := func(p float64) float64 { return p*s.hit + (1-p)*s.miss }
	null = (alpha*s.upper + (1-alpha)*s.lower) / drift(s.p0)
	alternative = ((1-beta)*s.upper + beta*s.lower) / drift(s.p1)
	return null, alternative
}
