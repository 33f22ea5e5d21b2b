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
}

func newFlights() flights { return flights{mu: new(sync.Mutex), going: map[string]*flight{}} }

// flightKey names what is asked: the address and everything of the module that shapes the run.
func flightKey(a netip.Addr, port uint16, m Module) string {
	if m.TCP != nil {
		return fmt.Sprintf("%s|%d|%p|%+v", a, port, m.TCP, m)
	}
	return fmt.Sprintf("%s|%d|%+v", a, port, m)
}

// do runs fn, or waits for the same run of another caller. A caller whose own ctx ends first gets an error in the round; the run goes
// on for the others only as long as the caller who began it.
func (f *flights) do(ctx context.Context, key string, fn func(context.Context) Round) Round {
	f.mu.Lock()
	if g := f.going[key]; g != nil {
		f.mu.Unlock()
		select {
		case <-g.done:
			return g.round
		case <-ctx.Done():
			return Round{Err: ctx.Err(), Why: "the caller gave up while another caller's run of the same probe was under way"}
		}
	}
	g := &flight{done: make(chan struct{})}
	f.going[key] = g
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.going, key)
		f.mu.Unlock()
		close(g.done)
	}()
	g.round = fn(ctx)
	return g.round
}
