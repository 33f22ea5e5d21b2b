package lab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// WithLoss is the scenario on a path that loses this share (0 … 1) of the TCP segments at random, each way; its labels permit naming that
// loss beside the fault. Losses themselves are not repeatable: the kernel rolls the dice.
func (s Scenario) WithLoss(share float64) Scenario {
	if share <= 0 {
		return s
	}
	s.Loss, s.Label.Lossy = share, true
	s.NearMisses = slices.Clone(s.NearMisses)
	for i := range s.NearMisses {
		s.NearMisses[i].Label.Lossy = true
	}
	return s
}

// CheckLoss refuses a loss in percent that no path has on which anything could be told.
func CheckLoss(percent float64) error {
	if !(percent >= 0 && percent <= 50) {
		return fmt.Errorf("--loss %g: want percent, 0 … 50", percent)
	}
	return nil
}

// lose takes effect at the end of construction: what came before came without loss.
func (st *Stage) lose(share float64) {
	if share > 0 {
		st.Client.Lose(share)
	}
}

// drawLoss is the loss of one row: any share up to most, the same for a scenario, near miss and seed whatever else is scored.
func drawLoss(most float64, scenario, nearMiss string, seed int) float64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", scenario, nearMiss, seed))
	return most * float64(binary.BigEndian.Uint64(h[:])>>11) / (1 << 53)
}

// lossVerdicts are the names of random loss on a path.
func lossVerdicts() []diagnose.Verdict {
	return []diagnose.Verdict{diagnose.ForwardSYNLoss, diagnose.SYNACKLoss, diagnose.PathLoss}
}

// beside drops from what was named the added loss, unless the label asks for that very name; only reports whether nothing else was named.
func (l Label) beside(got []diagnose.Verdict) (rest []diagnose.Verdict, only bool) {
	if !l.Lossy {
		return got, false
	}
	sets := append([][]diagnose.Verdict{l.Verdicts}, l.Or...)
	rest = slices.DeleteFunc(slices.Clone(got), func(v diagnose.Verdict) bool {
		return slices.Contains(lossVerdicts(), v) && !anyHas(sets, v)
	})
	return rest, len(rest) == 0 && len(got) > 0
}
