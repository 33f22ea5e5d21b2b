package prober

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// One at a time at an address; others go on; who gives up leaves the queue.
func TestTurns(t *testing.T) {
	t.Parallel()
	var at turns
	first, err := at.take(t.Context(), addr(serverV4))
	must(t, err)
	elsewhere, err := at.take(t.Context(), addr(serverV6))
	must(t, err)
	elsewhere()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := at.take(ctx, addr(serverV4)); !errors.Is(err, enough) {
		t.Errorf("gave up with %v", err)
	}
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			done, err := at.take(t.Context(), addr(serverV4))
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > 1 {
				most.Store(n)
			}
			inside.Add(-1)
			done()
		})
	}
	first()
	wg.Wait()
	if most.Load() > 0 || len(at.held) != 0 {
		t.Errorf("%d at once, %d turns left", most.Load(), len(at.held))
	}
}
