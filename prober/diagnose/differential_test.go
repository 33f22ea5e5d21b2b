package diagnose

import (
	"math"
	"slices"
	"testing"

	"github.com/vipprobe/vipprobe/prober/plan"
)

func TestPredictionsSpeakOfFacts(t *testing.T) {
	names := map[string]bool{}
	for _, f := range facts() {
		if names[f.name] || f.yes == "" || f.no == "" || f.usual <= 0 || f.usual >= 1 || len(f.decides) == 0 || f.read == nil {
			t.Errorf("fact %q is there twice, or something of it is missing", f.name)
		}
		names[f.name] = true
	}
	seen := map[Verdict]bool{}
	for _, p := range predictions() {
		if seen[p.verdict] || !slices.Contains(Verdicts(), p.verdict) {
			t.Errorf("%s is weighed twice, or is no verdict", p.verdict)
		}
		seen[p.verdict] = true
		for name, c := range p.says {
			if !names[name] || c <= 0 || c >= 1 {
				t.Errorf("%s speaks of %q with %v: no such fact, or no chance between 0 and 1", p.verdict, name, c)
			}
		}
	}
}

// TestFactsSeparateCauses: two causes that predict the same everywhere could never be told apart; those of timestamps share a mechanism and are
// told apart by rules.
func TestFactsSeparateCauses(t *testing.T) {
	for i, p := range predictions() {
		for _, q := range predictions()[:i] {
			if q.verdict.Subject() == SubjectTimestamps && p.verdict.Subject() == SubjectTimestamps {
				continue
			}
			if !slices.ContainsFunc(facts(), func(f fact) bool { return p.of(&f, yes) != q.of(&f, yes) }) {
				t.Errorf("nothing separates %s from %s", p.verdict, q.verdict)
			}
		}
	}
}

func TestNothingSeenRulesNothingOut(t *testing.T) {
	in := Input{}
	d := Diagnose(in)
	w := Weigh(in, &d)
	total := 0.0
	for _, s := range w.Suspects {
		if s.Out {
			t.Errorf("%s is ruled out before anything was seen: %s", s.Verdict, s.Because)
		}
		total += s.Odds
	}
	if math.Abs(total-1) > 1e-9 || len(w.Suspects) != len(predictions()) {
		t.Errorf("%d suspects with odds of %g in all", len(w.Suspects), total)
	}
	if w.Gain(plan.KindConnect) <= w.Gain(plan.KindSizes) {
		t.Errorf("first contact tells %g bits, sizes %g", w.Gain(plan.KindConnect), w.Gain(plan.KindSizes))
	}
	if g := w.Gain(plan.KindOracle); g != 0 {
		t.Errorf("an experiment that decides no fact tells %g bits", g)
	}
	l, r := w.Separates(plan.KindSizes)
	if !slices.Equal(l, []Verdict{MTUBlackhole}) || !slices.Contains(r, Healthy) {
		t.Errorf("sizes would separate %v from %v", l, r)
	}
}
