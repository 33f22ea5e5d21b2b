package prober

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
)

// flights lets callers who ask the same thing at the same time share one run.
type flights struct {
	mu    *sync.Mutex
	going map[string]*flight
}

type flight struct {
	done  chan struct{}
	round Round
	whole bool // the caller who began it did not give up under way
}

func newFlights() flights { return flights{mu: new(sync.Mutex), going: map[string]*flight{}} }

// flightKey names what is asked: the address and everything of the module that shapes the run.
func flightKey(ep Endpoint, a netip.Addr, m Module) string {
	port := ep.Port
	if m.TCP != nil {
		// The name asked for decides which certificate is right.
		return fmt.Sprintf("%s|%s|%d|%p|%+v", ep.Host, a, port, m.TCP, m)
	}
	return fmt.Sprintf("%s|%d|%+v", a, port, m)
}

// do runs fn, or waits for the same run of another caller. A caller whose own ctx ends first gets an error in the round. Where the one who
// began the run gave up, his round is nobody else's: one of those who waited begins anew.
func (f *flights) do(ctx context.Context, key string, fn func(context.Context) Round) Round {
	for {
		g, mine := f.join(key)
		if mine {
			return f.fly(ctx, key, g, fn)
		}
		select {
		case <-g.done:
			if g.whole || ctx.Err() != nil {
				return g.round
			}
		case <-ctx.Done():
			return Round{Err: ctx.Err(), Why: "the caller gave up while another caller's run of the same probe was under way"}
		}
	}
}

// fly makes the run that others may share.
func (f *flights) fly(ctx context.Context, key string, g *flight, fn func(context.Context) Round) Round {
	defer f.land(key, g)
	g.round = fn(ctx)
	g.whole = ctx.Err() == nil
	return g.round
}

func (f *flights) join(key string) (g *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.going[key]; g != nil {
		return g, false
	}
	g = &flight{done: make(chan struct{})}
	f.going[key] = g
	return g, true
}

func (f *flights) land(key string, g *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.going, key)
	close(g.done)
}
