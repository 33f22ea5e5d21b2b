package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// execute fires the shots and waits until all are settled, listening is over, or ctx ends.
func (e *engine) execute(ctx context.Context, r *run) {
	start := time.Now()
	var conns, moving []kdial.Conn
	e.mu.Lock()
	for i := range r.shots {
		s := &r.shots[i]
		switch {
		case !s.open:
		case s.raw:
			s.first = r.due(i, start)
			e.schedule(r, i)
		case s.trace != nil:
			moving = append(moving, r.connect(i))
		default:
			conns = append(conns, r.connect(i))
		}
	}
	e.schedulePings(r, start)
	if r.open == 0 {
		r.finish()
	}
	e.mu.Unlock()
	if len(moving) > 0 {
		e.transfers(ctx, r, moving)
	}
	if len(conns) > 0 {
		e.dial(ctx, r, conns)
	}
	e.wait(ctx, r, start)
}

// connect is the kernel's part of shot i.
func (r *run) connect(i int) kdial.Conn {
	s, script := &r.shots[i], r.script(i)
	src := netip.AddrPortFrom(netip.Addr{}, s.flow.Src.Port())
	if s.path.bound {
		src = s.flow.Src
	}
	return kdial.Conn{Index: i, Src: src, Dst: s.flow.Dst, Offset: r.burst.Shots[i].Offset, Close: script.Then.Close,
		HopLimit: script.HopLimit, ToS: script.ToS, Interface: s.path.iface}
}

// dial makes the kernel's connects. The flow table knows each before its SYN leaves.
func (e *engine) dial(ctx context.Context, r *run, conns []kdial.Conn) {
	started := func(i int, local netip.AddrPort, _ time.Time) { e.starts(r, i, local) }
	done := func(res kdial.Result) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if res.Outcome == observe.OutcomeUnknown && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			res.Outcome, res.Reason = observe.TimedOut, timeOver
		}
		if res.Outcome == observe.NotSent {
			r.corr.NotSent(res.Index, res.Reason)
		}
		r.corr.Kernel(res.Index, res.View, res.Outcome, res.Reason)
		r.settle(&r.shots[res.Index])
	}
	listen := max(r.burst.Listen, time.Nanosecond) // 0 would leave the end to the kernel
	if err := e.dialer.Run(ctx, conns, listen, started, done); err != nil && ctx.Err() == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		obs := r.corr.Observation()
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("the connect loop ended early: %v", err))
	}
}

// settle notes that a shot needs nothing more. The caller holds the engine's lock.
func (r *run) settle(s *liveShot) {
	if !s.open {
		return
	}
	s.open = false
	r.open--
	if r.open == 0 {
		r.finish()
	}
}

// closed notes a connection that both sides have closed; with enough of them the burst is over. The caller holds the engine's lock.
func (r *run) closed(s *liveShot) {
	if s.ended || s.conn.State() != handshake.Closed {
		return
	}
	s.ended = true
	if r.ended++; r.ended == r.burst.Enough && r.open > 0 {
		r.corr.Cut(false, observe.EnoughClosed)
		r.finish()
	}
}

// finish ends the wait for the burst, once. The caller holds the engine's lock.
func (r *run) finish() {
	if !r.over {
		r.over = true
		close(r.done)
	}
}

// wait lets the burst run out, then resets what is still open and lets the ring deliver its last frames.
func (e *engine) wait(ctx context.Context, r *run, start time.Time) {
	deadline := start.Add(r.burst.Span())
	done := r.done
	if r.burst.Linger {
		done = nil
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-done:
		if r.burst.Trail {
			trail(ctx, min(plan.TrailTime(time.Since(start)), time.Until(deadline)))
		}
	case <-t.C:
	case <-ctx.Done():
		r.broken = context.Cause(ctx)
	}
	e.stop(r)
	e.drain(r)
}

// trail waits d, or until ctx ends: the shots are settled, so what is cut off then is no attempt.
func trail(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// How long the reader of the ring may take to come to what had been captured when a burst ended, and how often it is looked at.
const (
	drainTime = 2 * time.Second
	drainTick = 500 * time.Microsecond
)

// drain waits until the reader has seen every frame that the kernel has captured by now.
func (e *engine) drain(r *run) {
	if missing := e.drained(); missing > 0 {
		e.behind(r, missing)
	}
}

// drained waits like drain and returns how many frames the reader had not come to in time.
func (e *engine) drained() (missing uint64) {
	if e.tap == nil {
		return 0
	}
	st, err := e.tap.Stats()
	if err != nil {
		return 0
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	end := time.Now().Add(drainTime)
	for e.seen.Load() < st.Delivered() {
		if e.capturing() != nil {
			return 0
		}
		if time.Now().After(end) {
			return st.Delivered() - e.seen.Load()
		}
		<-tick.C
	}
	return 0
}

// behind notes that a burst ended before its last frames were read.
func (e *engine) behind(r *run, frames uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	obs := r.corr.Observation()
	obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("the capture was %d frames behind when the burst ended", frames))
	r.corr.Stray(observe.CaptureBehind)
	r.unread = frames // as unseen as frames that the ring lost: nothing may be concluded from their absence
}
