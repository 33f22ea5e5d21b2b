package diagnose

import (
	"strings"
	"testing"
)

func TestEviction(t *testing.T) {
	for _, tt := range []struct {
		q    float64
		want string
	}{
		{0, ""}, {0.005, ""}, {1, "fails every loop"}, {0.5, "evicts in 25 % of its loops, once in about 4 loops (4 min"},
		{0.1, "evicts in 1 % of its loops, once in about 100 loops (2 h"}, {0.9, "evicts in 81 % of its loops, once in about 1 loops (74 s"},
	} {
		got := eviction(tt.q)
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("q = %g: %q, want %q", tt.q, got, tt.want)
		}
	}
}
