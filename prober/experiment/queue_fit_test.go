package experiment

import (
	"strings"
	"testing"
)

// What a length may be called, and what not: only a default that it fits exactly is named.
func TestQueueReading(t *testing.T) {
	t.Parallel()
	const before33, of33, of414 = "kernel before 3.3 (default 3)", "65536, the default of 3.3–4.13", "212992, the default of ≥ 4.14"
	for _, tc := range []struct {
		low, high int
		state     QueueState
		want      []string
		never     []string
	}{
		{1, 1, QueueMeasured, []string{"1 packet:", "no default", "unres_qlen_bytes=0…1663", "unres_qlen=1"}, []string{before33, of33, of414}},
		{2, 2, QueueMeasured, []string{"no default", "unres_qlen_bytes=1664…2495"}, []string{before33, of33, of414}},
		{3, 3, QueueMeasured, []string{"3 packets:", before33, "unres_qlen_bytes=2496…3327 does the same"}, []string{of33, of414}},
		{4, 4, QueueMeasured, []string{"no default"}, []string{before33, of33, of414}},
		{31, 31, QueueMeasured, []string{"no default"}, []string{of33, of414}},
		{73, 73, QueueMeasured, []string{of33, "at 896 octets"}, []string{before33, of414}},
		{77, 77, QueueMeasured, []string{"no default"}, []string{of33, of414}},
		{78, 78, QueueMeasured, []string{of33, "at 832 octets"}, []string{before33, of414}},
		{85, 85, QueueMeasured, []string{of33, "at 768 octets"}, []string{before33, of414}},
		{255, 255, QueueMeasured, []string{"no default"}, []string{of33, of414}},
		{256, 256, QueueMeasured, []string{of414, "at 832 octets"}, []string{before33, of33}},
		{277, 277, QueueMeasured, []string{of414, "at 768 octets"}, []string{before33, of33}},
		{250, 262, QueueRange, []string{"250–262 packets", of414}, []string{before33, of33}},
		{60, 60, QueueAtLeast, []string{"at least 60 packets", "too small"}, []string{of33, of414}},
		{320, 320, QueueAtLeast, []string{"more than any default"}, []string{of33, of414}},
	} {
		r := QueueResult{State: tc.state, Packets: tc.low, Low: tc.low, High: tc.high}
		if tc.state == QueueAtLeast {
			r.High = 0
		}
		r.Fits = fits(r.Low, r.High)
		got := r.Reading()
		for _, w := range tc.want {
			if !strings.Contains(got, w) {
				t.Errorf("%d to %d: %q lacks %q", tc.low, tc.high, got, w)
			}
		}
		for _, w := range tc.never {
			if strings.Contains(got, w) {
				t.Errorf("%d to %d: %q says %q", tc.low, tc.high, got, w)
			}
		}
	}
	if got := (&QueueResult{State: QueueInconclusive}).Reading(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

// Every length of every truesize lies within the octets that are named for it.
func TestQueueFitsHoldTheKernelsRule(t *testing.T) {
	t.Parallel()
	for octets := 0; octets < 300_000; octets += 97 {
		for _, size := range []int{leastTruesize, usualTruesize, mostTruesize} {
			n := max(1, octets/size) // net/core/neighbour.c __neigh_event_send, 6.18
			held := false
			for _, f := range fits(n, n) {
				if f.Setting == "unres_qlen_bytes" && f.Truesize == 0 && f.Low <= octets && octets <= f.High {
					held = true
				}
				if f.Truesize == size && size == usualTruesize && f.Low < f.High && (octets < f.Low || octets > f.High) {
					t.Fatalf("%d octets hold %d packets of %d, outside of %+v", octets, n, size, f)
				}
			}
			if !held {
				t.Fatalf("%d octets hold %d packets of %d, and no fit has them: %+v", octets, n, size, fits(n, n))
			}
		}
	}
}
