package results

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
)

// spoolLimit is how large a spool file may be, in octets, when the other one can be used again.
const spoolLimit = 4 << 20

// spool keeps what is not in the results file yet, in two files beside it that are used in turn: an entry is one write(2) away from surviving the
// process, however long the database takes over a transaction, a checkpoint or making room. What the database has is known by a sequence
// number that each transaction stores along with it, so that nothing is kept twice. Both files together are as large as what waits to be
// written, Options.QueueBytes, and twice spoolLimit at most.
type spool struct {
	files [2]*os.File
	// size is how long a file is as far as it is good, last the highest sequence number in it.
	size [2]int64
	last [2]uint64
	now  int // the file that is written to
	mark uint64
	seq  uint64
	// settled is up to where entries are in the database, or were given up. The writer sets it.
	settled atomic.Uint64
	stored  uint64 // up to where the database has them; the writer's own
	buf     []byte
}

// openSpool opens or makes the files beside path, and returns what the process before has left, as far as its sequence number is behind committed, and how many
// records cannot be read.
func openSpool(path string, mark, committed uint64) (_ *spool, left []item, unread int, err error) {
	s := &spool{mark: mark, seq: committed, stored: committed}
	for i := range s.files {
		f, err := os.OpenFile(fmt.Sprintf("%s-spool%d", path, i), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, nil, 0, errors.Join(fmt.Errorf("open the spool of the results: %w", err), s.close())
		}
		s.files[i] = f
		content, err := io.ReadAll(f)
		if err != nil {
			return nil, nil, 0, errors.Join(fmt.Errorf("read the spool of the results: %w", err), s.close())
		}
		items, bad := parseSpool(content, mark, committed)
		left, unread = append(left, items...), unread+bad
	}
	slices.SortFunc(left, func(a, b item) int { return cmp.Compare(a.seq, b.seq) })
	if n := len(left); n > 0 {
		s.seq = left[n-1].seq
	}
	return s, left, unread, nil
}

// begin makes both files empty: what was left in them is in the database.
func (s *spool) begin() error {
	s.settled.Store(s.seq)
	s.stored = s.seq
	for i := range s.files {
		if err := s.empty(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) empty(i int) error {
	f := s.files[i]
	head := appendSpoolHead(nil, s.mark)
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("empty the spool of the results: %w", err)
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return fmt.Errorf("begin the spool of the results: %w", err)
	}
	s.size[i], s.last[i] = int64(len(head)), 0
	return nil
}

// put numbers items and writes them. Where it cannot, the file ends as it did, so that what is written later can be read.
func (s *spool) put(batch []item) error {
	s.buf = s.buf[:0]
	for i := range batch {
		if it := &batch[i]; it.written == nil {
			s.seq++
			it.seq = s.seq
			var err error
			if s.buf, err = appendRecord(s.buf, it); err != nil {
				return fmt.Errorf("spool of the results: %w", err)
			}
		}
	}
	if len(s.buf) == 0 {
		return nil
	}
	if other := 1 - s.now; s.size[s.now] > spoolLimit && s.last[other] <= s.settled.Load() {
		if err := s.empty(other); err != nil {
			return err
		}
		s.now = other
	}
	f, end := s.files[s.now], s.size[s.now]
	if _, err := f.WriteAt(s.buf, end); err != nil {
		return errors.Join(fmt.Errorf("write to the spool of the results: %w", err), f.Truncate(end))
	}
	s.size[s.now], s.last[s.now] = end+int64(len(s.buf)), s.seq
	if cap(s.buf) > spoolLimit {
		s.buf = nil
	}
	return nil
}

// close ends it, and removes the files where nothing is in them that is not in the database.
func (s *spool) close() error {
	var errs []error
	for _, f := range s.files {
		if f == nil {
			continue
		}
		if errs = append(errs, f.Close()); s.stored == s.seq {
			errs = append(errs, os.Remove(f.Name()))
		}
	}
	return errors.Join(errs...)
}

// readMark returns what tells this file's spool from that of another, and up to where the file has what was spooled.
func (s *Store) readMark(ctx context.Context) (mark, committed uint64, err error) {
	var m, seq int64
	err = s.w.QueryRowContext(ctx, `INSERT INTO spooled (id, mark, seq) VALUES (1, ?, 0) ON CONFLICT (id) DO UPDATE SET id = 1 RETURNING mark, seq`, rand.Int64()).Scan(&m, &seq)
	if err != nil {
		return 0, 0, fmt.Errorf("read the mark of %s: %w", s.opts.Path, err)
	}
	return uint64(m), uint64(seq), nil
}

// unspool opens the spool and puts what a killed process has left in it into the database.
func (s *Store) unspool(ctx context.Context) error {
	mark, committed, err := s.readMark(ctx)
	if err != nil {
		return err
	}
	var left []item
	var unread int
	if s.spool, left, unread, err = openSpool(s.opts.Path, mark, committed); err != nil {
		return err
	}
	if unread > 0 {
		s.opts.OnError(fmt.Errorf("%d results that the process before had not stored yet cannot be read from the spool of %s: they are lost", unread, s.opts.Path))
	}
	w := &writer{s: s, series: map[Key]*seriesRow{}}
	for part := range slices.Chunk(left, batchItems) {
		lines, lost, err := w.transact(ctx, part)
		if err != nil {
			return fmt.Errorf("keep what the spool of %s holds: %w", s.opts.Path, err)
		}
		s.fold.add(lines)
		s.counts.drop(DroppedSeries, lost)
	}
	s.counts.recovered.Store(uint64(len(left)))
	return s.spool.begin()
}

// spoolAll is the one goroutine that spools: what has come is written in one go, and handed to the writer. It ends when in is closed and empty.
func (s *Store) spoolAll() {
	defer close(s.todo)
	var batch []item
	failing := false
	for it := range s.in {
		batch = s.waiting(append(batch[:0], it))
		err := s.spool.put(batch)
		if err != nil && !failing { // the database gets it all the same
			s.opts.OnError(fmt.Errorf("a kill would now lose what waits to be written: %w", err))
		}
		if lastOf(batch) > 0 { // else there was nothing to write
			failing = err != nil
		}
		for i := range batch {
			s.todo <- batch[i]
		}
		clear(batch)
	}
}

// waiting adds what has come meanwhile.
func (s *Store) waiting(batch []item) []item {
	size := int64(0)
	for len(batch) < batchItems && size < batchBytes {
		select {
		case it, more := <-s.in:
			if !more {
				return batch
			}
			batch, size = append(batch, it), size+it.size
		default:
			return batch
		}
	}
	return batch
}

// lastOf is the highest sequence number of a batch; 0: none of it was spooled.
func lastOf(batch []item) (last uint64) {
	for i := range batch {
		last = max(last, batch[i].seq)
	}
	return last
}

// settle notes that a batch was written, or given up: the spool need not keep it any more.
func (s *Store) settle(batch []item, written bool) {
	last := lastOf(batch)
	if s.spool == nil || last == 0 {
		return
	}
	if written {
		s.spool.stored = last
	}
	s.spool.settled.Store(last)
}
