package prober

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// budget holds what the limits leave: SYNs a second to one target and to all, half-open connections at one listener, and flows
// that nobody answered. Each unanswered flow costs the middleboxes on its way a conntrack entry for as long as a minute or two.
type budget struct {
	limits Limits
	global *rate.Limiter

	mu       sync.Mutex
	targets  map[netip.AddrPort]*targetBudget
	freed    chan struct{} // closed and replaced when half-open slots come back
	silent   []silence     // unanswered flows of the last PortQuarantine, oldest first
	silenced int
	swept    time.Time
}

type targetBudget struct {
	rate     *rate.Limiter
	halfOpen int
	used     time.Time
}

type silence struct {
	at time.Time
	n  int
}

func newBudget(l Limits) *budget {
	return &budget{limits: l, global: rate.NewLimiter(rate.Limit(l.GlobalRate), l.GlobalBurst),
		targets: map[netip.AddrPort]*targetBudget{}, freed: make(chan struct{})}
}

// demand is what one burst asks of one target.
type demand struct{ syns, halfOpen int }

// cost counts the SYNs of a burst, every rung of the ladder, and its half-open connections, by target.
func cost(b *plan.Burst) map[netip.AddrPort]demand {
	m := map[netip.AddrPort]demand{}
	for i := range b.Shots {
		s := &b.Shots[i]
		arm := &b.Arms[s.Arm]
		d := m[s.Flow.Dst]
		d.syns++
		if arm.Via == plan.Raw && arm.Script.OnSYNACK != plan.Acknowledge {
			d.halfOpen++
		}
		m[s.Flow.Dst] = d
	}
	return m
}

// take waits until the burst fits every limit, or says which one it never will. What it returns gives the half-open slots back.
func (b *budget) take(ctx context.Context, q request) (release func(), err error) {
	if err := b.room(q); err != nil {
		return nil, err
	}
	want := cost(q.burst)
	total := 0
	for dst, d := range want {
		total += d.syns
		if err := b.pace(ctx, q, dst, d.syns); err != nil {
			return nil, err
		}
	}
	if err := wait(ctx, b.global, total); err != nil {
		return nil, &BudgetError{Target: q.target, Limit: "global_rate", Detail: err.Error()}
	}
	return b.hold(ctx, q, want)
}

// room refuses a burst while too many flows have gone unanswered.
func (b *budget) room(q request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	if n := len(q.burst.Shots); b.silenced+n > b.limits.Unanswered {
		return &BudgetError{Target: q.target, Limit: "unanswered",
			Detail: fmt.Sprintf("%d flows had no answer within the last %s; %d more could pass %d", b.silenced, plan.PortQuarantine, n, b.limits.Unanswered)}
	}
	return nil
}

func (b *budget) expire(now time.Time) {
	for len(b.silent) > 0 && now.Sub(b.silent[0].at) >= plan.PortQuarantine {
		b.silenced -= b.silent[0].n
		b.silent = b.silent[1:]
	}
}

// settle counts the flows of a finished burst that nobody answered.
func (b *budget) settle(attempts []observe.Attempt) {
	n := 0
	for i := range attempts {
		if o := attempts[i].Outcome; len(attempts[i].Answers) == 0 && (o == observe.TimedOut || o == observe.Unreachable) {
			n++
		}
	}
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent = append(b.silent, silence{time.Now(), n})
	b.silenced += n
}

func (b *budget) target(dst netip.AddrPort) *targetBudget {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.swept) > time.Minute {
		for k, t := range b.targets {
			if t.halfOpen == 0 && now.Sub(t.used) > 2*time.Minute {
				delete(b.targets, k)
			}
		}
		b.swept = now
	}
	t := b.targets[dst]
	if t == nil {
		t = &targetBudget{rate: rate.NewLimiter(rate.Limit(b.limits.PerTargetRate), b.limits.PerTargetBurst)}
		b.targets[dst] = t
	}
	t.used = now
	return t
}

func (b *budget) pace(ctx context.Context, q request, dst netip.AddrPort, n int) error {
	if err := wait(ctx, b.target(dst).rate, n); err != nil {
		return &BudgetError{Target: q.target, Limit: "per_target_rate", Detail: err.Error()}
	}
	return nil
}

// wait takes n tokens, at once or within the time that ctx leaves.
func wait(ctx context.Context, l *rate.Limiter, n int) error {
	if n > l.Burst() {
		return fmt.Errorf("%d SYNs at once; the limit is %d", n, l.Burst())
	}
	if err := l.WaitN(ctx, n); err != nil {
		return fmt.Errorf("%d SYNs do not fit %.4g a second within the time left", n, float64(l.Limit()))
	}
	return nil
}

// hold takes the half-open slots of a burst at every listener, waiting for other bursts to give theirs back.
func (b *budget) hold(ctx context.Context, q request, want map[netip.AddrPort]demand) (func(), error) {
	for dst, d := range want {
		if d.halfOpen > b.limits.HalfOpen {
			return nil, &BudgetError{Target: q.target, Limit: "half_open",
				Detail: fmt.Sprintf("%d raw SYNs at once could stay half-open at %s; the limit is %d", d.halfOpen, dst, b.limits.HalfOpen)}
		}
	}
	for {
		b.mu.Lock()
		ok := true
		for dst, d := range want {
			if t := b.targets[dst]; t != nil && d.halfOpen > 0 && t.halfOpen+d.halfOpen > b.limits.HalfOpen {
				ok = false
			}
		}
		if ok {
			b.move(want, 1)
			b.mu.Unlock()
			return func() { b.release(want) }, nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, &BudgetError{Target: q.target, Limit: "half_open", Detail: "other bursts hold this listener's half-open slots"}
		}
	}
}

func (b *budget) move(want map[netip.AddrPort]demand, sign int) {
	for dst, d := range want {
		if t := b.targets[dst]; t != nil {
			t.halfOpen += sign * d.halfOpen
		}
	}
}

func (b *budget) release(want map[netip.AddrPort]demand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.move(want, -1)
	close(b.freed)
	b.freed = make(chan struct{})
}
