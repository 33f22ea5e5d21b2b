package diagnose

import (
	"math/rand/v2"
	"testing"
)

// TestTSvalsHoldTheirLevel: loss that has nothing to do with the TSval, of whatever make, is taken for a dependence no oftener than the level
// says, whichever look one stops at.
func TestTSvalsHoldTheirLevel(t *testing.T) {
	t.Parallel()
	const alpha = 0.05
	rounds := 600
	if testing.Short() {
		rounds = 300
	}
	for _, tt := range []struct {
		name string
		// lost makes the loss of one flow: whether its n-th SYN goes unanswered.
		lost func(r *rand.Rand) func(n int) bool
	}{
		{"5 % at random", func(r *rand.Rand) func(int) bool { return func(int) bool { return r.Float64() < 0.05 } }},
		{"30 % at random", func(r *rand.Rand) func(int) bool { return func(int) bool { return r.Float64() < 0.3 } }},
		{"one flow in four is dead", func(r *rand.Rand) func(int) bool {
			dead := r.IntN(4) == 0
			return func(int) bool { return dead }
		}},
		{"one path in three loses half", func(r *rand.Rand) func(int) bool {
			lossy := r.IntN(3) == 0
			return func(int) bool { return lossy && r.Float64() < 0.5 }
		}},
		{"every second SYN of a flow", func(r *rand.Rand) func(int) bool {
			odd := r.IntN(2)
			return func(n int) bool { return n%2 == odd }
		}},
		{"dead from some SYN on", func(r *rand.Rand) func(int) bool {
			from := r.IntN(16)
			return func(n int) bool { return n >= from }
		}},
	} {
		r := rand.New(rand.NewPCG(7, 11))
		named := 0
		for range rounds {
			var c cells
			for range 4 { // looks
				for range 8 { // flows
					lost, x := tt.lost(r), cell{blocks: 3}
					for n := range 12 {
						if n%4 == 0 {
							for _, q := range r.Perm(4) {
								x.asks = append(x.asks, ask{quadrant: q})
							}
						}
						x.asks[n].answered = !lost(n)
					}
					c.flows = append(c.flows, x)
				}
				c.bursts++
				if judgeTSvals(&quadrants{}, &c).p < alpha {
					named++
					break
				}
			}
		}
		if share := float64(named) / float64(rounds); share > alpha {
			t.Errorf("%s: named in %.3f of the rounds, the level is %g", tt.name, share, alpha)
		}
	}
}

// TestTSvalsFindAShare: a share of members that refuse is found within the looks that an investigation takes, under 5 % loss too.
func TestTSvalsFindAShare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of, looks int     // one member in so many refuses
		loss      float64 // beside
		least     float64 // of the rounds in which it is named
	}{{2, 1, 0, 0.98}, {4, 3, 0, 0.99}, {10, 8, 0, 0.99}, {2, 2, 0.05, 0.98}, {4, 4, 0.05, 0.98}, {10, 12, 0.05, 0.97}} {
		r := rand.New(rand.NewPCG(3, 5))
		named, rounds := 0, 200
		for range rounds {
			var c cells
			for range tt.looks {
				for range 16 {
					x, refuses := cell{blocks: 3}, r.IntN(tt.of) == 0
					for n := range 12 {
						if n%4 == 0 {
							for _, q := range r.Perm(4) {
								x.asks = append(x.asks, ask{quadrant: q})
							}
						}
						a := &x.asks[n]
						a.answered = (!refuses || a.quadrant > 1) && r.Float64() >= tt.loss
					}
					c.flows = append(c.flows, x)
				}
				c.bursts++
				if judgeTSvals(&quadrants{}, &c).p < 1e-4 {
					named++
					break
				}
			}
		}
		if share := float64(named) / float64(rounds); share < tt.least {
			t.Errorf("1 of %d refuses, loss %g: named in %.2f of the rounds within %d looks, want %.2f", tt.of, tt.loss, share, tt.looks, tt.least)
		}
	}
}
