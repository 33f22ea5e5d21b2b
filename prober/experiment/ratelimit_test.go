package experiment_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
)

// limited is a limiter as it is, to hold against what was found of it.
type limited struct {
	rate      float64
	burst     int
	perSource bool
	only      bool
	loss      float64
}

func drawLimit(r *rand.Rand) limited {
	return limited{rate: upTo(r, 2.6, 12), burst: between(r, 1, 20)}
}

// limitScore is how limits of many networks were read.
type limitScore struct {
	n, named, exact, scoped int
	wrong                   []string
	widest                  float64
	bounded                 int
}

func (c *limitScore) String() string {
	return fmt.Sprintf("%d networks, %d limits named, %d read exactly (widest %.2f times, burst bounded in %d), scope settled in %d, %d wrong %v", c.n, c.named, c.exact, c.widest, c.bounded,
		c.scoped, len(c.wrong), c.wrong)
}

func (c *limitScore) add(seed uint64, l *limited, found *diagnose.RateLimit, right diagnose.LimitScope) {
	c.n++
	if found == nil {
		return
	}
	c.named++
	if found.Scope != diagnose.ScopeOpen {
		c.scoped++
		if found.Scope != right {
			c.wrong = append(c.wrong, fmt.Sprintf("seed %d: scope %s of %+v: %+v", seed, found.Scope, *l, *found))
		}
	}
	if !found.Exact {
		return
	}
	c.exact++
	c.widest = max(c.widest, found.RateHigh/found.RateLow)
	if found.BurstHigh > 0 {
		c.bounded++
	}
	if l.loss == 0 && (found.RateLow > l.rate || found.RateHigh < l.rate || found.BurstLow > l.burst || found.BurstHigh > 0 && found.BurstHigh < l.burst) {
		c.wrong = append(c.wrong, fmt.Sprintf("seed %d: %+v is read as %s", seed, *l, found))
	}
}

// TestRateLimit: rate, size and scope of a limiter are what is said of them, whatever the network; what cannot be told is not said.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*limited)
		single bool
		right  diagnose.LimitScope
		exact  float64
		scoped float64
	}{
		{"one bucket for all", func(*limited) {}, false, diagnose.ScopeShared, 0.9, 0.8},
		{"a bucket for each source", func(l *limited) { l.perSource = true }, false, diagnose.ScopeOwnEach, 0.9, 0.6},
		{"one source limited", func(l *limited) { l.only = true }, false, diagnose.ScopeOneSource, 0.9, 0.3},
		{"one address to ask from", func(*limited) {}, true, diagnose.ScopeOpen, 0.9, 0},
		{"one bucket for all, 3 % loss", func(l *limited) { l.loss = 0.03 }, false, diagnose.ScopeShared, 0, 0.5},
		{"a bucket for each source, 3 % loss", func(l *limited) { l.perSource, l.loss = true, 0.03 }, false, diagnose.ScopeOwnEach, 0, 0.4},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var c limitScore
			for k := range limitSeeds() {
				seed := uint64(k)*7919 + 17
				var l limited
				s := story{world: func(seed uint64, r *rand.Rand) *fakenet.World {
					l = drawLimit(r)
					row.change(&l)
					w := fakenet.RateLimitOf(seed, l.rate, l.burst, l.perSource, l.only)
					if row.single {
						w.Client.Others = nil
					}
					return lose(w, l.loss)
				}}
				res := s.run(seed)
				c.add(seed, &l, res.diagnosis.RateLimit, row.right)
			}
			t.Log(&c)
			if len(c.wrong) > 0 || float64(c.exact) < row.exact*float64(c.named) || float64(c.scoped) < row.scoped*float64(c.named) || 2*c.named < c.n {
				t.Errorf("want %.0f %% exact, scope of %.0f %%: %s", 100*row.exact, 100*row.scoped, &c)
			}
		})
	}
}

// limitSeeds is how many networks of a kind are tried.
func limitSeeds() int {
	return max(*moreSeeds/20, 10)
}
