package wire_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

const half = 1 << 31

// Order on the circle: whatever the start, also across the wrap, the next 2³¹−1 numbers come after it and no number is
// before itself.
func TestSerialOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(1<<32-5, 1<<32-1), rapid.Uint32Range(0, 5)).Draw(t, "from")
		n := rapid.OneOf(rapid.IntRange(1, half-1), rapid.IntRange(1, 3), rapid.IntRange(half-3, half-1)).Draw(t, "n")
		s, v := wire.Seq(from), wire.TSval(from)
		if !s.Before(s.Add(n)) || s.Add(n).Before(s) || s.Before(s) {
			t.Errorf("Seq: %d and %d ahead of it", s, n)
		}
		if !v.Before(v.Add(int64(n))) || v.Add(int64(n)).Before(v) || v.Before(v) {
			t.Errorf("TSval: %d and %d ahead of it", v, n)
		}
		if s.Add(n).Sub(s) != int32(n) || s.Sub(s.Add(n)) != -int32(n) || s.Add(n).Add(-n) != s {
			t.Errorf("Seq: distance of %d and %d ahead of it", s, n)
		}
		if v.Add(int64(n)).Sub(v) != int32(n) || v.Sub(v.Add(int64(n))) != -int32(n) || v.Add(int64(n)).Add(-int64(n)) != v {
			t.Errorf("TSval: distance of %d and %d ahead of it", v, n)
		}
	})
}

// Antipodes have no order: each is before the other, as in Linux.
func TestSerialAntipodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := wire.Seq(rapid.Uint32().Draw(t, "s"))
		if a := s.Add(half); !s.Before(a) || !a.Before(s) || a.Sub(s) != -half || s.Sub(a) != -half {
			t.Errorf("%d and its antipode", s)
		}
		v := wire.TSval(s)
		if a := v.Add(half); !v.Before(a) || !a.Before(v) || a.Sub(v) != -half {
			t.Errorf("TSval %d and its antipode", v)
		}
	})
}

// The PAWS rule of old kernels, (s32)(remembered − TSval) > 1, at its edge and over the wrap.
func TestTSvalOneTickEdge(t *testing.T) {
	for _, x := range []wire.TSval{0, 1, 2, 517740536, half - 1, half, 1<<32 - 1} {
		for back, refused := range map[int64]bool{-1000: false, 0: false, 1: false, 2: true, 3: true, half - 1: true} {
			if got := x.Sub(x.Add(-back)) > 1; got != refused {
				t.Errorf("remembered %d, SYN %d ticks older: refused %t", x, back, got)
			}
		}
	}
}
