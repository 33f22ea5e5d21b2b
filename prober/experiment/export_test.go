package experiment

import "github.com/vipprobe/vipprobe/prober/plan"

// Build makes a burst of a kind as an investigation would that has seen nothing yet.
func (v *Investigation) Build(k plan.Kind) plan.Burst { return v.build(Step{Kind: k}, nil) }
