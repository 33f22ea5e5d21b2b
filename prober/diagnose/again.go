package diagnose

import (
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The arms of a burst that asks dead flows again, in their order.
const (
	againSame  = iota // with this host's own clock, as before
	againHalf         // with a TSval half a circle on
	againFresh        // flows that were never used, at the same moments
	againArms
)

// askable is how long after its burst a flow may be asked again: well within the time for which the engine knows it, and every table on the way.
const askable = 60 * time.Second

// DeadFlows lists the raw flows whose SYN was repeated fast and never answered, oldest first: those that can still be asked again.
func DeadFlows(seen []observe.Observation) []wire.Flow {
	var out []wire.Flow
	for i := range seen {
		o := &seen[i]
		if o.Kind != plan.KindSticky || !trusted(o) || seen[len(seen)-1].Finished.Sub(o.Finished) > askable {
			continue
		}
		for j := range o.Attempts {
			if f, ok := readFate(&o.Attempts[j]); ok && !f.answered && f.sent > 2 {
				out = append(out, f.a.Flow)
			}
		}
	}
	return out
}

// again is what flows showed that had been dead once, counted a flow and burst at a time.
type again struct {
	arms   [againArms]silences
	bursts int
}

// asked sums the dead flows that were asked again, whatever the TSval.
func (g *again) asked() silences {
	a, b := g.arms[againSame], g.arms[againHalf]
	return silences{a.silent + b.silent, a.n + b.n}
}

// turned reports whether flows that stay dead with this host's own TSval answered another.
func (g again) turned() bool {
	same, half := g.arms[againSame], g.arms[againHalf]
	return same.silent > 0 && half.silent < half.n
}

// leapt reports whether dead flows were asked with another TSval than their own.
func (g *again) leapt() bool { return g.arms[againHalf].n > 0 }

// MayLeap reports whether dead flows may be asked with a TSval that leaps half a circle: only once they stayed dead with this host's own, so that nothing is
// left but a member that answers nobody and one that refuses by TSval. What comes back to life by itself, as under a rate limit, a full table, loss or a
// health check, is never asked so. See hinted for what a leap may do.
func MayLeap(in Input) bool {
	g := readAgain(&in)
	same := g.arms[againSame]
	return same.n >= staysDead/2 && same.silent == same.n
}

func readAgain(in *Input) again {
	var g again
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindAgain || !trusted(o) || in.explained[i] || len(o.Arms) != againArms {
			continue
		}
		g.bursts++
		for j := range o.Attempts {
			a := &o.Attempts[j]
			k := slices.IndexFunc(o.Arms, func(arm plan.Arm) bool { return arm.Name == a.Arm })
			if f, ok := readFate(a); ok && k >= 0 {
				g.arms[k].n++
				if !f.answered {
					g.arms[k].silent++
				}
			}
		}
	}
	return g
}

// byTime is how far the dead among flows lie after the others in the order of their first SYNs, or before them: see inTurn.
func byTime(fs []fate) float64 {
	order := slices.Clone(fs)
	slices.SortStableFunc(order, func(a, b fate) int { return a.a.SYNs[0].At.Compare(b.a.SYNs[0].At) })
	dead := make([]bool, len(order))
	for i := range order {
		dead[i] = !order[i].answered
	}
	return inTurn(dead)
}

// inTurn is how far the marked lie after the others, in standard deviations of a random order: the normal approximation of H. B. Mann and
// D. R. Whitney (Ann. Math. Stat. 18, 1947).
func inTurn(marked []bool) float64 {
	others, n, after := 0, 0, 0
	for _, m := range marked {
		if m {
			n++
			after += others
		} else {
			others++
		}
	}
	if others == 0 || n == 0 {
		return 0
	}
	a, b := float64(others), float64(n)
	return (float64(after) - a*b/2) / math.Sqrt(a*b*(a+b+1)/12)
}

// inOrder is where order is taken for the cause: 1 in 100 random orders on both sides together.
const inOrder = 2.576

// freshFlows lists the control flows of bursts that asked dead ones again.
func freshFlows(in *Input) []fate {
	return slices.DeleteFunc(fates(in, plan.KindAgain), func(f fate) bool {
		o := &in.Observations[f.obs]
		return len(o.Arms) != againArms || f.a.Arm != o.Arms[againFresh].Name
	})
}

// changing reports whether in some burst a larger or smaller share of the flows was dead than in the others: what a flow's hash chooses does not change
// from burst to burst. One in 100 rounds is so by chance.
func changing(fs []fate) bool {
	bursts := map[int]silences{}
	var all silences
	for i := range fs {
		b := bursts[fs[i].obs]
		b.n++
		all.n++
		if !fs[i].answered {
			b.silent++
			all.silent++
		}
		bursts[fs[i].obs] = b
	}
	for _, b := range bursts {
		rest := silences{all.silent - b.silent, all.n - b.n}
		if 2*float64(len(bursts))*min(fisher(b, rest), fisher(rest, b)) < 1e-2 {
			return true
		}
	}
	return false
}
