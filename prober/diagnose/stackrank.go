package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// rankedAt is the chance, over all stacks together, at which one is called slower or lossier than the others.
	rankedAt = 1e-4
	// slower is the least ratio of medians, and slowerBy the least difference, that anybody cares for.
	slower   = 1.3
	slowerBy = 100 * time.Microsecond
)

// apart says which stacks are slower than the others, or lose more SYNs before they answer.
func apart(stacks []stack) []string {
	var out []string
	for i := range stacks {
		s := &stacks[i]
		var others []time.Duration
		lossy, rest := silences{s.lossy, s.n}, silences{}
		for j := range stacks {
			if j != i {
				others = append(others, stacks[j].rtts...)
				rest.silent, rest.n = rest.silent+stacks[j].lossy, rest.n+stacks[j].n
			}
		}
		if own, them, ok := behind(s.rtts, others, len(stacks)); ok {
			out = append(out, fmt.Sprintf("slower than the rest: %s, median round trip %s against %s", s.called(), own.Round(time.Microsecond), them.Round(time.Microsecond)))
		}
		if p := fisher(lossy, rest); p*float64(len(stacks)) < rankedAt {
			out = append(out, fmt.Sprintf("loses more than the rest: %s, %d of %d flows lost SYNs before it answered against %d of %d (p = %.2g)", s.called(), lossy.silent, lossy.n, rest.silent,
				rest.n, p))
		}
	}
	return out
}

// behind compares round trips by rank (H. B. Mann and D. R. Whitney, 1947), by the normal approximation; 4.4 standard deviations are 1 in 100,000, so
// that ten stacks together keep to rankedAt. Fewer than eight round trips on either side say nothing.
func behind(own, others []time.Duration, stacks int) (mine, theirs time.Duration, ok bool) {
	const few, deviations, most = 8, 4.4, 10
	if len(own) < few || len(others) < few || stacks > most {
		return 0, 0, false
	}
	type trip struct {
		took time.Duration
		own  bool
	}
	var all []trip
	for _, d := range others {
		all = append(all, trip{d, false})
	}
	for _, d := range own {
		all = append(all, trip{d, true})
	}
	slices.SortStableFunc(all, func(a, b trip) int { return cmp.Compare(a.took, b.took) })
	marked := make([]bool, len(all))
	for i := range all {
		marked[i] = all[i].own
	}
	mine, theirs = middle(own), middle(others)
	return mine, theirs, inTurn(marked) >= deviations && mine-theirs >= slowerBy && float64(mine) >= slower*float64(theirs)
}

// middle is the median.
func middle(list []time.Duration) time.Duration {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}
