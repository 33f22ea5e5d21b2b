package experiment

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// timestamps is what the quadrants call for at once, before the rest of the opening: whether silence depends on the TSval is asked while it
// lasts. settled: it does, for certain, so that the same silence need not be met by everything else.
func (v *Investigation) timestamps(seen []observe.Observation, done map[plan.Kind]int) (s Step, ok, settled bool) {
	if done[plan.KindQuadrants] < 2 || diagnose.Remembers(seen) {
		return s, false, false
	}
	d := v.judge(seen)
	for i := range d.Causes {
		if c := &d.Causes[i]; c.Level >= diagnose.Confirmed && c.RefusesByTSval() {
			return s, false, true
		}
	}
	later := v.primesFirst(seen, d)
	for _, w := range d.Wants() {
		if w.Kind == plan.KindCells && later {
			continue
		}
		if (w.Kind == plan.KindCircle || w.Kind == plan.KindCells || w.Kind == plan.KindSurvey || w.Kind == plan.KindQuadrants) && !v.skipped(w.Kind) && done[w.Kind] < most(w) {
			return Step{w.Kind, w.Why}, true, false
		}
	}
	return s, false, false
}

// presses is what the bursts so far call for at once, before the rest of the opening; settled: what it was about is certain, and the rest would meet nothing else.
func (v *Investigation) presses(seen []observe.Observation, done map[plan.Kind]int) (s Step, ok, settled bool) {
	if s, ok, settled = v.limits(seen, done); ok || settled {
		return s, ok, settled // silence that turns on the order, which is drawn by lot, does not turn on the TSval
	}
	return v.timestamps(seen, done)
}

// limits is what bursts call for whose first SYNs alone are answered, one after the other: a limit on their rate would meet everything else as well.
func (v *Investigation) limits(seen []observe.Observation, done map[plan.Kind]int) (s Step, ok, settled bool) {
	if done[plan.KindQuadrants] < 2 || !diagnose.OnlyFirstPass(v.input(seen)) && !diagnose.RefusesOver(v.input(seen)) {
		return s, false, false
	}
	d := v.judge(seen)
	for _, f := range slices.Concat(d.Causes, d.Notes) {
		if f.Verdict != diagnose.SYNRateLimited {
			continue
		}
		if f.Level >= diagnose.Confirmed {
			return s, false, true
		}
		for _, w := range f.Wants {
			if !v.skipped(w.Kind) && v.can(w.Kind) && done[w.Kind] < most(w) {
				return Step{w.Kind, w.Why}, true, false
			}
		}
	}
	return s, false, false
}

// primesFirst reports whether a prime will tell sooner what sweeps of every flow would: it is permitted, and nothing but loss suggests yet that
// silence depends on the TSval.
func (v *Investigation) primesFirst(seen []observe.Observation, d *diagnose.Diagnosis) bool {
	for _, f := range slices.Concat(d.Causes, d.Notes) {
		if f.Verdict.Subject() == diagnose.SubjectTimestamps && len(f.Wants) > 0 {
			return false
		}
	}
	return v.MayPrime && count(seen, plan.KindPrime) == 0 && v.mayPrime(seen)
}

// late reports whether most attempts of a burst were answered so late that they were repeated, though none was seen to be lost.
func late(o *observe.Observation) bool {
	n := 0
	for j := range o.Attempts {
		if l := o.Attempts[j].Late; l == observe.LateSlow || l == observe.LateAmbiguous {
			n++
		}
	}
	return n > 0 && 2*n > len(o.Attempts)
}

// slow reports whether all that can be said of the answers so far is that they are late: raw SYNs on fresh flows were answered as late as first contact, every one.
// The same again would take seconds, and the sweeps to come ask as many flows.
func (v *Investigation) slow(seen []observe.Observation) bool {
	d := v.judge(seen)
	return len(d.Causes) == 1 && d.Causes[0].Verdict == diagnose.SlowPathNotStall && d.Causes[0].Level >= diagnose.Confirmed && !slices.ContainsFunc(seen, func(o observe.Observation) bool { return silent(&o) })
}
