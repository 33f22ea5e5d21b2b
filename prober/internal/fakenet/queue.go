package fakenet

import "time"

// event is either a call or a packet that reaches a place on its path.
type event struct {
	at   time.Duration
	call func()
	hop  Hop
	p    *Packet
}

// queue is what is going to happen, soonest first; what is due at one instant happens in the order of its asking. The heap holds no
// pointers, so that sorting costs the garbage collector nothing.
type queue struct {
	heap  []due
	slots []event
	free  []int32
	order uint64
}

// due is an event's time, turn and place in slots.
type due struct {
	at    time.Duration
	order uint64
	slot  int32
}

func (d *due) before(e *due) bool { return d.at < e.at || d.at == e.at && d.order < e.order }

func (q *queue) push(e event) {
	slot := int32(len(q.slots))
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
		q.slots[slot] = e
	} else {
		q.slots = append(q.slots, e)
	}
	q.order++
	q.heap = append(q.heap, due{e.at, q.order, slot})
	h := q.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop takes the soonest event; there must be one.
func (q *queue) pop() event {
	h := q.heap
	top, n := h[0], len(h)-1
	h[0] = h[n]
	h = h[:n]
	q.heap = h
	for i := 0; ; {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < n; down++ {
			if h[down].before(&h[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	e := q.slots[top.slot]
	q.slots[top.slot] = event{}
	q.free = append(q.free, top.slot)
	return e
}
