package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// flightKey names what is asked: requests of one key at one time share one run. The configuration is part of it, so that nobody
// is answered by a module that has been replaced.
type flightKey struct {
	config   *targets.Config
	target   string
	module   string
	hostname string
	timeout  time.Duration
}

// flights are the runs under way. A run goes on as long as one caller still waits for it. The zero value is ready. (The prober
// shares runs as well, by address; here the name's resolution is shared, and followers take no slot.)
type flights struct {
	mu  sync.Mutex
	now map[flightKey]*flight
}

type flight struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{}
	rounds  []prober.Round
	err     error
}

var errPanicked = errors.New("the probe ended in a panic")

// do returns what run returns, from a run of another caller where one is under way. The first caller runs it in its own
// goroutine, within limit; whoever gives up earlier gets ctx's error.
func (f *flights) do(ctx context.Context, k flightKey, limit time.Duration, run func(context.Context) ([]prober.Round, error)) ([]prober.Round, error) {
	f.mu.Lock()
	if fl := f.now[k]; fl != nil {
		fl.waiters++
		f.mu.Unlock()
		return f.wait(ctx, k, fl)
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	fl := &flight{waiters: 1, cancel: cancel, done: make(chan struct{}), err: errPanicked}
	if f.now == nil {
		f.now = map[flightKey]*flight{}
	}
	f.now[k] = fl
	f.mu.Unlock()

	stop := context.AfterFunc(ctx, func() { f.leave(k, fl) })
	defer stop()
	defer f.land(k, fl)
	fl.rounds, fl.err = run(own)
	return fl.rounds, fl.err
}

func (f *flights) wait(ctx context.Context, k flightKey, fl *flight) ([]prober.Round, error) {
	select {
	case <-fl.done:
		return fl.rounds, fl.err
	case <-ctx.Done():
		f.leave(k, fl)
		return nil, ctx.Err()
	}
}

// leave takes one caller off; the last one ends the run, and nobody joins it any more.
func (f *flights) leave(k flightKey, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiters--
	if fl.waiters > 0 {
		return
	}
	fl.cancel()
	if f.now[k] == fl {
		delete(f.now, k)
	}
}

func (f *flights) land(k flightKey, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now[k] == fl {
		delete(f.now, k)
	}
	close(fl.done)
}
