package wires

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// PortReuse is an IPVS director of Linux < 5.9 as far as a reused source port goes: the first SYN on a flow that it still holds
// from an earlier connection only expires that one and is dropped; the repeat goes through (ip_vs_in with
// conn_reuse_mode 1: net/netfilter/ipvs/ip_vs_core.c, 5.8).
type PortReuse struct {
	// Holds is how long a flow is kept after its last FIN or RST; IPVS's own TIME_WAIT is 120 s.
	Holds time.Duration

	ended map[wire.Flow]time.Time
}

// Pass drops the first SYN of a reused flow.
func (r *PortReuse) Pass(now time.Time, p Packet) []Departure {
	if !p.TCP {
		return pass(now, p)
	}
	flow := p.Seg.Flow()
	if p.Dir == Out {
		flow = flow.Reverse()
	}
	if r.ended == nil {
		r.ended = map[wire.Flow]time.Time{}
	}
	switch end, held := r.ended[flow]; {
	case SYN(p) && p.Dir == In && held:
		delete(r.ended, flow)
		if now.Sub(end) < r.Holds {
			return nil
		}
	case p.Seg.Flags&(wire.FIN|wire.RST) != 0:
		r.ended[flow] = now
	}
	return pass(now, p)
}

// Expire is a balancer that gives up on a flow whose SYN stays unanswered and then resets its client: an F5 with FastL4 does so
// after some 15 s ("flow expired").
type Expire struct {
	// After the first SYN of a flow.
	After time.Duration

	order []pending
	open  map[wire.Flow]bool
}

// pending is an unanswered SYN; SYNs come in order of time and expire in that order.
type pending struct {
	due time.Time
	syn Packet
}

// Pass watches SYNs and their answers.
func (e *Expire) Pass(now time.Time, p Packet) []Departure {
	if e.open == nil {
		e.open = map[wire.Flow]bool{}
	}
	switch {
	case !p.TCP:
	case SYN(p) && p.Dir == In && !e.open[p.Seg.Flow()]:
		e.open[p.Seg.Flow()] = true
		e.order = append(e.order, pending{now.Add(e.After), p})
	case p.Dir == Out:
		delete(e.open, p.Seg.Flow().Reverse())
	}
	return pass(now, p)
}

// Wake is when the oldest SYN expires.
func (e *Expire) Wake() (time.Time, bool) {
	if len(e.order) == 0 {
		return time.Time{}, false
	}
	return e.order[0].due, true
}

// Fire resets the client of the oldest SYN, unless that was answered.
func (e *Expire) Fire(now time.Time) []Departure {
	old := e.order[0]
	e.order = e.order[1:]
	flow := old.syn.Seg.Flow()
	if !e.open[flow] {
		return nil
	}
	delete(e.open, flow)
	return pass(now, old.syn.Answer(wire.Segment{Flags: wire.RST | wire.ACK, Ack: old.syn.Seg.End()}))
}

// Clash is a NAT that now and then picks one source port for two connections begun at the same moment, and drops the
// loser's SYN (nf_conntrack's insert_failed): one SYN lost in a burst, none when paced.
type Clash struct {
	// Within is how close two new flows must be, Lost which share of those that are loses its first SYN.
	Within time.Duration
	Lost   func() bool

	last time.Time
	seen map[wire.Flow]bool
}

// Pass drops a first SYN that comes too close behind another's.
func (c *Clash) Pass(now time.Time, p Packet) []Departure {
	if !SYN(p) || p.Dir != In || c.seen[p.Seg.Flow()] {
		return pass(now, p)
	}
	if c.seen == nil {
		c.seen = map[wire.Flow]bool{}
	}
	c.seen[p.Seg.Flow()] = true
	clash := now.Sub(c.last) < c.Within
	c.last = now
	if clash && c.Lost() {
		return nil
	}
	return pass(now, p)
}
