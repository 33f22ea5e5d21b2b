package prober

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// pauseTime is how long our other probes of a pair of addresses keep still after a prime: a server with per-host PAWS remembers it for 60 s
// of its own whole seconds (TCP_PAWS_MSL, include/net/tcp.h, 3.10), and a probe within that time could be refused on our own account.
const pauseTime = 62 * time.Second

// pauses are the pairs of addresses that keep still. An owner is the round that primed: its own bursts go on.
type pauses struct {
	mu     sync.Mutex
	byAddr map[netip.Addr][]primedPair
}

type primedPair struct {
	src   netip.Addr
	until time.Time
	owner *Round // nil: its round is over
}

func newPauses() *pauses {
	return &pauses{byAddr: map[netip.Addr][]primedPair{}}
}

// changesState reports whether bursts of a kind leave something at the target that others meet.
func changesState(k plan.Kind) bool {
	return k == plan.KindPrime || k == plan.KindHold || k == plan.KindBacklog
}

// begin makes a pair keep still for everybody but owner, until further notice or as long as a prime of that span could matter.
func (ps *pauses) begin(src, dst netip.Addr, owner *Round, span time.Duration) {
	ps.set(src, dst, primedPair{src: src, until: time.Now().Add(span + pauseTime), owner: owner})
}

// end is when a prime is over: the pair keeps still for pauseTime from now, or not at all where the prime left nothing.
func (ps *pauses) end(src, dst netip.Addr, owner *Round, left bool) {
	if left {
		ps.set(src, dst, primedPair{src: src, until: time.Now().Add(pauseTime), owner: owner})
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.drop(dst, func(p primedPair) bool { return p.src == src && p.owner == owner })
}

func (ps *pauses) set(src, dst netip.Addr, p primedPair) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.drop(dst, func(old primedPair) bool { return old.src == src })
	ps.byAddr[dst] = append(ps.byAddr[dst], p)
}

// leave is when the owner's round is over: what still has to keep still does so for everybody.
func (ps *pauses) leave(owner *Round) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, list := range ps.byAddr {
		for i := range list {
			if list[i].owner == owner {
				list[i].owner = nil
			}
		}
	}
}

// drop removes what gone says, and what is over. The caller holds the lock.
func (ps *pauses) drop(dst netip.Addr, gone func(primedPair) bool) {
	now := time.Now()
	var left []primedPair
	for _, p := range ps.byAddr[dst] {
		if !gone(p) && now.Before(p.until) {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		delete(ps.byAddr, dst)
		return
	}
	ps.byAddr[dst] = left
}

// check refuses a probe of a pair that keeps still. source is asked only where the destination has one.
func (ps *pauses) check(target string, dst netip.Addr, owner *Round, source func() netip.Addr) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.byAddr[dst]) == 0 {
		return nil
	}
	ps.drop(dst, func(primedPair) bool { return false })
	src := source()
	for _, p := range ps.byAddr[dst] {
		if p.src == src && (p.owner == nil || p.owner != owner) {
			return &PausedError{Target: target, Source: src, Addr: dst, Until: p.until}
		}
	}
	return nil
}

// none reports whether no pair at all keeps still.
func (ps *pauses) none() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.byAddr) == 0
}

// permitted holds a destination against the allow list and the pauses. owner is the round that may go on in spite of its own.
func (p *Prober) permitted(target string, a netip.Addr, m Module, owner *Round) error {
	p.mu.RLock()
	err := p.allow.Check(target, a)
	p.mu.RUnlock()
	if err != nil {
		return err
	}
	return p.pauses.check(target, a, owner, func() netip.Addr { return p.sourceTowards(a, m) })
}

// sourceTowards is the address that a module's probes of a destination come from; invalid where there is no way there.
func (p *Prober) sourceTowards(a netip.Addr, m Module) netip.Addr {
	path, err := p.engine.paths.route(a, m.Source, m.Interface, p.engine.opts.AllowForeignSource)
	if err != nil {
		return netip.Addr{}
	}
	return path.route.Src.Unmap()
}

// guard runs a burst that changes the target's state: alone, and with others' probes of the pair kept still after a prime.
type guard struct {
	p    *Prober
	r    *Round
	m    Module
	done func() // ends our turn at the target; nil: it has not come yet
}

// enter is called before a burst.
func (g *guard) enter(ctx context.Context, b *plan.Burst) error {
	if !changesState(b.Kind) {
		return nil
	}
	dst := g.r.Addr.Addr()
	if g.done == nil {
		done, err := g.p.turns.take(ctx, dst)
		if err != nil {
			return err
		}
		g.done = done
	}
	if err := g.p.permitted(g.r.Target, dst, g.m, g.r); err != nil {
		return err // primed by another while we waited
	}
	if b.Kind == plan.KindPrime {
		g.p.pauses.begin(g.p.sourceTowards(dst, g.m), dst, g.r, b.Span())
	}
	return nil
}

// after is called when a burst is over; the round holds its observation.
func (g *guard) after(b *plan.Burst) {
	if b.Kind == plan.KindPrime {
		_, left := diagnose.Primed(g.r.Observations)
		for i := range g.r.Observations {
			left = left || diagnose.MayRemember(&g.r.Observations[i])
		}
		dst := g.r.Addr.Addr()
		g.p.pauses.end(g.p.sourceTowards(dst, g.m), dst, g.r, left)
	}
}

// leave is called when the investigation is over.
func (g *guard) leave() {
	g.p.pauses.leave(g.r)
	if g.done != nil {
		g.done()
	}
}
