package prober

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// gun is what a sweep needs of a sender of packets.
type gun interface {
	Slot() []byte
	Add(n int) int
	Full() bool
	Len() int
	Flush() (bad []int, err error)
	Close() error
}

var (
	_ gun = (*rawsock.TxRing)(nil)
	_ gun = (*rawsock.Volley)(nil)
	_ gun = (*rawsock.XDP)(nil)
)

// sweeper is one sweep under way: its caller's goroutine sends SYNs by guns, the reader of the tap resets by returns.
type sweeper struct {
	engine *engine
	q      SweepRequest
	book   *sweep.Book
	guns   []gun
	loaded [][]int // of each gun: the probes in its slots
	ports  []sweepPort
	unsent []int // probes that a gun did not take
	began  time.Time
	faded  time.Time // when nobody hears late SYN-ACKs any more; zero: it is under way. Guarded by sweeps.mu

	mu      sync.Mutex // guards what follows, and the book once it sweeps
	returns []gun
	counts  map[string]uint64
	by      [16]uint64 // by sweep.Disposition
	owed    bool       // resets wait to be sent
	open    int        // probes without an answer
	all     chan struct{}
	seg     wire.Segment
}

// sweepPort is a source port of a sweep's.
type sweepPort struct {
	want want
	port uint16
}

// run sends everything and waits for the answers.
func (s *sweeper) run(ctx context.Context) (*SweepReport, error) {
	e := s.engine
	release, err := e.budget.reserveSweep(ctx, s.book.Len())
	if err != nil {
		return nil, err
	}
	drops := e.captureDrops()
	if s.q.Transmit == TransmitPacket {
		e.sweeps.listen(s)
	}
	r := &SweepReport{Started: time.Now(), Book: s.book}
	s.began = r.Started
	err = s.send(ctx)
	r.LastSent = time.Now()
	if s.q.Transmit == TransmitPacket {
		s.await(ctx)
		e.drained()
	}
	r.Finished = time.Now()
	r.CaptureDrops = e.captureDrops() - drops
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.unsent {
		s.book.Refuse(i)
	}
	r.Ignored = s.ignored()
	release(s.open - len(s.unsent))
	return r, err
}

// ignored is what was done with frames that were no first answer.
func (s *sweeper) ignored() map[string]uint64 {
	m := maps.Clone(s.counts)
	for d, n := range s.by {
		if d := sweep.Disposition(d); n > 0 && d != sweep.Left && d != sweep.First {
			m[d.String()] = n
		}
	}
	return m
}

// send hands over every SYN at the pace of the limits.
func (s *sweeper) send(ctx context.Context) error {
	global := s.engine.budget.global
	chunk := s.q.chunk(global)
	own := rate.NewLimiter(rate.Limit(s.q.Rate), chunk)
	for next, n := 0, s.book.Len(); next < n; {
		some := min(chunk, n-next)
		if err := errors.Join(own.WaitN(ctx, some), global.WaitN(ctx, some)); err != nil {
			s.skip(next, n)
			return fmt.Errorf("sweep: %d of %d SYNs sent: %w", next, n, err)
		}
		if err := s.volley(next, next+some); err != nil {
			s.skip(next+some, n)
			return fmt.Errorf("sweep: %w", err)
		}
		next += some
	}
	return nil
}

func (s *sweeper) skip(from, to int) {
	for i := from; i < to; i++ {
		s.unsent = append(s.unsent, i)
	}
}

// volley sends the probes from … to.
func (s *sweeper) volley(from, to int) error {
	since := time.Since(s.began)
	var errs []error
	for i := from; i < to; i++ {
		w := s.book.Way(i)
		g := s.guns[w.Gun]
		b := g.Slot()
		copy(b, w.Link[:])
		g.Add(s.book.Put(b[rawsock.LinkRoom:], i, since))
		s.loaded[w.Gun] = append(s.loaded[w.Gun], i)
		if g.Full() {
			errs = append(errs, s.flush(w.Gun))
		}
	}
	for k := range s.guns {
		if s.guns[k].Len() > 0 {
			errs = append(errs, s.flush(k))
		}
	}
	return errors.Join(errs...)
}

func (s *sweeper) flush(k int) error {
	bad, err := s.guns[k].Flush()
	for _, slot := range bad {
		s.unsent = append(s.unsent, s.loaded[k][slot])
	}
	s.loaded[k] = s.loaded[k][:0]
	return err
}

// await waits for the answers.
func (s *sweeper) await(ctx context.Context) {
	t := time.NewTimer(s.q.Wait)
	defer t.Stop()
	select {
	case <-s.all:
	case <-t.C:
	case <-ctx.Done():
	}
}

// take gives a TCP segment of our ports to the book.
func (s *sweeper) take(f *rawsock.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := wire.ParseHeader(f.Net, &s.seg); r != wire.ReasonNone {
		s.counts["tcp_"+r.String()]++
		return
	}
	if f.Outgoing {
		s.by[s.book.Outgoing(&s.seg, f.At)]++
		return
	}
	if f.Unsummed && s.seg.Checksum == wire.ChecksumBad {
		s.seg.Checksum = wire.ChecksumPartial
	}
	i, d, reset := s.book.Incoming(&s.seg, f.At)
	s.note(d)
	if reset {
		s.reset(i)
	}
}

func (s *sweeper) note(d sweep.Disposition) {
	s.by[d]++
	if d != sweep.First {
		return
	}
	if s.open--; s.open == 0 {
		close(s.all)
	}
}

// reset answers a SYN-ACK of probe i. The caller holds the lock.
func (s *sweeper) reset(i int) {
	w := s.book.Way(i)
	if w.Gun >= len(s.returns) {
		s.counts["syn_ack_unanswered"]++
		return
	}
	g := s.returns[w.Gun]
	b := g.Slot()
	copy(b, w.Link[:])
	g.Add(s.book.PutReset(b[rawsock.LinkRoom:], i))
	s.owed = true
	if g.Full() {
		s.returnAll(g)
	}
}

// flushResets sends the resets that a block of the ring has called for.
func (s *sweeper) flushResets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owed {
		return
	}
	s.owed = false
	for _, g := range s.returns {
		if g.Len() > 0 {
			s.returnAll(g)
		}
	}
}

func (s *sweeper) returnAll(g gun) {
	bad, err := g.Flush()
	if len(bad) > 0 || err != nil {
		s.counts["reset_not_sent"] += uint64(max(len(bad), 1))
	}
}

// icmp takes an ICMP error that quotes a segment of our ports.
func (s *sweeper) icmp(m *wire.ICMPError, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := (observe.Answer{ICMPType: m.Type, ICMPCode: m.Code, From: m.From}); !a.Ends() {
		s.counts["icmp_that_ends_nothing"]++
		return
	}
	s.note(s.book.Unreachable(m, at))
}

// close ends the sending. Late SYN-ACKs are still reset for a while.
func (s *sweeper) close() {
	for _, g := range s.guns {
		_ = g.Close() // frees the descriptor whatever it returns (close(2))
	}
	for _, p := range s.ports {
		s.engine.ports.done(p.want, p.port)
	}
	if !slices.Contains(s.engine.sweeps.current(), s) {
		holster([]*sweeper{s})
		return
	}
	s.engine.sweeps.fade(s)
}

// holster takes from sweeps that nobody listens to any more what they reset with.
func holster(gone []*sweeper) {
	for _, s := range gone {
		s.mu.Lock()
		for _, g := range s.returns {
			_ = g.Close() // frees the descriptor whatever it returns (close(2))
		}
		s.returns = nil
		s.mu.Unlock()
	}
}
