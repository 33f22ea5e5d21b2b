package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Table is a connection table after nf_conntrack: which flows are known, how they are translated, and for how long. A new flow over
// Max is dropped; the old ones live.
type Table struct {
	Max int // 0: no limit
	// Others are the entries of other clients, at any time.
	Others int
	// TimeWait is how long an entry lives after a FIN; 0 means 120 s (nf_conntrack_tcp_timeout_time_wait).
	TimeWait time.Duration
	// Strict drops what belongs to no flow; otherwise an ACK without one makes an entry (nf_conntrack_tcp_loose=1, the default).
	Strict bool
	Drops  int

	flows map[wire.Flow]*track
	nats  map[wire.Flow]*track // by the direction in which answers come
}

// track is one entry: flow as the client sends it, nat as it leaves.
type track struct {
	flow, nat wire.Flow
	iss       wire.Seq
	member    *Member
	state     trackState
	created   time.Duration
	expires   time.Duration
}

type trackState uint8

const (
	trackSYN trackState = iota
	trackAnswered
	trackEstablished
	trackClosing
	trackClosed
)

// Lifetimes by state (net/netfilter/nf_conntrack_proto_tcp.c tcp_timeouts, 6.18).
const (
	lifeSYN         = 120 * time.Second
	lifeAnswered    = 60 * time.Second
	lifeEstablished = 5 * 24 * time.Hour
	lifeClosing     = 120 * time.Second
	lifeClosed      = 10 * time.Second
)

// opens reports whether a packet of no known flow may make an entry.
func (t *Table) opens(p *Packet) bool {
	return p.SYN() || !t.Strict && p.Seg.Flags&(wire.ACK|wire.RST|wire.SYN) == wire.ACK
}

func (t *Table) find(now time.Duration, f wire.Flow) *track {
	x := t.flows[f]
	if x != nil && now >= x.expires {
		t.remove(x)
		return nil
	}
	return x
}

func (t *Table) remove(x *track) {
	delete(t.flows, x.flow)
	if t.nats[x.nat.Reverse()] == x {
		delete(t.nats, x.nat.Reverse())
	}
}

// room reports whether one more flow fits.
func (t *Table) room(now time.Duration) bool {
	if t.Max == 0 || len(t.flows)+t.Others < t.Max {
		return true
	}
	t.sweep(now)
	if len(t.flows)+t.Others < t.Max {
		return true
	}
	t.Drops++
	return false
}

func (t *Table) sweep(now time.Duration) {
	for _, x := range t.flows {
		if now >= x.expires {
			t.remove(x)
		}
	}
}

func (t *Table) add(now time.Duration, x *track) *track {
	if t.flows == nil {
		t.flows, t.nats = map[wire.Flow]*track{}, map[wire.Flow]*track{}
	}
	if len(t.flows) > 1<<16 {
		t.sweep(now)
	}
	x.created, x.expires = now, now+lifeSYN
	t.flows[x.flow], t.nats[x.nat.Reverse()] = x, x
	return x
}

// reopened reports whether a SYN begins a new connection on the entry of one that is over.
func (x *track) reopened(seg *wire.Segment) bool { return x.state >= trackClosing && seg.Seq != x.iss }

// follow moves an entry's state and life with a segment of either direction.
func (t *Table) follow(now time.Duration, x *track, seg *wire.Segment) {
	closing := t.TimeWait
	if closing == 0 {
		closing = lifeClosing
	}
	switch {
	case seg.Flags&wire.RST != 0:
		x.state, x.expires = trackClosed, now+lifeClosed
	case seg.Flags.Has(wire.SYN | wire.ACK):
		if x.state <= trackAnswered {
			x.state, x.expires = trackAnswered, now+lifeAnswered
		}
	case seg.Flags&wire.SYN != 0:
		if x.state == trackSYN {
			x.expires = now + lifeSYN
		}
	case seg.Flags&wire.FIN != 0 || x.state == trackClosing:
		x.state, x.expires = trackClosing, now+closing
	case x.state <= trackEstablished:
		x.state, x.expires = trackEstablished, now+lifeEstablished
	}
}

// Conntrack is a stateful filter: it knows flows, limits their number, and passes only what belongs to one.
type Conntrack struct{ Table Table }

// Take implements Element.
func (c *Conntrack) Take(h Hop, p *Packet) {
	f, now := p.Seg.Flow(), h.Now()
	switch {
	case p.Echo != nil && p.Dir == Out && !c.Table.room(now): // it would take an entry as well
		return
	case !TCP(h, p):
		h.Pass(p)
		return
	}
	if p.Dir == Back {
		f = f.Reverse()
	}
	x := c.Table.find(now, f)
	if x != nil && p.SYN() && x.reopened(&p.Seg) {
		c.Table.remove(x)
		x = nil
	}
	if x == nil {
		if p.Dir == Back || !c.Table.opens(p) || !c.Table.room(now) {
			return
		}
		x = c.Table.add(now, &track{flow: f, nat: f, iss: p.Seg.Seq})
	}
	c.Table.follow(now, x, &p.Seg)
	h.Pass(p)
}

// SNAT gives flows a source address and port of its own (masquerade). It is also the port pool of a Balancer.
type SNAT struct {
	Addrs []netip.Addr
	Ports plan.PortRange // zero: 1024–65535
	// Taken is how many ports of the pool other clients hold towards every destination.
	Taken int
	// Race is how long an allocation is not yet seen by the next: two that choose one port within it cost the later its packet
	// (nf_conntrack insert_failed). Zero: allocations see each other.
	Race  time.Duration
	Table Table

	// Exhausted and Raced count new flows lost.
	Exhausted, Raced int
}

// Take implements Element.
func (s *SNAT) Take(h Hop, p *Packet) {
	switch {
	case p.Echo != nil:
		h.Pass(p) // translated by identifier: nothing that an echo could show
		return
	case p.Dir == Back:
		s.back(h, p)
		return
	}
	f, now := p.Seg.Flow(), h.Now()
	x := s.Table.find(now, f)
	if x != nil && p.SYN() && x.reopened(&p.Seg) {
		s.Table.remove(x)
		x = nil
	}
	if x == nil {
		if p.ICMP != nil || !s.Table.opens(p) || !s.Table.room(now) {
			return
		}
		src, ok := s.allocate(h, f)
		if !ok {
			return
		}
		x = s.Table.add(now, &track{flow: f, nat: wire.Flow{Src: src, Dst: f.Dst}, iss: p.Seg.Seq})
	}
	s.Table.follow(now, x, &p.Seg)
	p.Seg.Src = x.nat.Src
	h.Pass(p)
}

func (s *SNAT) back(h Hop, p *Packet) {
	f := p.Seg.Flow()
	if p.ICMP != nil {
		f = p.ICMP.Quoted.Reverse()
	}
	x := s.Table.nats[f]
	if x == nil || h.Now() >= x.expires {
		return
	}
	translateBack(x, p)
	if p.ICMP == nil {
		s.Table.follow(h.Now(), x, &p.Seg)
	}
	h.Pass(p)
}

// translateBack gives an answer, or an ICMP error's quote, the flow that the client knows.
func translateBack(x *track, p *Packet) {
	if p.ICMP != nil {
		e := *p.ICMP
		e.Quoted, e.To = x.flow, x.flow.Src.Addr()
		p.ICMP = &e
		return
	}
	p.Seg.Src, p.Seg.Dst = x.flow.Dst, x.flow.Src
}

// allocate finds a free source towards the destination of f: the client's own port if it can, else any.
func (s *SNAT) allocate(h Hop, f wire.Flow) (netip.AddrPort, bool) {
	ports := s.Ports
	if ports.Size() == 0 {
		ports = plan.PortRange{Lo: 1024, Hi: 65535}
	}
	addr := s.Addrs[hashAddr(1, f.Src.Addr())%uint64(len(s.Addrs))]
	free := ports.Size() - s.Taken
	if free <= 0 {
		s.Exhausted++
		return netip.AddrPort{}, false
	}
	usable := plan.PortRange{Lo: ports.Lo, Hi: ports.Lo + uint16(free-1)}
	start := h.path.w.rng.IntN(free)
	if usable.Contains(f.Src.Port()) {
		start = int(f.Src.Port() - usable.Lo)
	}
	for k := range free {
		port := usable.Lo + uint16((start+k)%free)
		src := netip.AddrPortFrom(addr, port)
		x := s.Table.nats[wire.Flow{Src: f.Dst, Dst: src}]
		switch {
		case x == nil:
			return src, true
		case h.Now() >= x.expires:
			s.Table.remove(x)
			return src, true
		case s.Race > 0 && h.Now()-x.created < s.Race:
			s.Raced++
			return netip.AddrPort{}, false
		}
	}
	s.Exhausted++
	return netip.AddrPort{}, false
}
