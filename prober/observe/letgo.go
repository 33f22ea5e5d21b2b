package observe

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// A host that was not given a processor for a while lets go at once all that it held: the answers to SYNs that left one after the other then come
// all together. Answers to repeats come as far apart as these had left.
const (
	togetherWithin = time.Millisecond // of the first of them
	fewTogether    = 4
	apartAtLeast   = 10 * time.Millisecond
	timesApart     = 10
)

// letGo says of each attempt whether its first answer came together with others, although the SYNs had left far apart. No neighbour was being asked for, so
// that no queue of ours held them. Kernel connects are left out: they leave together.
func (c *Correlator) letGo() map[int]bool {
	held := map[int]bool{}
	if len(c.obs.Neighbor) > 0 {
		return held
	}
	type coming struct {
		attempt    int
		came, left time.Time
	}
	var all []coming
	for i := range c.obs.Attempts {
		a, st := &c.obs.Attempts[i], &c.state[i]
		if a.Via != plan.Raw || st.first < 0 || st.before < 1 || a.SYNs[st.before-1].At.IsZero() || a.Answers[st.first].Kind != SYNACK {
			continue
		}
		all = append(all, coming{i, a.Answers[st.first].At, a.SYNs[st.before-1].At})
	}
	slices.SortFunc(all, func(a, b coming) int { return a.came.Compare(b.came) })
	for from := 0; from < len(all); {
		to := from + 1
		first, last := all[from].left, all[from].left
		for ; to < len(all) && all[to].came.Sub(all[from].came) <= togetherWithin; to++ {
			if all[to].left.Before(first) {
				first = all[to].left
			}
			if all[to].left.After(last) {
				last = all[to].left
			}
		}
		if came, left := all[to-1].came.Sub(all[from].came), last.Sub(first); to-from >= fewTogether && left >= apartAtLeast && left >= timesApart*came {
			for _, x := range all[from:to] {
				held[x.attempt] = true
			}
		}
		from = to
	}
	return held
}
