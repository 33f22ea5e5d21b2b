package diagnose

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// deal is n flows, one a millisecond, of which meets decides whether they hit.
func deal(n int, meets func(i int) bool) []draw {
	out := make([]draw, n)
	for i := range out {
		out[i] = draw{at: time.Unix(0, int64(i)*int64(time.Millisecond)), hit: meets(i)}
	}
	return out
}

// Members that are dealt out in turn are seen to be, and no interval is claimed; members drawn by lot are taken for what they are but for 1 in 100.
func TestShareOfFlows(t *testing.T) {
	for n, flows := range map[int]int{2: 16, 3: 24, 4: 32} {
		in := deal(flows, func(i int) bool { return i%n == 0 })
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if text := flowShare(in); !strings.Contains(text, "in turn") {
			t.Errorf("one of %d in turn, %d flows: %s", n, flows, text)
		}
	}
	const trials = 5000
	r, wrong := rand.New(rand.NewPCG(7, 7)), 0
	for range trials {
		if dealtOut(deal(48, func(int) bool { return r.Float64() < 1.0/3 })) {
			wrong++
		}
	}
	if wrong > trials/70 {
		t.Errorf("%d of %d random orders taken for dealt out, at most 1 in 100 expected", wrong, trials)
	}
	// Counted by hand: of the 6 ways to mark 2 of 4 places any has one gap, so none spreads; of the 10 ways to mark 3 of 5, four have equal gaps.
	if a, b := evenChance(4, 2, 0, 1), evenChance(5, 3, 0, 1); math.Abs(a-1) > 1e-9 || math.Abs(b-0.4) > 1e-9 {
		t.Errorf("chances %v and %v, want 1 and 0.4", a, b)
	}
	for text, draws := range map[string][]draw{"0–": deal(10, func(int) bool { return false }), "–100 %": deal(10, func(int) bool { return true })} {
		if got := flowShare(draws); !strings.Contains(got, text) {
			t.Errorf("%q is missing in %q", text, got)
		}
	}
}
