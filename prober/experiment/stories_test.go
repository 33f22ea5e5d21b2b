package experiment_test

import (
	"testing"
)

// TestStories: every fault with its near miss one step away, each on many networks.
func TestStories(t *testing.T) {
	t.Parallel()
	for _, group := range [][]story{neighborStories(), pathStories(), refusedStories(), portStories(), pingStories(), listenerStories(), poolStories(), timestampStories(), middleboxStories(), proberStories(), impatientStories(), crowdedStories(), wildStories()} {
		for i := range group {
			s := &group[i]
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.play(t)
			})
		}
	}
}
