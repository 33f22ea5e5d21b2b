package prober

import (
	"context"
	"errors"
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
//
// A burst pays for its first SYNs before it begins. How many of them will have to be repeated nobody knows then: repeats are paid for
// when the burst is over, out of what comes in from then on.
type budget struct {
	limits Limits
	global *rate.Limiter

	mu       sync.Mutex
	targets  map[netip.AddrPort]*targetBudget
	freed    chan struct{} // closed and replaced when slots come back, where anybody waits for it
	waiting  int
	silent   []silence // unanswered flows of the last PortQuarantine, oldest first
	silenced int       // their sum
	open     int       // flows of bursts under way, which may go unanswered yet
	swept    time.Time
}

type targetBudget struct {
	rate     *rate.Limiter
	halfOpen int
	bursts   int // that hold it
	kept     int // by who probes it again and again
	used     time.Time
}

type silence struct {
	at time.Time
	n  int
}

// withDefaults puts the default in place of every limit that is not set.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ set, def *float64 }{{&l.PerTargetRate, &d.PerTargetRate}, {&l.GlobalRate, &d.GlobalRate}, {&l.ARPRate, &d.ARPRate}} {
		if *f.set <= 0 {
			*f.set = *f.def
		}
	}
	for _, f := range []struct{ set, def *int }{{&l.PerTargetBurst, &d.PerTargetBurst}, {&l.GlobalBurst, &d.GlobalBurst}, {&l.HalfOpen, &d.HalfOpen},
		{&l.Unanswered, &d.Unanswered}} {
		if *f.set <= 0 {
			*f.set = *f.def
		}
	}
	return l
}

func newBudget(l Limits) *budget {
	return &budget{limits: l, global: rate.NewLimiter(rate.Limit(l.GlobalRate), l.GlobalBurst),
		targets: map[netip.AddrPort]*targetBudget{}, freed: make(chan struct{})}
}

// demand is what one burst asks of one target: flows, each with a first SYN, and how many of them may stay half-open.
type demand struct{ flows, halfOpen int }

// reservation is what one burst holds.
type reservation struct {
	want  map[netip.AddrPort]demand
	flows int
	at    map[netip.AddrPort]*targetBudget
}

// take waits until the burst fits every limit, or says which one it never will. What it returns gives the slots back and books what the
// burst came to; it must be called once, with no attempts when nothing was sent.
func (b *budget) take(ctx context.Context, target string, want map[netip.AddrPort]demand) (release func(as []observe.Attempt, pings ...observe.Ping), err error) {
	res := &reservation{want: want, at: map[netip.AddrPort]*targetBudget{}}
	for dst, d := range want {
		res.flows += d.flows
		if err := b.ever(dst, d); err != nil {
			err.Target = target
			return nil, err
		}
	}
	if err := b.reserve(ctx, target, res); err != nil {
		return nil, err
	}
	if err := b.pace(ctx, target, res); err != nil {
		b.release(res, nil, nil)
		return nil, err
	}
	return func(as []observe.Attempt, pings ...observe.Ping) { b.release(res, as, pings) }, nil
}

// ever refuses what no waiting helps.
func (b *budget) ever(dst netip.AddrPort, d demand) *BudgetError {
	switch l := b.limits; {
	case d.halfOpen > l.HalfOpen:
		return &BudgetError{Limit: "half_open", Detail: fmt.Sprintf("%d raw SYNs at once could stay half-open at %s; the limit is %d", d.halfOpen, dst, l.HalfOpen)}
	case d.flows > l.PerTargetBurst:
		return &BudgetError{Limit: "per_target_rate", Detail: fmt.Sprintf("%d SYNs at once; the limit is %d", d.flows, l.PerTargetBurst)}
	}
	return nil
}

// reserve takes the slots of a burst, half-open and unanswered, waiting for other bursts to give theirs back.
func (b *budget) reserve(ctx context.Context, target string, res *reservation) error {
	for {
		b.mu.Lock()
		b.expire(time.Now())
		full := b.lacks(res)
		if full == nil {
			b.hold(res)
			b.mu.Unlock()
			return nil
		}
		full.err.Target = target
		if full.forGood {
			b.mu.Unlock()
			return full.err
		}
		freed := b.freed
		b.waiting++
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return full.err
		}
	}
}

// lack is a limit that a burst would pass now.
type lack struct {
	err     *BudgetError
	forGood bool // no burst under way can give back enough
}

func (b *budget) lacks(res *reservation) *lack {
	limit := b.limits.Unanswered
	if b.silenced+res.flows > limit {
		return &lack{&BudgetError{Limit: "unanswered", Detail: fmt.Sprintf("%d flows had no answer within the last %s; %d more could pass %d",
			b.silenced, plan.PortQuarantine, res.flows, limit)}, true}
	}
	if b.silenced+b.open+res.flows > limit {
		return &lack{&BudgetError{Limit: "unanswered", Detail: fmt.Sprintf("%d flows under way have no answer yet and %d had none within the last %s; %d more could pass %d",
			b.open, b.silenced, plan.PortQuarantine, res.flows, limit)}, false}
	}
	for dst, d := range res.want {
		if t := b.targets[dst]; t != nil && d.halfOpen > 0 && t.halfOpen+d.halfOpen > b.limits.HalfOpen {
			return &lack{&BudgetError{Limit: "half_open", Detail: fmt.Sprintf("other bursts hold %d half-open slots of %s; the limit is %d",
				t.halfOpen, dst, b.limits.HalfOpen)}, false}
		}
	}
	return nil
}

func (b *budget) expire(now time.Time) {
	for len(b.silent) > 0 && now.Sub(b.silent[0].at) >= plan.PortQuarantine {
		b.silenced -= b.silent[0].n
		b.silent = b.silent[1:]
	}
	if now.Sub(b.swept) < time.Minute {
		return
	}
	for k, t := range b.targets {
		if t.bursts == 0 && t.kept == 0 && now.Sub(t.used) > plan.PortQuarantine {
			delete(b.targets, k)
		}
	}
	b.swept = now
}

func (b *budget) hold(res *reservation) {
	b.open += res.flows
	for dst, d := range res.want {
		t := b.target(dst)
		t.halfOpen += d.halfOpen
		t.bursts++
		res.at[dst] = t
	}
}

// pace waits for the tokens of a burst's first SYNs.
func (b *budget) pace(ctx context.Context, target string, res *reservation) error {
	for dst, d := range res.want {
		if err := wait(ctx, res.at[dst].rate, d.flows); err != nil {
			return unpaced(target, "per_target_rate", err)
		}
	}
	if err := wait(ctx, b.global, res.flows); err != nil {
		return unpaced(target, limitGlobalRate, err)
	}
	return nil
}

// unpaced tells a limit that leaves no room from time that was over already, which is no limit's doing.
func unpaced(target, limit string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &EnvironmentError{Target: target, Err: err}
	}
	return &BudgetError{Target: target, Limit: limit, Detail: err.Error()}
}

// wait takes n tokens, at once or within the time that ctx leaves. The error is ctx's where none is left.
func wait(ctx context.Context, l *rate.Limiter, n int) error {
	if n > l.Burst() {
		return fmt.Errorf("%d SYNs at once; the limit is %d", n, l.Burst())
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send %d SYNs: %w", n, err)
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) { // a busy machine says so late
		return fmt.Errorf("send %d SYNs: %w", n, context.DeadlineExceeded)
	}
	switch err := l.WaitN(ctx, n); {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return fmt.Errorf("send %d SYNs: %w", n, err)
	case err != nil:
		return fmt.Errorf("%d SYNs do not fit %.4g a second within the time left", n, float64(l.Limit()))
	}
	return nil
}

// release gives a burst's slots back, counts its flows and pings that nobody answered, and charges its repeated SYNs.
func (b *budget) release(res *reservation, attempts []observe.Attempt, pings []observe.Ping) {
	now := time.Now()
	repeats := map[netip.AddrPort]int{}
	total, silent := 0, 0
	for i := range attempts {
		a := &attempts[i]
		if n := a.Retransmissions; n > 0 {
			repeats[a.Flow.Dst] += n
			total += n
		}
		if unanswered(a) {
			silent++
		}
	}
	for i := range pings {
		if pings[i].Sent() && len(pings[i].Replies) == 0 {
			silent++
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open -= res.flows
	for dst, d := range res.want {
		t := res.at[dst]
		t.halfOpen -= d.halfOpen
		t.bursts--
		t.used = now
		charge(t.rate, now, repeats[dst])
	}
	charge(b.global, now, total)
	b.quiet(now, silent)
}

// quiet books flows that nobody answered and wakes who waits for room. The caller holds the lock.
func (b *budget) quiet(now time.Time, silent int) {
	if silent > 0 {
		b.silent = append(b.silent, silence{now, silent})
		b.silenced += silent
	}
	b.free()
}

// free lets those look again who wait for slots. The caller holds the lock.
func (b *budget) free() {
	if b.waiting > 0 {
		b.waiting = 0
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// reserveSweep takes the room of n flows that may go unanswered; its tokens are taken one by one. release gives it back and books those that did.
func (b *budget) reserveSweep(ctx context.Context, n int) (release func(silent int), err error) {
	if err := b.reserve(ctx, "sweep", &reservation{flows: n}); err != nil {
		return nil, err
	}
	return func(silent int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open -= n
		b.quiet(time.Now(), silent)
	}, nil
}

// reserveRoom takes what is left of the room for flows that may go unanswered, n at most, and waits only where bursts under way have all of it.
// release gives it back and books those that did.
func (b *budget) reserveRoom(ctx context.Context, n int) (room int, release func(silent int), err error) {
	b.mu.Lock()
	b.expire(time.Now())
	n = max(1, min(n, b.limits.Unanswered-b.silenced-b.open))
	b.mu.Unlock()
	release, err = b.reserveSweep(ctx, n)
	return n, release, err
}

// unanswered reports whether a flow left and drew nothing at all.
func unanswered(a *observe.Attempt) bool {
	switch a.Outcome {
	case observe.TimedOut, observe.Unreachable, observe.OutcomeUnknown:
		return len(a.Answers) == 0
	case observe.Accepted, observe.Refused, observe.Reset, observe.NotSent, observe.LocalDrop:
	}
	return false
}

// charge takes n tokens that were spent already, into debt where need be.
func charge(l *rate.Limiter, now time.Time, n int) {
	for n > 0 {
		some := min(n, l.Burst())
		l.ReserveN(now, some)
		n -= some
	}
}
