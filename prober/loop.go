package prober

import (
	"container/heap"
	"context"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
)

// timer is when a raw shot wants to act.
type timer struct {
	at   time.Time
	run  *run
	shot int32
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

func (h *timerHeap) push(t timer) { heap.Push(h, t) }

// tick is how far ahead of its time a shot may be taken along with others, so that bursts of many targets share one system call.
const tick = time.Millisecond

// loop sends what is due, until ctx ends.
func (e *engine) loop(ctx context.Context) {
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	out := newOutbox()
	for {
		next := e.fire(out)
		e.flush(out)
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
		s := &t.run.shots[t.shot]
		if !s.open || e.runs[t.run.slot] != t.run {
			continue
		}
		t.run.lag = max(t.run.lag, now.Sub(t.at))
		e.act(t.run, int(t.shot), now, s.conn.Step(max(now.Sub(s.first), t.at.Sub(s.first)), nil, out.scratch()), out)
	}
	if len(e.timers) == 0 {
		return time.Hour
	}
	return max(0, time.Until(e.timers[0].at))
}

// act puts what a shot wants to send into the outbox and sets its next timer. The caller holds the lock.
func (e *engine) act(r *run, i int, now time.Time, sends []handshake.Send, out *outbox) {
	s := &r.shots[i]
	flow := r.corr.Observation().Attempts[i].Flow
	script := &r.burst.Arms[r.burst.Shots[i].Arm].Script
	for k := range sends {
		if sends[k].SYN >= 0 {
			r.corr.Handed(i, now, sends[k].TSval, sends[k].HasTS)
		}
		out.add(s.path, flow, script, &sends[k], r, i)
	}
	if s.conn.Settled() {
		r.settle(s)
		return
	}
	if next, ok := s.conn.Next(); ok {
		e.timers.push(timer{at: s.first.Add(next), run: r, shot: int32(i)})
		e.kick()
	}
}

// stop ends every raw shot of a run: what is open is reset.
func (e *engine) stop(r *run) {
	out := newOutbox()
	e.mu.Lock()
	now := time.Now()
	for i := range r.shots {
		s := &r.shots[i]
		if s.rec < 0 || !s.raw {
			continue
		}
		flow := r.corr.Observation().Attempts[i].Flow
		script := &r.burst.Arms[r.burst.Shots[i].Arm].Script
		sends := s.conn.Stop(now.Sub(s.first), out.scratch())
		for k := range sends {
			out.add(s.path, flow, script, &sends[k], r, i)
		}
		r.settle(s)
		if out.full() {
			e.mu.Unlock()
			e.flush(out)
			e.mu.Lock()
		}
	}
	e.mu.Unlock()
	e.flush(out)
}
