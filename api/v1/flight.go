package v1

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
)

// flight is one execution, for all who asked for it at once.
type flight struct {
	id, same string
	cancel   context.CancelFunc
	waiters  int // guarded by the lock of runs

	mu       sync.Mutex
	progress []view.Progress
	over     bool
	// changed is closed, and replaced, with every change.
	changed chan struct{}
}

// maxProgress bounds what is remembered of a flight's progress; what follows is not told.
const maxProgress = 4096

var errPanicked = errors.New("the run ended in a panic")

// fly does the work. A panic ends the run, not the service.
func (f *flight) fly(ctx context.Context, w work) (rounds []prober.Round, err error) {
	defer func() {
		if p := recover(); p != nil {
			rounds, err = nil, fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return w.do(ctx, f.note)
}

func (f *flight) note(p prober.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.progress) >= maxProgress {
		return
	}
	f.progress = append(f.progress, view.NewProgress(p))
	f.wake()
}

func (f *flight) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.wake()
}

// wake tells those who wait. The caller holds the lock.
func (f *flight) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// since returns the progress behind the first n, whether the flight is over, and what tells of the next change.
func (f *flight) since(n int) (progress []view.Progress, over bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n < len(f.progress) {
		progress = f.progress[n:len(f.progress):len(f.progress)]
	}
	return progress, f.over, f.changed
}
