package experiment

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// Focus narrows an investigation to the experiments of one subject. It never makes a verdict easier to reach: what the rules want and
// the focus leaves out stays open.
type Focus uint8

// Everything is an investigation without a focus. Timestamps asks whether an answer depends on the TSval, and what else could look so.
const (
	Everything Focus = iota
	Timestamps
)

// covers reports whether an investigation of this focus makes bursts of a kind.
func (f Focus) covers(k plan.Kind) bool {
	switch f {
	case Timestamps:
		return slices.Contains([]plan.Kind{plan.KindConnect, plan.KindQuadrants, plan.KindSticky, plan.KindEven, plan.KindCells, plan.KindWatch, plan.KindOracle, plan.KindFollow, plan.KindSides, plan.KindCircle, plan.KindPlain,
			plan.KindSurvey, plan.KindPrime, plan.KindFlip, plan.KindBare, plan.KindHeal, plan.KindReuse}, k)
	case Everything:
	}
	return true
}

// opening is what a focus begins with beside the bursts of every investigation.
func (f Focus) opening() []Step {
	if f != Timestamps {
		return nil
	}
	cells := Step{plan.KindCells, "does any flow's own member refuse by TSval?"}
	return []Step{cells, cells, cells}
}
