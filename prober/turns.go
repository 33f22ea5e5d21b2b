package prober

import (
	"context"
	"net/netip"
	"sync"
)

// turns lets one caller at a time at each address: what changes the far side's state must not meet another that does. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[netip.Addr]chan struct{} // closed when the turn is over
}

// take waits for the address's turn. The caller must call done when it is over; the error is ctx's.
func (t *turns) take(ctx context.Context, a netip.Addr) (done func(), err error) {
	mine := make(chan struct{})
	for {
		t.mu.Lock()
		other := t.held[a]
		if other == nil {
			if t.held == nil {
				t.held = map[netip.Addr]chan struct{}{}
			}
			t.held[a] = mine
			t.mu.Unlock()
			return func() { t.end(a, mine) }, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns) end(a netip.Addr, mine chan struct{}) {
	t.mu.Lock()
	delete(t.held, a)
	t.mu.Unlock()
	close(mine)
}
