package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Checker is a balancer's health check after keepalived's TCP_CHECK: a plain connect to every member every so often; a member that
// fails the first try and all retries is taken out until a check succeeds.
type Checker struct {
	// From is where checks come from: the SNAT address that business traffic has too, or one of their own.
	From         netip.Addr
	Clock        Clock
	NoTimestamps bool
	// Every is delay_loop, Timeout connect_timeout, RetryDelay delay_before_retry.
	Every, Timeout, RetryDelay time.Duration
	Retries                    int

	// Evictions and Returns count the changes.
	Evictions, Returns int

	b    *Balancer
	open map[wire.Flow]*check // by the direction in which answers come
	port uint16
}

// check is one connect of the checker.
type check struct {
	m    *Member
	flow wire.Flow
	iss  wire.Seq
	over bool
	done func(ok bool)
}

// start begins the checks, each member at its own time.
func (c *Checker) start(w *World, b *Balancer) {
	c.b, c.open = b, map[wire.Flow]*check{}
	for i, m := range b.Members {
		w.After(time.Duration(i+1)*c.Every/time.Duration(len(b.Members)+1), func() { c.round(w, m) })
	}
}

// round is one check of a member with its retries.
func (c *Checker) round(w *World, m *Member) {
	began := w.now
	left := c.Retries
	var try func()
	try = func() {
		c.connect(w, m, func(ok bool) {
			switch {
			case ok && m.Down:
				m.Down = false
				c.Returns++
			case !ok && left > 0:
				left--
				w.After(c.RetryDelay, try)
				return
			case !ok && !m.Down:
				m.Down = true
				c.Evictions++
			}
			w.After(max(c.Every-(w.now-began), time.Millisecond), func() { c.round(w, m) })
		})
	}
	try()
}

func (c *Checker) connect(w *World, m *Member, done func(bool)) {
	c.port++
	x := &check{m: m, iss: wire.Seq(w.rng.Uint32()), done: done,
		flow: wire.Flow{Src: netip.AddrPortFrom(c.From, 32768+c.port%28000), Dst: m.Addr}}
	c.open[x.flow.Reverse()] = x
	for at := time.Duration(0); at < c.Timeout; at += time.Second {
		w.After(at, func() { c.send(w, x, wire.SYN, x.iss, 0) })
	}
	w.After(c.Timeout, func() { c.end(x, false) })
}

func (c *Checker) end(x *check, ok bool) {
	if x.over {
		return
	}
	x.over = true
	delete(c.open, x.flow.Reverse())
	x.done(ok)
}

func (c *Checker) send(w *World, x *check, flags wire.Flags, seq, ack wire.Seq) {
	if x.over && flags&wire.SYN != 0 {
		return
	}
	p := &Packet{Seg: wire.Segment{Src: x.flow.Src, Dst: x.flow.Dst, Flags: flags, Seq: seq, Ack: ack, Window: 64240, HopLimit: 64, DF: true}}
	if flags&wire.SYN != 0 {
		p.Seg.Options = wire.LinuxSYNWithoutTimestamps(1460, 7)
		if !c.NoTimestamps {
			p.Seg.Options = wire.LinuxSYN(1460, c.Clock.At(w.now, x.flow), 7)
		}
	}
	x.m.path.send(p)
}

// take handles an answer to a check and reports whether it was one.
func (c *Checker) take(w *World, p *Packet) bool {
	if p.ICMP != nil || p.Seg.Dst.Addr() != c.From {
		return false
	}
	x := c.open[p.Seg.Flow()]
	if x == nil {
		return false
	}
	switch {
	case p.Seg.Flags&wire.RST != 0 && p.Seg.Ack == x.iss+1:
		c.end(x, false)
	case p.Seg.Flags.Has(wire.SYN|wire.ACK) && p.Seg.Ack == x.iss+1:
		c.send(w, x, wire.ACK, x.iss+1, p.Seg.Seq+1)
		c.send(w, x, wire.RST|wire.ACK, x.iss+1, p.Seg.Seq+1)
		c.end(x, true)
	}
	return true
}
