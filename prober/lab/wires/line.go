package wires

import (
	"cmp"
	"container/heap"
	"time"
)

// Departure is a packet that a Stage lets go, at a time that is not before now.
type Departure struct {
	Packet Packet
	At     time.Time
}

// Stage is one thing that happens on a wire: a state machine that gets packets of both directions in order of time, and
// says what becomes of each: nothing, the packet, an edited one, several, later.
type Stage interface {
	Pass(now time.Time, p Packet) []Departure
}

// Waker is a Stage that also acts by itself: Fire is called at the time that Wake names, as early as that, or later.
type Waker interface {
	Wake() (time.Time, bool)
	Fire(now time.Time) []Departure
}

// pass is the departure of one packet at once.
func pass(now time.Time, p Packet) []Departure { return []Departure{{p, now}} }

// Line is a wire's stages in series, from the outside in: an In packet meets the first stage first, an Out packet the last.
// It is a pure event queue: whoever owns it tells the time.
type Line struct {
	stages []Stage
	queue  events
	count  uint64
	past   time.Time // of what the stages saw last: their time never goes back
}

// NewLine makes a line of stages.
func NewLine(stages ...Stage) *Line { return &Line{stages: stages} }

// event is a packet due at a stage; one past either end leaves the line. Equal times keep the order of arrival.
type event struct {
	at    time.Time
	order uint64
	next  int
	p     Packet
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// Push puts a packet onto the line that came at a time. One that comes too late, the line being past its time already, counts as of what happened there last.
func (l *Line) Push(now time.Time, p Packet) {
	first := 0
	if p.Dir == Out {
		first = len(l.stages) - 1
	}
	if now.Before(l.past) {
		now = l.past
	}
	l.schedule(Departure{p, now}, first)
}

func (l *Line) schedule(d Departure, next int) {
	l.count++
	heap.Push(&l.queue, event{d.At, l.count, next, d.Packet})
}

// Next is when Advance has something to do.
func (l *Line) Next() (time.Time, bool) {
	var at time.Time
	ok := false
	if len(l.queue) > 0 {
		at, ok = l.queue[0].at, true
	}
	for _, s := range l.stages {
		if w, is := s.(Waker); is {
			if t, set := w.Wake(); set && (!ok || t.Before(at)) {
				at, ok = t, true
			}
		}
	}
	return at, ok
}

// Advance runs everything that is due by now and returns the packets that leave the line, in order.
func (l *Line) Advance(now time.Time) []Packet {
	var out []Packet
	for {
		at, ok := l.Next()
		if !ok || at.After(now) {
			return out
		}
		if l.past.Before(at) {
			l.past = at
		}
		if len(l.queue) == 0 || at.Before(l.queue[0].at) {
			l.fire(at)
			continue
		}
		e := heap.Pop(&l.queue).(event)
		if e.next < 0 || e.next >= len(l.stages) {
			out = append(out, e.p)
			continue
		}
		l.forward(e.next, l.stages[e.next].Pass(e.at, e.p))
	}
}

func (l *Line) fire(at time.Time) {
	for i, s := range l.stages {
		if w, is := s.(Waker); is {
			if t, set := w.Wake(); set && !t.After(at) {
				l.forward(i, w.Fire(at))
			}
		}
	}
}

// forward sends what a stage let go on to the next one in each packet's own direction.
func (l *Line) forward(from int, ds []Departure) {
	for _, d := range ds {
		next := from + 1
		if d.Packet.Dir == Out {
			next = from - 1
		}
		l.schedule(d, next)
	}
}
