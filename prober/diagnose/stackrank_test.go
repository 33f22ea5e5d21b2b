package diagnose

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// trips are n round trips of about d.
func trips(r *rand.Rand, n int, d time.Duration) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		out[i] = d + time.Duration(r.Int64N(int64(d)/4))
	}
	return out
}

func TestStacksApart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	of := func(name string, n, lossy int, d time.Duration) stack {
		return stack{look: look{mss: uint16(name[0])}, n: n, lossy: lossy, rtts: trips(r, n, d)}
	}
	for _, c := range []struct {
		name   string
		stacks []stack
		want   []string
	}{
		{"one of three is slow", []stack{of("a", 30, 0, time.Millisecond), of("b", 30, 0, time.Millisecond), of("c", 20, 0, 3*time.Millisecond)}, []string{"slower than the rest: " + look{mss: 'c'}.String()}},
		{"near miss: slow by less than anybody cares", []stack{of("a", 30, 0, 40*time.Microsecond), of("c", 30, 0, 120*time.Microsecond)}, nil},
		{"near miss: too few to tell", []stack{of("a", 30, 0, time.Millisecond), of("c", 7, 0, 3*time.Millisecond)}, nil},
		{"near miss: alike", []stack{of("a", 40, 2, time.Millisecond), of("b", 40, 3, time.Millisecond)}, nil},
		{"one of two is lossy", []stack{of("a", 40, 1, time.Millisecond), of("b", 40, 20, time.Millisecond)}, []string{"loses more than the rest: " + look{mss: 'b'}.String()}},
		{"near miss: lossy, but chance could do it", []stack{of("a", 20, 1, time.Millisecond), of("b", 20, 6, time.Millisecond)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := apart(c.stacks)
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("got %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}

// Stacks that are alike are called slower or lossier than each other at most once in 10,000 pools.
func TestStacksAlikeAreNotToldApart(t *testing.T) {
	r, wrong := rand.New(rand.NewPCG(9, 9)), 0
	for range 4000 {
		var pool []stack
		for range 3 {
			s := stack{look: look{mss: 1460}, n: 16, rtts: trips(r, 16, 2*time.Millisecond)}
			for range s.n {
				if r.Float64() < 0.2 {
					s.lossy++
				}
			}
			pool = append(pool, s)
		}
		wrong += len(apart(pool))
	}
	if wrong > 2 {
		t.Errorf("%d of 4,000 pools", wrong)
	}
}
