package diagnose

import (
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// headPattern reports whether, in most bursts with losses, the first SYNs that were answered at once come before those that were not.
func headPattern(in *Input) bool { return swallowed.headPattern(in) }

func (d denial) headPattern(in *Input) bool {
	head, n := d.heads(in)
	return n > 0 && 2*head > n
}

// OnlyFirstPass reports whether in each of three bursts or more the first SYNs were answered at once and the later ones not.
func OnlyFirstPass(in Input) bool {
	in.explained = map[int]bool{}
	head, n := swallowed.heads(&in)
	return head >= onlyHeads && head == n
}

// onlyHeads is how many bursts whose first SYNs alone are answered call for a steady pace before anything else.
const onlyHeads = 3

// heads counts the bursts of which some SYNs were answered at once and others not, and those of them in which the first were.
func (d denial) heads(in *Input) (head, n int) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || in.explained[i] || (o.Kind != plan.KindQuadrants && o.Kind != plan.KindSticky && o.Kind != plan.KindConnect && o.Kind != plan.KindSYN) {
			continue
		}
		switch first, both := d.firstPass(o); {
		case first:
			head++
			fallthrough
		case both:
			n++
		}
	}
	return head, n
}

// FirstPass reports whether the first SYNs of a burst were answered at once and the later ones not.
func FirstPass(o *observe.Observation) bool {
	first, _ := swallowed.firstPass(o)
	return first
}

// firstPass reports whether the SYNs of a burst that were answered at once are its first, and whether there are both sorts.
func (d denial) firstPass(o *observe.Observation) (first, both bool) {
	ok, bad, inverted := d.inversions(o)
	// The Mann-Whitney count: random order has half of all pairs inverted.
	return ok > 0 && bad > 0 && float64(inverted) <= 0.1*float64(ok*bad), ok > 0 && bad > 0
}

// inversions counts the SYNs of a burst that were answered at once, those that were not, and the pairs of them in which the latter left first.
func (d denial) inversions(o *observe.Observation) (ok, bad, inverted int) {
	for _, a := range firstSYNOrder(o) {
		switch good, told := d.atOnce(a); {
		case !told:
			continue
		case !good:
			bad++
			continue
		}
		ok++
		inverted += bad
	}
	return ok, bad, inverted
}

// atOnce reports whether an attempt was answered at once; told is false where that is neither here nor there, as a router's word is where limits have none.
func (d denial) atOnce(a *observe.Attempt) (good, told bool) {
	if d == swallowed {
		return a.Retransmissions == 0 && len(a.Answers) > 0, a.Outcome != observe.Unreachable
	}
	x := d.fared(a)
	return x == passed, x != perhaps
}

// headElsewhere reports whether on another port of the address, or of bare ACKs, too, the first of a burst were answered and later ones not.
func headElsewhere(in *Input) bool {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindOther && o.Kind != plan.KindStray || !trusted(o) {
			continue
		}
		var lost []bool
		for _, a := range firstSYNOrder(o) {
			if a.Arm == o.Arms[0].Name { // not on flows that are known to be dead
				lost = append(lost, len(a.Answers) == 0)
			}
		}
		if inTurn(lost) > inOrder {
			return true
		}
	}
	return false
}
