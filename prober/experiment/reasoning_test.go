package experiment_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func allStories() []story {
	return slices.Concat(neighborStories(), pathStories(), pingStories(), listenerStories(), poolStories(), timestampStories(), middleboxStories(), proberStories())
}

// TestReasoningIsReplayed: what an investigation asked, and why, follows from its observations alone, in every story.
func TestReasoningIsReplayed(t *testing.T) {
	t.Parallel()
	for _, s := range allStories() {
		w, burst := s.build(1)
		r := investigate(w, 1, burst, s.prime)
		host := diagnose.Input{Ladder: w.Client.Ladder}
		thoughts := experiment.Reason(host, r.seen)
		if len(thoughts) != len(r.seen) {
			t.Fatalf("%s: %d steps for %d observations", s.name, len(thoughts), len(r.seen))
		}
		for i := range thoughts {
			if got := (experiment.Step{Kind: thoughts[i].Kind, Why: thoughts[i].Asked}); got != r.trace[i] {
				t.Errorf("%s, step %d: replayed %+v, lived %+v", s.name, i, got, r.trace[i])
			}
			if th := &thoughts[i]; th.Why == "" || th.Harm == "" || th.Seen == "" || th.Label == "" {
				t.Errorf("%s, step %d is not told in full: %+v", s.name, i, th)
			}
		}
		// A step's reasoning knows nothing of what came after it.
		if n := len(r.seen) / 2; n > 0 {
			if d := cmp.Diff(thoughts[:n], experiment.Reason(host, r.seen[:n]), cmpopts.IgnoreUnexported(diagnose.Finding{})); d != "" {
				t.Errorf("%s: the first %d steps change with what came later:\n%s", s.name, n, d)
			}
		}
	}
}

// TestTruthIsSeldomRuledOut: at the end of an investigation what is really wrong is named, or still possible. Rules name at p < 1e-2 at
// worst, and few likelihoods of the weighing are surer than that.
func TestTruthIsSeldomRuledOut(t *testing.T) {
	t.Parallel()
	const seeds = 6
	n, out := 0, 0
	for _, s := range allStories() {
		for seed := uint64(1); seed <= seeds && len(s.right) > 0; seed++ {
			w, burst := s.build(seed)
			r := investigate(w, seed, burst, s.prime)
			if len(r.seen) == 0 {
				continue
			}
			n++
			in := diagnose.Input{Ladder: w.Client.Ladder, Observations: r.seen}
			if d := diagnose.Weigh(in, &r.diagnosis); !slices.ContainsFunc(s.right, func(set []diagnose.Verdict) bool { return conceivable(&d, set) }) {
				out++
				t.Logf("%s, seed %d: %v ruled out", s.name, seed, s.right)
			}
		}
	}
	if out*50 > n {
		t.Errorf("the truth was ruled out in %d of %d networks", out, n)
	}
}

// conceivable reports whether every verdict of a set is named, still possible, or never weighed.
func conceivable(d *diagnose.Differential, set []diagnose.Verdict) bool {
	return !slices.ContainsFunc(set, func(v diagnose.Verdict) bool {
		named := slices.ContainsFunc(d.Named, func(c diagnose.Cause) bool { return c.Verdict == v })
		i := slices.IndexFunc(d.Suspects, func(s diagnose.Suspect) bool { return s.Verdict == v })
		return !named && i >= 0 && d.Suspects[i].Out
	})
}

// TestReasoningNarrows: the steps of a clear case leave fewer causes each time, say why, and end with the one that is named.
func TestReasoningNarrows(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(allStories(), func(s story) bool { return s.name == "local queue of 1 to 5" })
	s := allStories()[i]
	w, burst := s.build(3)
	r := investigate(w, 3, burst, false)
	thoughts := experiment.Reason(diagnose.Input{Ladder: w.Client.Ladder}, r.seen)
	first, last := thoughts[0], thoughts[len(thoughts)-1]
	if len(first.Out) == 0 || first.Kind != plan.KindConnect || first.SYNs == 0 || first.Took <= 0 || first.Took > time.Minute {
		t.Errorf("the first step is not told well: %+v", first)
	}
	for _, o := range first.Out {
		if o.Because == "" {
			t.Errorf("%s is ruled out for no reason", o.Verdict)
		}
	}
	if len(last.Named) != 1 || last.Named[0].Verdict != diagnose.LocalARPQueueOverflow {
		t.Errorf("the last step names %v", last.Named)
	}
	if len(last.Possible) != 0 {
		t.Errorf("after the cause is named, which explains all, %v are left", last.Possible)
	}
}
