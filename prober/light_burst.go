package prober

import (
	"syscall"
	"time"

	"github.com/vipprobe/vipprobe/prober/pulse"
)

// lightBurst is one round under way.
type lightBurst struct {
	pulse.Burst
	d       *dueTarget
	job     *Job
	peer    *lightPeer
	script  *lightScript
	started time.Time
	lag     time.Duration
	drops   uint64 // of the capture when it began
	refused []refusal
	timed   bool   // it has a timer in the heap
	over    bool   // told by the table
	need    uint64 // frames that the reader must have come to before it is judged
	until   time.Time
}

// refusal is a SYN that the kernel did not take.
type refusal struct {
	slot  int32
	shot  int // set when the round is over
	syn   int
	errno syscall.Errno
}

// burstHeap is ordered by when a burst wants to be called.
type burstHeap []*lightBurst

func (h burstHeap) Len() int           { return len(h) }
func (h burstHeap) Less(i, j int) bool { return h[i].Next() < h[j].Next() }
func (h burstHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *burstHeap) Push(x any) {
	d, _ := x.(*lightBurst) // container/heap hands on what it was given
	*h = append(*h, d)
}

// Pop implements heap.Interface.
func (h *burstHeap) Pop() any {
	old := *h
	n := len(old) - 1
	b := old[n]
	old[n] = nil
	*h = old[:n]
	return b
}

// spareBurst keeps a burst's memory for another, once nothing refers to it.
func (l *light) spareBurst(b *lightBurst) {
	if b.timed || !b.over || b.Size() > 0 {
		return
	}
	b.d, b.job, b.peer, b.over, b.refused = nil, nil, nil, false, b.refused[:0]
	l.idle = append(l.idle, b)
}

func (l *light) burst() *lightBurst {
	if n := len(l.idle); n > 0 {
		b := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return b
	}
	b := &lightBurst{}
	b.Owner = int32(len(l.bursts))
	l.bursts = append(l.bursts, b)
	return b
}
