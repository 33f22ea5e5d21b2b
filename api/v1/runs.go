package v1

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/results"
)

// work is what a run does.
type work struct {
	asked   view.RunRequest
	request []byte // the same as JSON
	// same is equal for runs that can be one.
	same string
	do   func(ctx context.Context, progress func(prober.Progress)) ([]prober.Round, error)
}

// runs are those under way, and the last ones that ended. It is safe for concurrent use.
type runs struct {
	store *results.Store
	rec   *record.Recorder
	max   int
	wg    sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	handles map[string]*handle
	ended   []string // the oldest first
	flights map[string]*flight
	keys    map[string]string // idempotency keys of the handles
}

// handle is one caller's run. Several that asked the same at once share a flight.
type handle struct {
	run    results.Run
	asked  view.RunRequest
	flight *flight
}

// keptRuns is how many runs that ended are remembered outside of the store, with their progress.
const keptRuns = 256

func newRuns(store *results.Store, rec *record.Recorder, most int) *runs {
	return &runs{store: store, rec: rec, max: most, handles: map[string]*handle{}, flights: map[string]*flight{}, keys: map[string]string{}}
}

// newID is an id whose order is that of time: milliseconds since 1970, then 80 random bits.
func newID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16|uint64(binary.BigEndian.Uint16(b[6:8])))
	return hex.EncodeToString(b[:])
}

var (
	errBusy   = errors.New("as many runs are under way as may be at once")
	errEnding = errors.New("the service is ending")
)

// keyError says that an idempotency key names another request.
type keyError struct{ run string }

func (e *keyError) Error() string { return "it was used for another body, by run " + e.run }

// start begins a run, or joins the one that does the same now. The key is the caller's own name of the request, "" for none: where it is known,
// its run is returned, and again is true, or a *keyError where it was asked for something else.
func (r *runs) start(w work, key string) (v view.Run, again bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.handles[r.keys[key]]; h != nil && key != "" {
		if string(h.run.Request) != string(w.request) {
			return view.Run{}, false, &keyError{h.run.ID}
		}
		return view.NewRun(&h.run, h.asked), true, nil
	}
	v, err = r.begin(w, key)
	return v, false, err
}

// begin makes a run. The caller holds the lock.
func (r *runs) begin(w work, key string) (view.Run, error) {
	f := r.flights[w.same]
	switch {
	case r.closed:
		return view.Run{}, errEnding
	case f == nil && len(r.flights) >= r.max, len(r.handles)-len(r.ended) >= 16*r.max:
		return view.Run{}, errBusy
	}
	now := time.Now()
	h := &handle{asked: w.asked, run: results.Run{ID: newID(now), Created: now, State: results.Running, Request: w.request, IdempotencyKey: key}}
	if f != nil {
		h.run.Of = f.id
	} else {
		f = r.launch(h.run.ID, w)
	}
	h.flight = f
	f.waiters++
	r.handles[h.run.ID] = h
	if key != "" {
		r.keys[key] = h.run.ID
	}
	r.store.PutRun(h.run)
	return view.NewRun(&h.run, h.asked), nil
}

// launch begins a flight. The caller holds the lock.
func (r *runs) launch(id string, w work) *flight {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{id: id, same: w.same, cancel: cancel, changed: make(chan struct{})}
	r.flights[w.same] = f
	r.wg.Go(func() {
		defer cancel()
		rounds, err := f.fly(ctx, w)
		r.land(f, rounds, err)
	})
	return f
}

// land keeps what a flight brought, and tells everybody who waits for it, once it can be read.
func (r *runs) land(f *flight, rounds []prober.Round, err error) {
	r.rec.Asked(f.id, rounds)
	r.written()
	r.settle(f, err)
	r.written()
	f.finish()
}

// written waits until the store has written what it was given; it takes a batch.
func (r *runs) written() {
	patience, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	_ = r.store.Flush(patience) // what could not be written is counted there
}

// settle ends the runs of a flight that nobody cancelled.
func (r *runs) settle(f *flight, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flights[f.same] == f {
		delete(r.flights, f.same)
	}
	state := results.Done
	if r.closed {
		state = results.Interrupted
	}
	for _, h := range r.handles {
		if h.flight != f || h.run.State != results.Running {
			continue
		}
		if err != nil {
			h.run.Error, h.run.ErrorKind = err.Error(), string(view.KindOf(err))
		}
		r.end(h, state)
	}
}

// end notes how a run ended. The caller holds the lock.
func (r *runs) end(h *handle, state results.State) {
	h.run.State, h.run.Finished = state, time.Now()
	r.store.PutRun(h.run)
	r.ended = append(r.ended, h.run.ID)
	for len(r.ended) > keptRuns {
		if old := r.handles[r.ended[0]]; old != nil {
			delete(r.keys, old.run.IdempotencyKey)
		}
		delete(r.handles, r.ended[0])
		r.ended = slices.Delete(r.ended, 0, 1)
	}
}

// cancel ends one caller's run; the flight goes on as long as another waits for it. It reports whether the run was under way.
func (r *runs) cancel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.handles[id]
	if h == nil || h.run.State != results.Running {
		return false
	}
	r.end(h, results.Cancelled)
	f := h.flight
	if f.waiters--; f.waiters > 0 {
		return true
	}
	if r.flights[f.same] == f {
		delete(r.flights, f.same) // nobody joins it any more
	}
	f.cancel()
	return true
}

// get returns a run that is remembered here, with its flight.
func (r *runs) get(id string) (results.Run, view.RunRequest, *flight, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.handles[id]
	if h == nil {
		return results.Run{}, view.RunRequest{}, nil, false
	}
	return h.run, h.asked, h.flight, true
}

// active is how many flights are under way.
func (r *runs) active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights)
}

func (r *runs) close() {
	r.mu.Lock()
	r.closed = true
	for _, h := range r.handles {
		h.flight.cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
