package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// What leaves a burst whose SYNs were to be apart need not have left apart: a starved prober sends what is overdue at once, and bursts may run beside each other.
// What counts is when the tap saw them.
//
// apartBy is how far a SYN must have left from every other to count as apart: half of what a sweep keeps between two. Nearer than that is one instant.
const apartBy = 2 * time.Millisecond

// company is when the SYNs of a round left, in order of time.
type company []departed

type departed struct {
	at time.Time
	of *observe.Attempt
	// k is its number among the SYNs of the attempt.
	k int
}

func readCompany(in *Input) company {
	all := make(company, 0, in.size())
	for a := range attempts(in) {
		for k := range a.SYNs {
			if at := a.SYNs[k].At; !at.IsZero() {
				all = append(all, departed{at, a, k})
			}
		}
	}
	slices.SortFunc(all, func(a, b departed) int { return a.at.Compare(b.at) })
	return all
}

// nearest is how far from the first SYN of a flow the nearest SYN of another left; ok is false where the tap did not see it.
func (c company) nearest(a *observe.Attempt) (apart time.Duration, ok bool) {
	if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
		return 0, false
	}
	at := a.SYNs[0].At
	apart = 1<<63 - 1
	i, _ := slices.BinarySearchFunc(c, at, func(d departed, t time.Time) int { return d.at.Compare(t) })
	for _, step := range []int{-1, 1} {
		k := i
		if step < 0 {
			k--
		}
		for ; k >= 0 && k < len(c); k += step {
			d := at.Sub(c[k].at).Abs()
			if c[k].of != a {
				apart = min(apart, d)
			}
			if d >= apart {
				break
			}
		}
	}
	return apart, true
}

// forsaken reports whether no SYN of another flow that left less than apartBy from the first one of a flow was answered; never where the tap did not see it.
func (c company) forsaken(a *observe.Attempt) bool {
	if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
		return false
	}
	at := a.SYNs[0].At
	i, _ := slices.BinarySearchFunc(c, at.Add(-apartBy), func(d departed, t time.Time) int { return d.at.Compare(t) })
	for ; i < len(c) && c[i].at.Before(at.Add(apartBy)); i++ {
		if d := c[i]; d.of != a && (echoed(d.of, d.k) || answeredSYN(d.of, d.k)) {
			return false
		}
	}
	return true
}

// alone are those of the paced SYNs that left apart from every other.
func (c company) alone(fs []fate) []fate {
	return slices.DeleteFunc(fs, func(f fate) bool {
		d, ok := c.nearest(f.a)
		return ok && d < apartBy
	})
}

// crowds reports whether loss falls on first SYNs that left beside another, and on those that left apart from all hardly ever (Fisher, one-sided, p < 0.001): then
// it does not fall on all alike.
func (c company) crowds(fs []fate) bool {
	var beside, apart silences
	for i := range fs {
		d, ok := c.nearest(fs[i].a)
		switch {
		case !ok:
		case d < apartBy:
			beside.add(fs[i].lost() > 0)
		default:
			apart.add(fs[i].lost() > 0)
		}
	}
	return hardly(apart, beside) && fisher(beside, apart) < 1e-3
}

// hardly reports whether the one lose one in eight of what the others lose, at most.
func hardly(few, many silences) bool { return many.silent > 0 && 8*share(few) <= share(many) }
