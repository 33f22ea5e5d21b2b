package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// SYNLoss loses each SYN with probability p.
func SYNLoss(seed uint64, p float64) *World {
	w, _ := Server(seed, Drop(Chance(p, SYNs)))
	return w
}

// SYNACKLoss loses each SYN-ACK with probability p.
func SYNACKLoss(seed uint64, p float64) *World {
	w, _ := Server(seed, Drop(Chance(p, SYNACKs)))
	return w
}

// Loss loses each packet of either direction with probability p.
func Loss(seed uint64, p float64) *World {
	w, _ := Server(seed, Drop(Chance(p, Any)))
	return w
}

// NthSYN loses the n-th SYNs, from 1, of every flow.
func NthSYN(seed uint64, n ...int) *World {
	w, _ := Server(seed, Drop(Nth(SYNs, n...)))
	return w
}

// Reordered holds a share of all packets back by d, so that others overtake them, and doubles another share.
func Reordered(seed uint64, share, doubled float64, d time.Duration) *World {
	w, _ := Server(seed, Hold(d, Chance(share, Any)), Twice(50*time.Microsecond, Chance(doubled, Any)))
	return w
}

// RateLimit drops SYNs over rate a second, bursts of so many excepted.
func RateLimit(seed uint64, rate float64, burst int) *World {
	w, _ := Server(seed, &Limiter{Rate: rate, Burst: burst})
	return w
}

// ACL drops everything to the target's port; other ports of the host answer. Behind a router, so that a walk finds the last hop; with
// admin the filter says so by ICMP.
func ACL(seed uint64, admin bool) *World {
	filter := netip.AddrFrom4([4]byte{203, 0, 113, 1})
	drop := Drop(Both(ToPorts(port), Going(Out)))
	if admin {
		drop = Reject(ToPorts(port), func(*Packet) wire.ICMPError { return adminProhibited(filter) })
	}
	h := NewHost(vip(), seed)
	h.Ports[443] = NewListener()
	w := behindRouter(seed, &Router{Addr: filter}, drop, h)
	return w
}

// ACLBefore is the same host behind a router that drops what goes to the port before it looks at the hop limit, and another router behind that.
func ACLBefore(seed uint64) *World {
	h := NewHost(vip(), seed)
	h.Ports[443] = NewListener()
	first, second := netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.AddrFrom4([4]byte{203, 0, 113, 2})
	return behindRouter(seed, Drop(Both(ToPorts(port), Going(Out))), &Router{Addr: first}, &Router{Addr: second}, h)
}

// DeadPool is a balancer that passes everything to n members, which answer nothing.
func DeadPool(seed uint64, n int) *World {
	w, b := VIP(seed, n)
	for _, m := range b.Members {
		m.Elements = []Element{Drop(Any)}
	}
	return w
}

// RPFilter is a server that drops what comes from another subnet than its own, the vantage's usual address among it; 192.0.2.11 passes.
func RPFilter(seed uint64) *World {
	good := netip.AddrFrom4([4]byte{192, 0, 2, 11})
	w, _ := Server(seed, Drop(func(_ Hop, p *Packet) bool { return p.Dir == Out && p.Seg.Src.Addr() != good }))
	w.Client.Others = []netip.Addr{good}
	return w
}

// ECMPLoss is a path of n parallel ways, one of which loses a share of what it carries.
func ECMPLoss(seed uint64, n int, share float64) *World {
	b := &Branch{Seed: seed, Ways: make([][]Element, n)}
	for i := range b.Ways {
		b.Ways[i] = []Element{&Router{Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})}}
	}
	b.Ways[0] = append(b.Ways[0], Drop(Chance(share, Any)))
	return behindRouter(seed, b, NewHost(vip(), seed))
}

// MTUBlackhole drops packets of more than mtu octets in both directions without a word; the server's answer to data is large.
func MTUBlackhole(seed uint64, mtu int) *World {
	w, h := Server(seed, Drop(Larger(mtu)))
	h.Ports[port].App.Reply = make([]byte, 4096)
	return w
}

// MTUClamped is MTUBlackhole with a device in front that makes the MSS of both ends fit: nothing is ever too large.
func MTUClamped(seed uint64, mtu int) *World {
	w, h := Server(seed, ClampMSS(uint16(mtu-40), Any), Drop(Larger(mtu)))
	h.Ports[port].App.Reply = make([]byte, 4096)
	return w
}

// TailDelayed delays the server's data by d, past the client's tail loss probe, and loses nothing.
func TailDelayed(seed uint64, d time.Duration) *World {
	w, _ := Server(seed, Hold(d, func(_ Hop, p *Packet) bool { return p.Dir == Back && p.ICMP == nil && len(p.Seg.Payload) > 0 }))
	return w
}

// TSStripped loses the timestamps option both ways.
func TSStripped(seed uint64) *World {
	w, _ := Server(seed, StripTimestamps(Any))
	return w
}

// TSRewritten changes TSval outward and leaves the echo: the vantage's kernel rejects every SYN-ACK.
func TSRewritten(seed uint64) *World {
	w, _ := Server(seed, ShiftTSval(1<<30, Going(Out)))
	return w
}

// TSNormalized rewrites TSval and its echo both ways: nothing shows.
func TSNormalized(seed uint64) *World {
	w, _ := Server(seed, &Normalize{Clock: Clock{Hz: 1000, Base: wire.TSval(mix(seed))}})
	return w
}

// ReusedPort is IPVS < 5.9: the first SYN on a port used within 120 s is dropped.
func ReusedPort(seed uint64) *World {
	w, _ := Server(seed, &PortReuse{})
	return w
}

// SNATPool puts the vantage behind a masquerade of so many ports, taken of which others hold; a closed connection holds its port for
// linger.
func SNATPool(seed uint64, ports, taken int, linger time.Duration) *World {
	w, _ := Server(seed, &SNAT{Addrs: []netip.Addr{snatAddr()}, Ports: plan.PortRange{Lo: 40000, Hi: 40000 + uint16(ports-1)}, Taken: taken,
		Table: Table{TimeWait: linger}})
	return w
}

// SNATRace is a masquerade of few ports whose concurrent allocations do not see each other.
func SNATRace(seed uint64, ports int) *World {
	w, _ := Server(seed, &SNAT{Addrs: []netip.Addr{snatAddr()}, Ports: plan.PortRange{Lo: 40000, Hi: 40000 + uint16(ports-1)},
		Race: 200 * time.Microsecond})
	return w
}

// ConntrackLimit is a stateful filter whose table has room for so many flows of the vantage.
func ConntrackLimit(seed uint64, room int) *World {
	w, _ := Server(seed, &Conntrack{Table: Table{Max: 65536, Others: 65536 - room}})
	return w
}

// Stateful is a healthy server behind a stateful filter with room for all.
func Stateful(seed uint64) *World {
	w, _ := Server(seed, &Conntrack{})
	return w
}

// TimeWaitReuse is a masquerade of so few ports, freed after 1 s, that a server which closes first meets them again in TIME_WAIT: other
// clients behind it, whose clocks are not the vantage's, use them all the time.
func TimeWaitReuse(seed uint64, ports int) *World {
	h := NewHost(target(), seed)
	h.Ports[port].App = HTTP()
	pool := plan.PortRange{Lo: 40000, Hi: 40000 + uint16(ports-1)}
	return New(seed, target(), &SNAT{Addrs: []netip.Addr{snatAddr()}, Ports: pool, Table: Table{TimeWait: time.Second}},
		&closers{host: h, from: snatAddr(), ports: pool, every: 500 * time.Millisecond}, h)
}

// closers are other clients behind a SNAT whose connections the server closes first: they leave TIME_WAIT buckets on its ports.
type closers struct {
	host  *Host
	from  netip.Addr
	ports plan.PortRange
	every time.Duration
}

// Take implements Element.
func (c *closers) Take(h Hop, p *Packet) { h.Pass(p) }

func (c *closers) begin(h Hop) {
	w := h.path.w
	for p := range c.ports.Size() {
		c.close(w, c.ports.Lo+uint16(p))
	}
	var next func()
	next = func() {
		c.close(w, c.ports.Lo+uint16(w.rng.IntN(c.ports.Size())))
		w.After(c.every, next)
	}
	w.After(c.every, next)
}

func (c *closers) close(w *World, port uint16) {
	f := wire.Flow{Src: netip.AddrPortFrom(c.from, port), Dst: w.Target}
	if x := c.host.conns[f]; x == nil || x.state == timeWait {
		c.host.Occupy(w, f, wire.Seq(w.rng.Uint32()), wire.TSval(w.rng.Uint32()))
	}
}

// RateLimitOf is RateLimit towards a vantage with a second address. perSource keeps a bucket for each; with only, the second address is not limited at all.
func RateLimitOf(seed uint64, rate float64, burst int, perSource, only bool) *World {
	second := netip.AddrFrom4([4]byte{192, 0, 2, 11})
	l := &Limiter{Rate: rate, Burst: burst, PerSource: perSource}
	if only {
		l.Match = Both(SYNs, func(_ Hop, p *Packet) bool { return p.Seg.Src.Addr() != second })
	}
	w, _ := Server(seed, l)
	w.Client.Others = []netip.Addr{second}
	return w
}

// DataLoss loses segments with data on the way to the server, and what follows the handshake on the way back, each with a probability of its own.
func DataLoss(seed uint64, there, back float64) *World {
	data := func(_ Hop, p *Packet) bool { return p.Dir == Out && p.ICMP == nil && len(p.Seg.Payload) > 0 }
	acks := func(_ Hop, p *Packet) bool { return p.Dir == Back && p.ICMP == nil && p.Seg.Flags&wire.SYN == 0 }
	w, _ := Server(seed, Drop(Chance(there, data)), Drop(Chance(back, acks)))
	return w
}
