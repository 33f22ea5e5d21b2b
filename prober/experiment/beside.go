package experiment

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// companion is the kind of burst that may run at the same time as one of kind k: both mostly wait, neither changes what the other meets, and
// together they are no more to a listener than one burst of others is.
func companion(k plan.Kind) (plan.Kind, bool) {
	known := map[plan.Kind]plan.Kind{plan.KindServed: plan.KindSizes, plan.KindPaced: plan.KindStateful, plan.KindStateful: plan.KindPaced}
	c, ok := known[k]
	return c, ok
}

// With returns first, which Next returned for the same observations, and the bursts to begin at the same time. What they show is to be kept in that
// order.
func (v *Investigation) With(first plan.Burst, seen []observe.Observation) []plan.Burst {
	if b, ok := v.beside(&first, seen); ok {
		return []plan.Burst{first, b}
	}
	return []plan.Burst{first}
}

func (v *Investigation) beside(first *plan.Burst, seen []observe.Observation) (b plan.Burst, ok bool) {
	k, ok := companion(first.Kind)
	if !ok || len(v.untested) > 0 || len(seen)+1 >= v.maxBursts() {
		return plan.Burst{}, false
	}
	s, ok := v.open(k, seen)
	if !ok {
		return plan.Burst{}, false
	}
	b = v.build(s, seen)
	if half := max(v.HalfOpen, 1); len(first.Shots)+len(b.Shots) > half || v.MaxSYNs > 0 && sent(seen)+demand(first)+demand(&b) > v.MaxSYNs ||
		v.lacks(&b, seen) != "" {
		return plan.Burst{}, false
	}
	v.trace = append(v.trace, s)
	return b, true
}

// open is the step of a kind, where it would come in its turn: as part of the opening, or because the rules want it.
func (v *Investigation) open(k plan.Kind, seen []observe.Observation) (Step, bool) {
	if !v.Focus.covers(k) || v.skipped(k) || !v.can(k) {
		return Step{}, false
	}
	n := count(seen, k)
	if i := slices.IndexFunc(v.opening(seen), func(s Step) bool { return s.Kind == k }); i >= 0 && n == 0 {
		return v.opening(seen)[i], !v.pointless(k, seen)
	}
	for _, w := range v.judge(seen).Wants() {
		if w.Kind == k && n < most(w) {
			return Step{k, w.Why}, true
		}
	}
	return Step{}, false
}
