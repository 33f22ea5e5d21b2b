package prober

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What is due first comes first, whatever is put off to whenever; of the same time, by name.
func TestDueHeapIsInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	for _, n := range []int{0, 1, 2, 5, 6, 17, 1000} {
		var h dueHeap
		for i := range n {
			h = append(h, dueEntry{d: &dueTarget{target: fmt.Sprint(i), at: began.Add(time.Duration(r.IntN(100)))}})
		}
		h.order(began)
		for range 3 * n {
			first := h[0].d
			for _, x := range h {
				if c := x.d.at.Compare(first.at); c < 0 || c == 0 && x.d.target < first.target {
					t.Fatalf("of %d: %s at %s is first, %s at %s is due before", n, first.target, first.at, x.d.target, x.d.at)
				}
			}
			first.at = first.at.Add(time.Duration(r.IntN(100)))
			h.fix(began)
		}
		seen := map[string]bool{}
		for _, x := range h {
			seen[x.d.target] = true
		}
		if len(seen) != n || slices.ContainsFunc(h, func(x dueEntry) bool { return x.at != x.d.at.Sub(began) }) {
			t.Errorf("of %d: %d are there", n, len(seen))
		}
	}
}
