package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLadders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		l    Ladder
		want string
		last time.Duration
	}{
		{"Linux 6.5 and on", Linear(time.Second, 4, 10), "linear: 0 1 2 3 4 5 7 11 19 35 67", 67 * time.Second},
		{"Linux 3.1 to 6.4", Exponential(time.Second, 6), "exponential: 0 1 3 7 15 31 63", 63 * time.Second},
		{"Linux up to 3.0", Exponential(3*time.Second, 5), "exponential: 0 3 9 21 45 93", 93 * time.Second},
		{"linear timeouts of 0 double at once", Linear(time.Second, 0, 3), "linear: 0 1 3 7", 7 * time.Second},
		{"the wait is capped at 120 s", Exponential(64*time.Second, 3), "exponential: 0 64 184 304", 304 * time.Second},
		{"single", Single(), "single: 0", 0},
		{"custom", Custom(0, 250*time.Millisecond), "custom: 0 0.25", 250 * time.Millisecond},
		{"none", Ladder{}, ":", 0},
	} {
		if got := tc.l.String(); got != tc.want || tc.l.Last() != tc.last {
			t.Errorf("%s: got %q to %s, want %q to %s", tc.name, got, tc.l.Last(), tc.want, tc.last)
		}
	}
}

func TestUntilKeepsWhatComesBefore(t *testing.T) {
	t.Parallel()
	l := Linear(time.Second, 4, 10)
	for _, tc := range []struct {
		d    time.Duration
		want []time.Duration
	}{
		{0, l.At[:1]}, {time.Second, l.At[:1]}, {time.Second + 1, l.At[:2]}, {3500 * time.Millisecond, l.At[:4]}, {time.Hour, l.At},
	} {
		if diff := cmp.Diff(Ladder{"linear", tc.want}, l.Until(tc.d)); diff != "" {
			t.Errorf("until %s (-want +got):\n%s", tc.d, diff)
		}
	}
	if got := (Ladder{}).Until(time.Hour); len(got.At) != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestEveryKernelLadderRises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rto := time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond
		n := rapid.IntRange(0, 127).Draw(t, "repeats")
		l := Linear(rto, rapid.IntRange(0, 20).Draw(t, "linear"), n)
		if len(l.At) != n+1 || l.At[0] != 0 {
			t.Fatalf("%d rungs for %d repeats", len(l.At), n)
		}
		for k := 1; k < len(l.At); k++ {
			if gap := l.At[k] - l.At[k-1]; gap < rto || gap > max(rto, rtoMax) {
				t.Fatalf("rung %d comes %s after the one before", k, gap)
			}
		}
	})
}
