package results

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// queueLength bounds how many entries wait to be written; Options.QueueBytes bounds what they weigh.
const queueLength = 1 << 15

// item is one thing for the writer to do.
type item struct {
	entry *Entry
	run   *Run
	size  int64
	seq   uint64 // in the spool; 0: it is not there
	// written is closed once all that came before is in the file.
	written chan struct{}
}

// Dropped says why something was not kept.
type Dropped string

// DroppedQueue: more came than could be written. DroppedSeries: there are too many targets and addresses. DroppedError: it could not be
// written.
const (
	DroppedQueue  Dropped = "queue"
	DroppedSeries Dropped = "series"
	DroppedError  Dropped = "error"
)

// Drops lists every reason.
func Drops() []Dropped { return []Dropped{DroppedQueue, DroppedSeries, DroppedError} }

// Stats are what the Store has done since it was opened, but for QueueBytes and Bytes, which are as of now.
type Stats struct {
	Added   uint64 // entries and runs that were taken
	Written uint64 // of these, that are in the file
	Dropped map[Dropped]uint64
	Batches uint64
	// BatchTime is what all batches took to be written, Slowest the slowest of them.
	BatchTime, Slowest time.Duration
	// QueueBytes wait to be written. Bytes are kept, free pages apart, and as of the last second.
	QueueBytes, Bytes int64
	// Removed counts rows that age or size removed.
	Removed uint64
	// Recovered counts what a process that was killed had taken and not written, and this one has.
	Recovered uint64
}

type counts struct {
	added, written, batches, removed, recovered atomic.Uint64
	batchNS, slowestNS, queued                  atomic.Int64
	bytes                                       atomic.Int64
	dropped                                     [3]atomic.Uint64
}

func (c *counts) drop(why Dropped, n int) {
	for i, d := range Drops() {
		if d == why {
			c.dropped[i].Add(uint64(n))
		}
	}
}

// Stats tells how the Store fares.
func (s *Store) Stats() Stats {
	c := &s.counts
	out := Stats{Added: c.added.Load(), Written: c.written.Load(), Batches: c.batches.Load(), BatchTime: time.Duration(c.batchNS.Load()),
		Slowest: time.Duration(c.slowestNS.Load()), QueueBytes: c.queued.Load(), Bytes: c.bytes.Load(), Removed: c.removed.Load(), Recovered: c.recovered.Load(), Dropped: map[Dropped]uint64{}}
	for i, d := range Drops() {
		out.Dropped[d] = c.dropped[i].Load()
	}
	return out
}

// ids gives numbers that grow with the clock, in microseconds since 1970, and never repeat: also not where rows before were removed, or
// the clock was set back while the process ran.
type ids struct {
	mu   sync.Mutex
	last int64
}

func (i *ids) next(now time.Time) int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = max(i.last+1, now.UnixMicro())
	return i.last
}

// Add takes a finished round and returns at once. The id is that of its row, 0 where it has none. Where the queue is full it is left out and
// counted, and false is returned.
func (s *Store) Add(e Entry) (id int64, ok bool) {
	if e.Keep {
		e.ID = s.ids.next(time.Now())
	}
	if !s.put(item{entry: &e, size: e.size()}) {
		return 0, false
	}
	return e.ID, true
}

// PutRun takes the state of a run, new or as it is now.
func (s *Store) PutRun(r Run) bool {
	return s.put(item{run: &r, size: 512 + int64(len(r.Request)+len(r.Error))})
}

func (s *Store) put(it item) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.counts.queued.Add(it.size) > s.opts.QueueBytes {
		s.unqueue(it)
		return false
	}
	select {
	case s.in <- it:
		s.counts.added.Add(1)
		return true
	default:
		s.unqueue(it)
		return false
	}
}

// unqueue takes back what could not be queued.
func (s *Store) unqueue(it item) {
	if !s.closed {
		s.counts.queued.Add(-it.size)
	}
	s.counts.drop(DroppedQueue, 1)
}

// errClosed is what a closed Store says.
var errClosed = errors.New("the results are closed")

// Flush waits until all that was added is written, or could not be.
func (s *Store) Flush(ctx context.Context) error {
	it := item{written: make(chan struct{})}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return errClosed
	}
	select {
	case s.in <- it:
		s.mu.RUnlock()
	case <-ctx.Done():
		s.mu.RUnlock()
		return ctx.Err()
	}
	select {
	case <-it.written:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
