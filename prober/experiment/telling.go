package experiment

import (
	"cmp"
	"slices"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// firmer is what an experiment is worth, in bits, whose facts are all known already: more of the same makes a finding firmer, or refutes it.
const firmer = 0.2

// telling picks the experiment that is expected to tell most about the causes left for what it costs. Among equals the cheaper comes first,
// then the one that the firmer finding wants.
func telling(in diagnose.Input, d *diagnose.Diagnosis, open []Step) Step {
	if len(open) == 1 {
		return open[0]
	}
	w := diagnose.Weigh(in, d)
	worth := make(map[Step]float64, len(open))
	for _, s := range open {
		worth[s] = (w.Gain(s.Kind) + firmer) / float64(traitsOf(s.Kind).cost)
	}
	slices.SortStableFunc(open, func(a, b Step) int {
		return cmp.Or(cmp.Compare(worth[b], worth[a]), traitsOf(a.Kind).cost-traitsOf(b.Kind).cost)
	})
	return open[0]
}
