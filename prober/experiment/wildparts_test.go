package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// spells is a match that is on and off in turn, each for a random while: flapping, bursts of loss (Gilbert, Elliott).
func spells(r *rand.Rand, on, off time.Duration, m fakenet.Match) fakenet.Match {
	is, until := false, time.Duration(0)
	return func(h fakenet.Hop, p *fakenet.Packet) bool {
		for h.Now() >= until {
			is = !is
			mean := off
			if is {
				mean = on
			}
			until += time.Duration(float64(mean)*r.ExpFloat64()) + time.Millisecond
		}
		return is && m(h, p)
	}
}

// during is a match that is on from … until.
func during(from, until time.Duration, m fakenet.Match) fakenet.Match {
	return func(h fakenet.Hop, p *fakenet.Packet) bool { return h.Now() >= from && h.Now() < until && m(h, p) }
}

// guardian is protection against floods and scans: a source that opens more than most connections within a window is blocked for a while,
// SYNs only or everything of it.
type guardian struct {
	most       int
	window     time.Duration
	block      time.Duration
	everything bool

	seen    map[netip.Addr][]time.Duration
	blocked map[netip.Addr]time.Duration
}

// Take implements fakenet.Element.
func (g *guardian) Take(h fakenet.Hop, p *fakenet.Packet) {
	if p.Dir == fakenet.Back || p.ICMP != nil || p.Echo != nil {
		h.Pass(p)
		return
	}
	if g.seen == nil {
		g.seen, g.blocked = map[netip.Addr][]time.Duration{}, map[netip.Addr]time.Duration{}
	}
	src, now := p.Seg.Src.Addr(), h.Now()
	if now < g.blocked[src] {
		if p.SYN() || g.everything {
			return
		}
		h.Pass(p)
		return
	}
	if p.SYN() {
		at := append(g.seen[src], now)
		for len(at) > 0 && now-at[0] > g.window {
			at = at[1:]
		}
		if g.seen[src] = at; len(at) > g.most {
			g.blocked[src] = now + g.block
			return
		}
	}
	h.Pass(p)
}

// windows is a limit that counts SYNs by the clock's seconds, or any other fixed window, as appliances do.
type windows struct {
	most   int
	window time.Duration
	n      int
	index  int64
}

// Take implements fakenet.Element.
func (l *windows) Take(h fakenet.Hop, p *fakenet.Packet) {
	if !fakenet.SYNs(h, p) {
		h.Pass(p)
		return
	}
	if i := int64(h.Now() / l.window); i != l.index {
		l.index, l.n = i, 0
	}
	if l.n++; l.n <= l.most {
		h.Pass(p)
	}
}

// verifier is protection that drops the first SYN of every flow (or source) that it has not seen, and passes what is repeated within a time.
type verifier struct {
	within    time.Duration
	perSource bool
	seen      map[wire.Flow]time.Duration
}

// Take implements fakenet.Element.
func (v *verifier) Take(h fakenet.Hop, p *fakenet.Packet) {
	if !fakenet.SYNs(h, p) {
		h.Pass(p)
		return
	}
	if v.seen == nil {
		v.seen = map[wire.Flow]time.Duration{}
	}
	f := p.Seg.Flow()
	if v.perSource {
		f = wire.Flow{Src: netip.AddrPortFrom(f.Src.Addr(), 0)}
	}
	at, ok := v.seen[f]
	v.seen[f] = h.Now()
	if ok && h.Now()-at < v.within {
		h.Pass(p)
	}
}

// concurrent is a limit on the connections that one source may have at a time (connlimit); what is over is dropped, or reset.
type concurrent struct {
	most  int
	reset bool
	open  map[wire.Flow]time.Duration
}

// Take implements fakenet.Element.
func (c *concurrent) Take(h fakenet.Hop, p *fakenet.Packet) {
	if p.ICMP != nil || p.Echo != nil {
		h.Pass(p)
		return
	}
	f := p.Seg.Flow()
	if p.Dir == fakenet.Back {
		f = f.Reverse()
	}
	if c.open == nil {
		c.open = map[wire.Flow]time.Duration{}
	}
	for k, until := range c.open {
		if h.Now() > until {
			delete(c.open, k)
		}
	}
	_, known := c.open[f]
	switch {
	case p.SYN() && p.Dir == fakenet.Out && !known:
		if len(c.open) >= c.most {
			if c.reset {
				h.Answer(0, &fakenet.Packet{Seg: resetOf(&p.Seg)})
			}
			return
		}
		c.open[f] = h.Now() + 120*time.Second
	case p.Seg.Flags&wire.RST != 0:
		delete(c.open, f)
	case p.Seg.Flags&wire.FIN != 0 && known:
		c.open[f] = h.Now() + time.Second
	}
	h.Pass(p)
}

// resetOf refuses a SYN.
func resetOf(s *wire.Segment) wire.Segment {
	return wire.Segment{Src: s.Dst, Dst: s.Src, Flags: wire.RST | wire.ACK, Ack: s.End(), HopLimit: 64}
}

// shared are several sockets on one port (SO_REUSEPORT): a flow's hash chooses one.
type shared struct {
	seed  uint64
	hosts []*fakenet.Host
}

// Take implements fakenet.Element.
func (s *shared) Take(h fakenet.Hop, p *fakenet.Packet) {
	if p.Dir == fakenet.Back || p.ICMP != nil || p.Echo != nil {
		h.Pass(p)
		return
	}
	f := p.Seg.Flow()
	x := s.seed ^ uint64(f.Src.Port())*0x9e3779b97f4a7c15
	x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
	s.hosts[(x>>32)%uint64(len(s.hosts))].Take(h, p)
}

// refuser resets what a match chooses, in the target's name.
func refuser(m fakenet.Match) fakenet.Element {
	return fakenet.Func(func(h fakenet.Hop, p *fakenet.Packet) {
		if fakenet.SYNs(h, p) && m(h, p) {
			h.Answer(0, &fakenet.Packet{Seg: resetOf(&p.Seg)})
			return
		}
		h.Pass(p)
	})
}

// overLimit is a match for what a token bucket does not let pass.
func overLimit(rate float64, burst int) fakenet.Match {
	tokens, at := float64(burst), time.Duration(0)
	return func(h fakenet.Hop, p *fakenet.Packet) bool {
		if !fakenet.SYNs(h, p) {
			return false
		}
		tokens, at = min(float64(burst), tokens+rate*(h.Now()-at).Seconds()), h.Now()
		if tokens < 1 {
			return true
		}
		tokens--
		return false
	}
}

// stranger is where the SYNs of others come from.
func stranger() netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 9, 9}) }

// sink takes what others send.
type sink struct{}

// Take implements fakenet.Element.
func (sink) Take(h fakenet.Hop, p *fakenet.Packet) {
	if p.Dir == fakenet.Back || p.Seg.Src.Addr() != stranger() {
		h.Pass(p)
	}
}

// crowd passes on what it gets, and before it what others have sent since, a mean of so many SYNs a second.
type crowd struct {
	rate float64
	last time.Duration
}

// Take implements fakenet.Element.
func (c *crowd) Take(h fakenet.Hop, p *fakenet.Packet) {
	if p.Dir == fakenet.Out {
		n := c.rate * (h.Now() - c.last).Seconds()
		for range min(int(n+h.World().Rand().Float64()), 5000) {
			h.Pass(&fakenet.Packet{Dir: fakenet.Out, Seg: wire.Segment{Src: netip.AddrPortFrom(stranger(), 1), Dst: p.Seg.Dst, Flags: wire.SYN, HopLimit: 64}})
		}
		c.last = h.Now()
	}
	h.Pass(p)
}
