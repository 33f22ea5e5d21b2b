package experiment

import (
	"cmp"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// firmer is what an experiment is worth, in bits, whose facts are all known already: more of the same makes a finding firmer, or refutes it.
const firmer = 0.2

// telling picks the experiment that is expected to tell most about the causes left for the seconds that it takes; wait is how long silence must last
// now. Among equals the shorter comes first, then the one that the firmer finding wants.
func telling(in diagnose.Input, d *diagnose.Diagnosis, open []Step, wait time.Duration) Step {
	if len(open) == 1 {
		return open[0]
	}
	w := diagnose.Weigh(in, d)
	worth := make(map[Step]float64, len(open))
	for _, s := range open {
		worth[s] = (w.Gain(s.Kind) + firmer) / traitsOf(s.Kind).seconds(wait)
	}
	slices.SortStableFunc(open, func(a, b Step) int {
		return cmp.Or(cmp.Compare(worth[b], worth[a]), cmp.Compare(traitsOf(a.Kind).seconds(wait), traitsOf(b.Kind).seconds(wait)))
	})
	return open[0]
}

// judged is what the rules made of a round so far.
type judged struct {
	n         int
	last      time.Time
	diagnosis diagnose.Diagnosis
}

// judge is what the rules make of what was seen, which several questions of one step are put to.
func (v *Investigation) judge(seen []observe.Observation) *diagnose.Diagnosis {
	var last time.Time
	if len(seen) > 0 {
		last = seen[len(seen)-1].Finished
	}
	if j := &v.judged; j.n != len(seen) || !j.last.Equal(last) || j.n == 0 {
		*j = judged{len(seen), last, diagnose.Judge(v.input(seen))}
	}
	return &v.judged.diagnosis
}
