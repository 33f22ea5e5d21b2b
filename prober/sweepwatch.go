package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober/sweep"
)

// SweepWatch makes a sweep one that somebody follows. It sends again what is not answered, takes of the room for unanswered flows only what
// it needs at a time, waiting where that is used up, and leaves out targets that cannot be sent to. Its functions are called one at a time.
type SweepWatch struct {
	// Repeats is how often an unanswered SYN is sent again, as a Linux host would: 1 s after the first, then 3 s, then 7 s (RFC 6298 §2, §5.5).
	Repeats int
	// Over is told of every probe in the order of the targets, as soon as it and those before it are over; at the end also of those that were
	// cut short, Pending or NotSent.
	Over func(sweep.Result)
	// LeftOut is told of each target that is not probed, and why, before anything is sent.
	LeftOut func(netip.AddrPort, error)
	// Progress is told some ten times a second.
	Progress func(SweepProgress)
}

// SweepProgress is how far a sweep has come.
type SweepProgress struct {
	Probes, Sent, Over int
	Elapsed            time.Duration // since the first SYN; 0: it still looks for the ways
	// Asking is how many neighbours have not answered for their link addresses yet.
	Asking int
	// Unanswered, where above 0, is how many flows without an answer keep the sweep from going on for now: Limits.Unanswered, within 120 s.
	Unanswered int
}

// MaxSweepRepeats bounds SweepWatch.Repeats.
const MaxSweepRepeats = 3

func (w *SweepWatch) check(how Transmit) error {
	switch {
	case w == nil:
	case how != TransmitPacket:
		return errors.New("without a capture there is nothing to follow")
	case w.Repeats < 0 || w.Repeats > MaxSweepRepeats:
		return fmt.Errorf("%d repeats; 0 to %d are possible", w.Repeats, MaxSweepRepeats)
	}
	return nil
}

// sweepTick is how often a watched sweep looks at what has come.
const sweepTick = 100 * time.Millisecond

// sweepSlack is how much of its rate a sweep makes up for when a busy host lets it wake late.
const sweepSlack = 20 * time.Millisecond

// course is a watched sweep under way. Its caller's goroutine does everything.
type course struct {
	*sweeper
	chunk int              // SYNs that are sent at a time
	pace  [2]*rate.Limiter // the sweep's own, and that of all
	free  time.Duration    // when what was sent is paid for
	lots  []lot
	next  int   // probe to be sent
	rungs []int // of each repeat: the lot whose turn comes next
	told  int   // probe to be told of
	lotOf int   // lot of told
	room  int   // flows that may be without an answer
	held  int   // at most so many are
	fresh int   // first lot whose flows still count among them
	tick  time.Duration
	drops uint64
	seen  uint64         // frames that the reader must have come to …
	asOf  time.Duration  // … before what was due then is over
	full  bool           // held at the room's limit
	sent  time.Duration  // when the latest probe was
	over  []sweep.Result // to be told
}

// watched is run for a sweep that somebody follows.
func (s *sweeper) watched(ctx context.Context) (*SweepReport, error) {
	room, release, err := s.engine.budget.reserveRoom(ctx, s.book.Len())
	if err != nil {
		return nil, err
	}
	e := s.engine
	c := &course{sweeper: s, room: room, rungs: make([]int, s.q.Watch.Repeats), drops: e.captureDrops()}
	c.chunk = s.q.chunk(e.budget.global)
	c.pace = [2]*rate.Limiter{rate.NewLimiter(rate.Limit(s.q.Rate), max(c.chunk, int(s.q.Rate*sweepSlack.Seconds()))), e.budget.global}
	e.sweeps.listen(s)
	before := c.drops
	r := &SweepReport{Started: time.Now(), Book: s.book}
	s.began = r.Started
	err = c.run(ctx)
	r.LastSent = s.began.Add(c.sent)
	e.drained()
	r.Finished = time.Now()
	r.CaptureDrops = e.captureDrops() - before
	c.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Ignored = s.ignored()
	release(c.unanswered(time.Since(s.began)))
	return r, err
}

// run goes on until every probe is over.
func (c *course) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c.told < c.book.Len() {
		until, err := c.step()
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		var all chan struct{}
		if c.next == c.book.Len() {
			all = c.all
		}
		timer.Reset(time.Until(c.began.Add(until)))
		select {
		case <-timer.C:
		case <-all:
			c.expire(0)
		case <-ctx.Done():
			return fmt.Errorf("sweep: %d of %d SYNs sent: %w", c.next, c.book.Len(), context.Cause(ctx))
		}
	}
	return nil
}

// step does what is due and returns when something is next.
func (c *course) step() (time.Duration, error) {
	now := time.Since(c.began)
	if now >= c.tick {
		if err := c.look(now); err != nil {
			return 0, err
		}
		c.tick = now + sweepTick
	}
	if c.free > now {
		return min(c.free, c.tick), nil
	}
	n, due, err := c.again(now)
	if err == nil && n == 0 {
		n, err = c.onward(now)
	}
	if err != nil || n == 0 {
		return min(due, c.tick), err
	}
	c.pay(n)
	return min(c.free, c.tick), nil
}

// pay takes the tokens of n SYNs that have just been sent: nothing more is until they are there.
func (c *course) pay(n int) {
	now := time.Now()
	for _, l := range c.pace {
		at := now
		for rest := n; rest > 0; {
			some := min(rest, l.Burst())
			at = now.Add(l.ReserveN(now, some).DelayFrom(now))
			rest -= some
		}
		c.free = max(c.free, at.Sub(c.began))
	}
}

// onward sends the next probes, as many as room permits, and returns how many.
func (c *course) onward(now time.Duration) (int, error) {
	some := min(c.chunk, c.book.Len()-c.next)
	if some == 0 {
		return 0, nil
	}
	if some = min(some, c.room-c.held); some <= 0 {
		return 0, nil // look counts anew
	}
	from := c.next
	c.next, c.held, c.sent = c.next+some, c.held+some, now
	err := c.volley(from, c.next)
	if k := len(c.lots) - 1; k >= 0 && c.lots[k].again == 0 && now-c.lots[k].first < lotTime {
		c.lots[k].to, c.lots[k].sent, c.lots[k].last = c.next, now, now
	} else {
		c.lots = append(c.lots, lot{from: from, to: c.next, first: now, sent: now, last: now})
	}
	c.lots[len(c.lots)-1].awaited += some
	c.refuse()
	return some, err
}

// refuse notes what a gun did not take; of a probe whose SYN left before nothing is known to have changed.
func (c *course) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.unsent {
		if c.book.Awaited(i) && c.book.Result(i).Again == 0 {
			c.book.Refuse(i)
			c.open--
		}
	}
	c.unsent = c.unsent[:0]
}

// look takes stock: what has been lost, what is over, how far it all is.
func (c *course) look(now time.Duration) error {
	e := c.engine
	if err := e.capturing(); err != nil {
		return fmt.Errorf("the capture ended: %w", err)
	}
	if d := e.captureDrops(); d != c.drops {
		c.drops = d
		for k := c.lotOf; k < len(c.lots); k++ {
			c.lots[k].blind = true
		}
	}
	if e.seen.Load() >= c.seen {
		c.expire(c.asOf)
		if st, err := e.tap.Stats(); err == nil {
			c.seen, c.asOf = st.Delivered(), now
		}
	}
	if c.full = c.next < c.book.Len() && c.room-c.held < c.chunk; c.full {
		c.mu.Lock()
		c.held = c.unanswered(now)
		c.mu.Unlock()
		c.full = c.held >= c.room
	}
	c.progress(now)
	return nil
}

// expire tells what is over: answered, or due before asOf.
func (c *course) expire(asOf time.Duration) {
	c.mu.Lock()
	for c.told+len(c.over) < c.next && len(c.over) < tellAtOnce {
		i := c.told + len(c.over)
		for c.lots[c.lotOf].to <= i {
			c.lotOf++
		}
		l := &c.lots[c.lotOf]
		if c.book.Awaited(i) {
			if l.again < len(c.rungs) || l.last+c.q.Wait > asOf {
				break
			}
			c.book.Expire(i, l.blind)
		}
		c.over = append(c.over, c.book.Result(i))
	}
	c.mu.Unlock()
	c.tell()
}

// tellAtOnce bounds how long the reader of the tap waits for it.
const tellAtOnce = 1 << 14

func (c *course) tell() {
	if tell := c.q.Watch.Over; tell != nil {
		for _, r := range c.over {
			tell(r)
		}
	}
	c.told += len(c.over)
	c.over = c.over[:0]
}

func (c *course) progress(now time.Duration) {
	tell := c.q.Watch.Progress
	if tell == nil {
		return
	}
	p := SweepProgress{Probes: c.book.Len(), Sent: c.next, Over: c.told, Elapsed: now}
	if c.full {
		p.Unanswered = c.held
	}
	tell(p)
}

// end tells of what is not over: nothing more is sent or awaited.
func (c *course) end() {
	c.mu.Lock()
	for i := c.next; i < c.book.Len(); i++ {
		c.book.Refuse(i)
	}
	c.mu.Unlock()
	for c.told < c.book.Len() {
		c.mu.Lock()
		for i := c.told; i < min(c.told+tellAtOnce, c.book.Len()); i++ {
			c.over = append(c.over, c.book.Result(i))
		}
		c.mu.Unlock()
		c.tell()
	}
	c.progress(time.Since(c.began))
}
