package sweep

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQuantilesAreThoseOfASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Int64Range(0, 1<<40).Draw(t, "most") // small: many are equal
		took := rapid.SliceOfN(rapid.Int64Range(0, most), 1, 400).Draw(t, "took")
		if rapid.Bool().Draw(t, "in order") {
			slices.Sort(took)
		}
		sorted := slices.Sorted(slices.Values(took))
		at := func(per int) time.Duration { return time.Duration(sorted[(len(sorted)-1)*per/100]) }
		want := Times{Timed: len(took), Least: at(0), P50: at(50), P90: at(90), P99: at(99), Most: at(100)}
		if got := timesOf(took); got != want {
			t.Fatalf("%v, want %v, of %v", got, want, sorted)
		}
		if slices.Sort(took); !slices.Equal(took, sorted) {
			t.Fatalf("times were lost: %v, want %v", took, sorted)
		}
	})
}

func TestNoTimesHaveNoQuantiles(t *testing.T) {
	if got := timesOf(nil); got != (Times{}) {
		t.Fatalf("%v of nothing", got)
	}
}
