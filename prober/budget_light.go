package prober

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// limitGlobalRate is the limit that all targets share: a burst that it refuses now may begin a little later.
const limitGlobalRate = "global_rate"

// keep is what is kept of a destination that is probed again and again, so that it need not be looked for each time; letGo ends that.
func (b *budget) keep(dst netip.AddrPort) *targetBudget {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.target(dst)
	t.kept++
	return t
}

func (b *budget) letGo(t *targetBudget) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.kept--
}

// tryTake is take for a burst of n raw SYNs to one destination that does not wait. It returns the limit that refuses it now; "": none, and
// the burst must be given back.
func (b *budget) tryTake(t *targetBudget, n int, now time.Time) string {
	l := &b.limits
	if n > l.HalfOpen {
		return "half_open"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	switch {
	case b.silenced+b.open+n > l.Unanswered:
		return "unanswered"
	case t.halfOpen+n > l.HalfOpen:
		return "half_open"
	case t.rate.TokensAt(now) < float64(n):
		return "per_target_rate"
	case !b.global.AllowN(now, n):
		return limitGlobalRate
	}
	t.rate.AllowN(now, n)
	t.halfOpen += n
	t.bursts++
	b.open += n
	return ""
}

// giveBack ends a burst of tryTake: silent of its SYNs drew no answer.
func (b *budget) giveBack(t *targetBudget, n, silent int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	t.halfOpen -= n
	t.bursts--
	t.used = now
	b.open -= n
	if silent > 0 {
		b.silent = append(b.silent, silence{now, silent})
		b.silenced += silent
	}
	b.free()
}

// repeated charges SYNs that were sent again.
func (b *budget) repeated(t *targetBudget, n int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	charge(t.rate, now, n)
	charge(b.global, now, n)
}

// target is what is kept of a destination. The caller holds the lock.
func (b *budget) target(dst netip.AddrPort) *targetBudget {
	t := b.targets[dst]
	if t == nil {
		t = &targetBudget{rate: rate.NewLimiter(rate.Limit(b.limits.PerTargetRate), b.limits.PerTargetBurst)}
		b.targets[dst] = t
	}
	return t
}
