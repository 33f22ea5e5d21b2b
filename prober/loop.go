package prober

import (
	"container/heap"
	"context"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// timer is when a raw shot wants to act.
type timer struct {
	at   time.Time
	run  *run
	shot int32
	ping int32 // of a ping in place of a shot: its index, from 1
}

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) { *h = append(*h, x.(timer)) }

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = timer{}
	*h = old[:n]
	return t
}

// schedule sees to it that shot i acts when it next wants to. A timer of its that fires earlier is left to do so: it schedules anew. So
// a peer that makes a shot change its mind with every segment makes no heap of timers. The caller holds the lock.
func (e *engine) schedule(r *run, i int) {
	s := &r.shots[i]
	next, ok := s.conn.Next()
	if !ok || s.timed && s.next <= next {
		return
	}
	s.next, s.timed = next, true
	heap.Push(&e.timers, timer{at: s.first.Add(next), run: r, shot: int32(i)})
	if t := &e.timers[0]; t.run == r && t.shot == int32(i) && t.ping == 0 {
		e.kick()
	}
}

// kick wakes the sender loop when a timer was set that may be earlier than the one it waits for.
func (e *engine) kick() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// tick is how far ahead of its time a shot may be taken along with others, so that bursts of many targets share one system call.
const tick = time.Millisecond

// idle is how long the loop sleeps when there is nothing to send.
const idle = time.Hour

// loop sends what is due, until ctx ends.
func (e *engine) loop(ctx context.Context) {
	wait := time.NewTimer(idle)
	defer wait.Stop()
	out := newOutbox()
	for {
		e.cycle.Lock()
		next := e.fire(out)
		e.flush(out)
		e.cycle.Unlock()
		wait.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		case <-e.wake:
		}
	}
}

// fire steps every shot that is due and returns how long until the next is.
func (e *engine) fire(out *outbox) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.timers) > 0 && !out.full() {
		t := e.timers[0]
		now := time.Now()
		if ahead := t.at.Sub(now); ahead > 0 && (ahead > tick || out.empty()) {
			return ahead
		}
		heap.Pop(&e.timers)
		switch {
		case e.runs[t.run.slot] != t.run:
		case t.ping > 0:
			e.duePing(t.run, int(t.ping)-1, now, out)
		default:
			e.due(t, now, out)
		}
	}
	if len(e.timers) == 0 {
		return idle
	}
	return max(0, time.Until(e.timers[0].at))
}

// due lets the shot of a timer act. The caller holds the lock.
func (e *engine) due(t timer, now time.Time, out *outbox) {
	s := &t.run.shots[t.shot]
	at := t.at.Sub(s.first)
	if !s.open || !s.timed || at != s.next {
		return // an earlier timer has done its work
	}
	s.timed = false
	if next, ok := s.conn.Next(); ok && next <= at {
		t.run.lag = max(t.run.lag, now.Sub(t.at))
	}
	if s.conn.SYNs() == 0 && now.After(s.first) {
		s.first, at = now, 0 // the ladder counts from the first SYN as it leaves, however late
	}
	e.act(t.run, int(t.shot), now, s.conn.Step(max(now.Sub(s.first), at), nil, out.scratch()), out)
}

// act puts what a shot wants to send into the outbox and sets its next timer. The caller holds the lock.
func (e *engine) act(r *run, i int, now time.Time, sends []handshake.Send, out *outbox) {
	s := &r.shots[i]
	for k := range sends {
		if sends[k].SYN >= 0 {
			r.corr.Handed(i, now, sends[k].TSval, sends[k].HasTS)
		}
		if sends[k].SYN == 0 {
			r.begin()
		}
		if err := out.add(s, r.script(i), &sends[k], r, i); err != nil && sends[k].SYN >= 0 {
			e.unsent(r, i, sends[k].SYN, err.Error(), false)
		}
	}
	out.keep(sends)
	r.closed(s)
	if s.conn.Settled() {
		r.settle(s)
		return
	}
	e.schedule(r, i)
}

// unsent notes that the kernel did not take a SYN. Where that was the first, and no other could fare better, the shot is over. The caller
// holds the lock.
func (e *engine) unsent(r *run, i, syn int, why string, dropped bool) {
	r.corr.Refused(i, syn, why, dropped)
	if syn == 0 && !dropped {
		r.settle(&r.shots[i])
	}
}

// stop ends every raw shot of a run: what is open is reset, and what the sender loop has taken on is sent before.
func (e *engine) stop(r *run) {
	if !r.hasRaw() {
		return
	}
	e.endPings(r)
	out := newOutbox()
	e.cycle.Lock()
	defer e.cycle.Unlock()
	now := time.Now()
	for i := range r.shots {
		e.mu.Lock()
		if e.runs[r.slot] == r {
			e.stopShot(r, i, now, out)
		}
		e.mu.Unlock()
		if out.full() {
			e.flush(out)
		}
	}
	e.flush(out)
}

func (r *run) hasRaw() bool {
	for _, g := range r.groups {
		if g.raws > 0 {
			return true
		}
	}
	return false
}

func (e *engine) stopShot(r *run, i int, now time.Time, out *outbox) {
	s := &r.shots[i]
	if s.rec < 0 || !s.raw {
		return
	}
	unheard := s.conn.State() == handshake.SynSent && e.noTap != nil
	sends := s.conn.Stop(now.Sub(s.first), out.scratch())
	if unheard {
		// Nobody would see its SYN-ACK any more: reset what the listener may hold.
		sends = append(sends, handshake.Send{Flags: wire.RST, Seq: e.flows.records[s.rec].iss + 1, SYN: -1})
	}
	e.act(r, i, now, sends, out)
	r.settle(s)
}
