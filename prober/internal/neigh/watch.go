package neigh

import "context"

// Watch is a running subscription to the kernel's neighbour table.
type Watch struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// NewWatch subscribes on the calling thread, so in its network namespace, and calls f with every change, one at a time, until Close. A
// subscription that lost events is taken up again by whatever thread runs then.
func NewWatch(f func(Event)) (*Watch, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = subscribe(ctx, s, f)
	}()
	return w, nil
}

// Close ends the subscription and waits for its last call of f. The error is why it had ended before, if it had.
func (w *Watch) Close() error {
	w.cancel()
	<-w.done
	return w.err
}
