package fakenet

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Balancer forwards the connections of a VIP to its members at layer 4, translating addresses, and what is sent to a member's own
// address straight to it. It keeps one entry per connection, so that a repeated SYN goes where the first went, and is a router as
// well: hop limits fall by one.
type Balancer struct {
	VIP     netip.AddrPort
	Members []*Member
	Choose  Policy
	// SNAT gives connections a source of the balancer's; nil keeps the client's address.
	SNAT *SNAT
	// Empty is what a client gets while no member is up.
	Empty Empty
	// LateRST resets connections whose member has not answered for so long; 0: never.
	LateRST time.Duration
	// Check evicts members that fail it; nil: all members stay in.
	Check *Checker
	// HopLimit of what the balancer itself sends; 0 means 64.
	HopLimit uint8

	table Table // without SNAT
	next  int
	outer Hop
	begun bool
}

// Member is a real server of a balancer's pool, behind elements of its own.
type Member struct {
	Addr     netip.AddrPort
	Host     *Host
	Elements []Element
	Down     bool // out of the pool

	path *Path
}

// NewMember places a host behind elements of its own.
func NewMember(addr netip.AddrPort, h *Host, elements ...Element) *Member {
	return &Member{Addr: addr, Host: h, Elements: elements}
}

// NewBalancer joins members to a VIP without SNAT.
func NewBalancer(vip netip.AddrPort, members ...*Member) *Balancer {
	return &Balancer{VIP: vip, Members: members}
}

// Policy is how a balancer chooses a member for a new connection.
type Policy uint8

// FlowHash keeps a 4-tuple on one member, SourceHash an address; RoundRobin and Random keep nothing.
const (
	FlowHash Policy = iota
	SourceHash
	RoundRobin
	Random
)

func (p Policy) String() string {
	switch p {
	case SourceHash:
		return "source_hash"
	case RoundRobin:
		return "round_robin"
	case Random:
		return "random"
	case FlowHash:
	}
	return "flow_hash"
}

// Empty is the answer of a VIP without members.
type Empty uint8

// EmptyUnreachable is ICMP port unreachable from the VIP, EmptyReset an RST with the VIP's own TTL.
const (
	EmptySilent Empty = iota
	EmptyUnreachable
	EmptyReset
)

func (e Empty) String() string {
	switch e {
	case EmptyUnreachable:
		return "unreachable"
	case EmptyReset:
		return "reset"
	case EmptySilent:
	}
	return "silent"
}

// Take implements Element.
func (b *Balancer) Take(h Hop, p *Packet) {
	if p.Dir == Back {
		h.Pass(p)
		return
	}
	b.begin(h)
	if p.ICMP != nil {
		return
	}
	local := p.Seg.Dst.Addr() == b.VIP.Addr() && p.Seg.Dst.Port() != b.VIP.Port()
	if p.Seg.HopLimit <= 1 && !local {
		h.reject(p, timeExceeded(b.VIP.Addr())) // an nft DNAT answers in the VIP's name, and only for what it passes on (net/ipv4/ip_forward.c, 6.18)
		return
	}
	p.Seg.HopLimit--
	switch {
	case p.Seg.Dst.Addr() == b.VIP.Addr() && p.Echo != nil:
		h.reply(p, netip.Addr{}, b.HopLimit)
		return
	case p.Seg.Dst.Addr() == b.VIP.Addr():
		b.forward(h, p)
		return
	}
	for _, m := range b.Members {
		if m.Addr.Addr() == p.Seg.Dst.Addr() {
			m.path.send(p)
			return
		}
	}
}

// begin implements beginner.
func (b *Balancer) begin(h Hop) {
	if b.outer = h; b.begun {
		return
	}
	b.begun = true
	if b.HopLimit == 0 {
		b.HopLimit = 64
	}
	for _, m := range b.Members {
		m.path = &Path{w: h.path.w, elements: append(slices.Clone(m.Elements), m.Host), near: b.back}
	}
	if b.Check != nil {
		b.Check.start(h.path.w, b)
	}
}

func (b *Balancer) tracks() *Table {
	if b.SNAT != nil {
		return &b.SNAT.Table
	}
	return &b.table
}

// forward sends a segment for the VIP to the member of its connection.
func (b *Balancer) forward(h Hop, p *Packet) {
	f, now, t := p.Seg.Flow(), h.Now(), b.tracks()
	x := t.find(now, f)
	if x != nil && p.SYN() && x.reopened(&p.Seg) {
		t.remove(x)
		x = nil
	}
	switch {
	case x != nil:
	case p.Seg.Dst.Port() != b.VIP.Port():
		b.reset(&p.Seg)
		return
	case !t.opens(p):
		return
	default:
		if x = b.open(h, p); x == nil {
			return
		}
	}
	t.follow(now, x, &p.Seg)
	p.Seg.Src, p.Seg.Dst = x.nat.Src, x.nat.Dst
	x.member.path.send(p)
}

// open makes the entry of a new connection; nil: it is not forwarded.
func (b *Balancer) open(h Hop, p *Packet) *track {
	f, t := p.Seg.Flow(), b.tracks()
	m := b.choose(h.path.w, f)
	if m == nil {
		b.empty(h, p)
		return nil
	}
	if !t.room(h.Now()) {
		return nil
	}
	nat := wire.Flow{Src: f.Src, Dst: m.Addr}
	if b.SNAT != nil {
		src, ok := b.SNAT.allocate(h, nat)
		if !ok {
			return nil
		}
		nat.Src = src
	}
	x := t.add(h.Now(), &track{flow: f, nat: nat, iss: p.Seg.Seq, member: m})
	if b.LateRST > 0 {
		syn := p.Seg
		h.path.w.After(b.LateRST, func() {
			if x.state == trackSYN {
				x.state = trackClosed
				b.reset(&syn)
			}
		})
	}
	return x
}

func (b *Balancer) choose(w *World, f wire.Flow) *Member {
	up := 0
	for _, m := range b.Members {
		if !m.Down {
			up++
		}
	}
	if up == 0 {
		return nil
	}
	var k int
	switch b.Choose {
	case SourceHash:
		k = int(hashAddr(w.seed, f.Src.Addr()) % uint64(up))
	case RoundRobin:
		b.next++
		k = b.next % up
	case Random:
		k = w.rng.IntN(up)
	case FlowHash:
		k = int(hashFlow(w.seed, f) % uint64(up))
	}
	for _, m := range b.Members {
		if m.Down {
			continue
		}
		if k == 0 {
			return m
		}
		k--
	}
	return nil
}

func (b *Balancer) empty(h Hop, p *Packet) {
	switch b.Empty {
	case EmptyUnreachable:
		h.reject(p, portUnreachable(b.VIP.Addr()))
	case EmptyReset:
		b.reset(&p.Seg)
	case EmptySilent:
	}
}

// reset answers a segment in the VIP's name.
func (b *Balancer) reset(s *wire.Segment) {
	if s.Flags&wire.RST != 0 {
		return
	}
	r := wire.Segment{Src: s.Dst, Dst: s.Src, Flags: wire.RST | wire.ACK, Ack: s.End(), HopLimit: b.HopLimit, DF: true}
	if s.Flags&wire.ACK != 0 {
		r.Flags, r.Seq, r.Ack = wire.RST, s.Ack, 0
	}
	b.outer.Answer(0, &Packet{Seg: r})
}

// back takes what comes from a member: of the VIP's connections translated, else as it is.
func (b *Balancer) back(p *Packet) {
	if b.Check != nil && b.Check.take(b.outer.path.w, p) {
		return
	}
	f := p.Seg.Flow()
	if p.ICMP != nil {
		f = p.ICMP.Quoted.Reverse()
	} else {
		p.Seg.HopLimit--
	}
	now := b.outer.Now()
	if x := b.tracks().nats[f]; x != nil && now < x.expires {
		translateBack(x, p)
		if p.ICMP == nil {
			b.tracks().follow(now, x, &p.Seg)
		}
	}
	b.outer.Pass(p)
}
