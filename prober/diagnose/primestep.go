package diagnose

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// PrimeStep is what the proof by priming needs next.
type PrimeStep struct {
	Kind plan.Kind
	Why  string
	// Above, of a prime, is the TSval that T0 must not lie below; valid where Raise.
	Above wire.TSval
	Raise bool
	// Idle, of a prime: send nothing, and wait for the server's patience to end.
	Idle bool
}

// NextPrime returns what follows the first prime of a round: another prime where that one was lost or overtaken, flips until their test
// decides, a look at SYNs without timestamps; false where nothing is open, or nothing was primed yet.
func NextPrime(in Input) (PrimeStep, bool) {
	all := primes(in.Observations)
	if !in.Priming.May || len(all) == 0 {
		return PrimeStep{}, false
	}
	f, ok := readFlip(in.Observations)
	if !ok {
		return primeAgain(all)
	}
	switch f.state() {
	case flipAsking:
		return PrimeStep{Kind: plan.KindFlip, Why: "one tick below and above what it may remember"}, f.bursts < maxFlips
	case flipHolds:
		if s := f.sides(in.Observations); len(s.wants()) > 0 {
			return PrimeStep{Kind: plan.KindSides, Why: whySides}, true
		}
		return PrimeStep{Kind: plan.KindBare, Why: "which kernels drop SYNs without timestamps as well?"}, !in.has(plan.KindBare)
	case flipShifted:
		return f.raise(&in, len(all))
	case flipAnswers:
		if !f.prime.Certain && len(all) < maxPrimes {
			return PrimeStep{Kind: plan.KindPrime, Why: "the last segments of the one before may have been lost"}, true
		}
	case flipDeaf, flipOpen:
	}
	return PrimeStep{}, false
}

// primeAgain follows primes that left nothing: where connections were lost they are made once more; where the server kept all of them open its
// patience is waited for.
func primeAgain(all [][]primeFlow) (PrimeStep, bool) {
	if len(all) >= maxPrimes {
		return PrimeStep{}, false
	}
	last := all[len(all)-1]
	lost := slices.ContainsFunc(last, func(f primeFlow) bool { return f.end == endLost || f.end == endSilent })
	if lost && len(all) < maxPrimes-1 {
		return PrimeStep{Kind: plan.KindPrime, Why: "connections of the one before were lost"}, true
	}
	open := slices.ContainsFunc(slices.Concat(all...), func(f primeFlow) bool { return f.idle && f.end == endOpen })
	if waited := slices.ContainsFunc(last, func(f primeFlow) bool { return !f.idle }); open && waited {
		return PrimeStep{Kind: plan.KindPrime, Why: "does the server lose patience with a connection that says nothing?", Idle: true}, true
	}
	return PrimeStep{}, false
}

// raise follows a prime that something newer overtook. This host's own clock has moved on and may be above it by now; to go beyond that clock takes
// the owner's word, since whoever sent the newer TSval would be refused next.
func (f *flip) raise(in *Input, n int) (PrimeStep, bool) {
	step := PrimeStep{Kind: plan.KindPrime, Why: "the server remembers something newer: prime above it", Raise: true, Above: f.prime.T0.Add(2)}
	above := f.arms[3].silent < f.arms[3].n
	switch {
	case n >= maxPrimes:
		return PrimeStep{}, false
	case n == 1:
		return step, true
	case in.Priming.Anyway && above:
		step.Above = f.prime.T0.Add(FlipOffsets()[3])
		return step, true
	}
	return PrimeStep{}, false
}
