package diagnose

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// sidesOf is some bursts of TSvals drawn by lot around x, which meet what refuses as given.
func sidesOf(r *rand.Rand, x wire.TSval, bursts int, refuses func(wire.TSval) bool) []observe.Observation {
	dst := netip.MustParseAddrPort("192.0.2.2:80")
	var out []observe.Observation
	for b := range bursts {
		o := observe.Observation{Kind: plan.KindSides, Captured: true}
		for n := range 16 {
			turn := wire.TSval(n%4)<<30 + SidesMargin + wire.TSval(r.Uint32N(1<<30-2*SidesMargin))
			name := fmt.Sprint(n)
			o.Arms = append(o.Arms, plan.Arm{Name: name, Script: plan.Script{Clock: plan.TSClock{Start: x, Turns: []wire.TSval{turn}}}})
			a := observe.Attempt{Index: n, Arm: name, Outcome: observe.Accepted, Flow: wire.Flow{Dst: dst}, SYNs: []observe.SYN{{At: when(200 + b), HasTS: true, TSval: x + turn}}}
			if refuses(x + turn) {
				a.Outcome = observe.TimedOut
			}
			o.Attempts = append(o.Attempts, a)
		}
		out = append(out, o)
	}
	return out
}

func TestSidesTellAComparisonFromAFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x := t0
	compares := func(v wire.TSval) bool { return v.Before(x - 1) }
	for _, c := range []struct {
		story   string
		bursts  int
		refuses func(wire.TSval) bool
		want    sideState
	}{
		{"a memory", 2, compares, sidesCompare},
		{"a memory, one look", 1, compares, sidesOpen},
		{"a memory that half of the members have", 6, func(v wire.TSval) bool { return compares(v) && r.IntN(2) == 0 }, sidesCompare},
		{"a memory, and a fifth lost", 4, func(v wire.TSval) bool { return compares(v) || r.IntN(5) == 0 }, sidesCompare},
		{"a memory some ticks on", 2, func(v wire.TSval) bool { return v.Before(x + 5000) }, sidesCompare},
		{"a filter on a low bit", 6, func(v wire.TSval) bool { return v>>1&1 == 1 }, sidesContrary},
		{"a filter on a middle bit", 6, func(v wire.TSval) bool { return v>>17&1 == 1 }, sidesContrary},
		{"a filter on the second bit", 6, func(v wire.TSval) bool { return (v-x)>>30&1 == 1 }, sidesContrary},
		{"a filter on two bits", 6, func(v wire.TSval) bool { return (v-x)>>30 == 2 }, sidesContrary},
		{"a filter on bits scattered", 6, func(v wire.TSval) bool { return v*2654435761>>31 == 1 }, sidesContrary},
		{"nothing", 6, func(wire.TSval) bool { return false }, sidesContrary},
	} {
		s := readSides(sidesOf(r, x, c.bursts, c.refuses), x, time.Time{})
		if got := s.state(); got != c.want || s.bursts != c.bursts {
			t.Errorf("%s: %d, want %d: %s", c.story, got, c.want, s.String())
		}
	}
}

// Bursts around another TSval say nothing of this one, nor what was asked when the server may have forgotten.
func TestSidesOfAnotherMemory(t *testing.T) {
	seen := sidesOf(rand.New(rand.NewPCG(5, 6)), t0, 3, func(v wire.TSval) bool { return v.Before(t0) })
	if s := readSides(seen, t0.Add(1<<30), time.Time{}); s.bursts != 0 {
		t.Errorf("%d bursts", s.bursts)
	}
	if s := readSides(seen, t0, when(0)); s.blocks == nil || s.state() != sidesOpen {
		t.Errorf("state %d", s.state())
	}
}

// A flip alone, one tick wide, is no proof: a filter on a low bit may turn there.
func TestFlipIsProvenByBothSides(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	flips := flipOf("x...", "x...", "x...", "x...", "x...", "x...", "x...", "x...")
	for _, c := range []struct {
		story   string
		refuses func(wire.TSval) bool
		bursts  int
		want    Level
	}{
		{"not asked yet", nil, 0, Confirmed},
		{"a memory", func(v wire.TSval) bool { return v.Before(t0 - 1) }, 2, Proven},
		{"a filter on a bit", func(v wire.TSval) bool { return v>>7&1 == 1 }, 2, Inconclusive},
	} {
		in := &Input{Observations: append(slices.Clip(flips), sidesOf(r, t0, c.bursts, c.refuses)...)}
		if got := checkFlip(in); len(got) != 1 || got[0].Level != c.want {
			t.Errorf("%s: %v, want %s", c.story, got, c.want)
		}
	}
}
