package diagnose

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestCrowds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		n, silent, hits int
		want            float64
	}{
		{16, 8, 8, 16.0 / 12870}, // as many halves as places, of C(16, 8) choices
		{8, 4, 4, 8.0 / 70},
		{8, 1, 1, 1},
		{8, 0, 0, 1},
		{8, 8, 4, 1}, // all are silent: four on any half
	} {
		if got := crowds(row.n, row.silent)[row.hits]; math.Abs(got-row.want) > 1e-12 {
			t.Errorf("%d of %d silent, %d on the fullest half: %g, want %g", row.silent, row.n, row.hits, got, row.want)
		}
	}
}

// Silences of no order hold the chance that is said of them, and halves that leap are told from one that stays.
func TestLaps(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	const rounds = 400
	low := 0
	for range rounds {
		if lapChance([]lap{{n: 12, silent: r.Uint32N(1 << 12)}, {n: 12, silent: r.Uint32N(1 << 12)}}) < 0.05 {
			low++
		}
	}
	if low > rounds/10 {
		t.Errorf("p < 0.05 in %d of %d rounds of random silences", low, rounds)
	}
	var vals []wire.TSval
	for k := range 16 {
		vals = append(vals, wire.TSval(k<<28))
	}
	turning, still := []lap{}, []lap{}
	for k := range 3 {
		turning = append(turning, lap{n: 16, vals: vals, silent: arc(16, 5*k)})
		still = append(still, lap{n: 16, vals: vals, silent: arc(16, 4) &^ (1 << (4 + k))}) // but for one SYN, which was answered all the same
	}
	if p := lapChance(turning); p > 1e-7 {
		t.Errorf("three halves: p = %g", p)
	}
	if n := leaps(&Input{}, turning); n != 2 {
		t.Errorf("%d leaps of a half that turned twice", n)
	}
	if n := leaps(&Input{}, still); n != 0 {
		t.Errorf("%d leaps of a half that stays", n)
	}
	if got := bits.OnesCount32(arc(16, 12)); got != 8 {
		t.Errorf("a half of 16 has %d places", got)
	}
}
