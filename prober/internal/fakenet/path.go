package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Dir is which way a packet travels.
type Dir uint8

// Out is away from the vantage, Back towards it.
const (
	DirUnknown Dir = iota
	Out
	Back
)

func (d Dir) String() string {
	switch d {
	case Out:
		return "out"
	case Back:
		return "back"
	case DirUnknown:
	}
	return "unknown"
}

// Packet is a TCP segment under way, an ICMP error where ICMP is set, or an ICMP echo message where Echo is. Who holds it may change it.
type Packet struct {
	Seg  wire.Segment
	ICMP *wire.ICMPError
	Echo *Echo
	Dir  Dir
	mac  wire.MAC // the next hop's, between the vantage and the last hop before it
}

// Size is the length of the IP packet in octets, for IPv4 and IPv6 headers without extensions.
func (p *Packet) Size() int {
	p.Seg.Length = max(p.Seg.Length, len(p.Seg.Payload))
	return p.Seg.Size() + p.Seg.Length - len(p.Seg.Payload)
}

// SYN reports whether p opens a connection.
func (p *Packet) SYN() bool {
	return p.ICMP == nil && p.Seg.Flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN
}

// SYNACK reports whether p answers a SYN with a SYN.
func (p *Packet) SYNACK() bool { return p.ICMP == nil && p.Seg.Flags.Has(wire.SYN|wire.ACK) }

// Element stands on a path: it passes packets on, changes, delays, answers or drops them. An Element serves one place of one
// world.
type Element interface {
	Take(h Hop, p *Packet)
}

// Func is an Element without a state of its own.
type Func func(h Hop, p *Packet)

// Take calls f.
func (f Func) Take(h Hop, p *Packet) { f(h, p) }

// Path is a row of elements between a near end, which gets what leaves it Back, and a far end, which gets what leaves it Out.
type Path struct {
	w        *World
	near     func(*Packet)
	far      func(*Packet)
	elements []Element
}

func (p *Path) send(x *Packet) {
	x.Dir = Out
	Hop{p, 0}.enter(x)
}

func (p *Path) sendBack(x *Packet) {
	x.Dir = Back
	Hop{p, len(p.elements) - 1}.enter(x)
}

// Hop is a place on a path, from which an element sends on.
type Hop struct {
	path *Path
	i    int
}

// World is where the hop is.
func (h Hop) World() *World { return h.path.w }

// Now is the world's elapsed time.
func (h Hop) Now() time.Duration { return h.path.w.now }

// Chance is true with probability p.
func (h Hop) Chance(p float64) bool { return p > 0 && h.path.w.rng.Float64() < p }

// enter gives the packet to whoever stands at the hop.
func (h Hop) enter(p *Packet) {
	switch {
	case h.i < 0:
		h.path.near(p)
	case h.i >= len(h.path.elements):
		if h.path.far != nil {
			h.path.far(p)
		}
	default:
		h.path.elements[h.i].Take(h, p)
	}
}

func (h Hop) next(p *Packet) Hop {
	if p.Dir == Out {
		return Hop{h.path, h.i + 1}
	}
	return Hop{h.path, h.i - 1}
}

// Pass sends the packet on at once, the way that it travels.
func (h Hop) Pass(p *Packet) { h.next(p).enter(p) }

// PassAfter sends it on after d.
func (h Hop) PassAfter(d time.Duration, p *Packet) {
	h.path.w.push(event{at: h.path.w.now + max(d, 0), hop: h.next(p), p: p})
}

// Answer sends a packet back from here towards the vantage, after d.
func (h Hop) Answer(d time.Duration, p *Packet) {
	p.Dir = Back
	h.PassAfter(d, p)
}

// reject answers p with an ICMP error from a host.
func (h Hop) reject(p *Packet, e wire.ICMPError) {
	e.To, e.Quoted, e.QuotedSeq, e.HasSeq = p.Seg.Src.Addr(), p.Seg.Flow(), p.Seg.Seq, true
	e.V6 = p.Seg.Src.Addr().Is6()
	e.Checksum = wire.ChecksumGood
	if p.Dir == Out {
		h.Answer(0, &Packet{ICMP: &e})
	}
}

// serial is the least distance between two packets of one direction.
const serial = 500 * time.Nanosecond

// wireDelay is the world's own path: its delay, FIFO each way, and its loss.
type wireDelay struct{ last [3]time.Duration }

// Take implements Element.
func (d *wireDelay) Take(h Hop, p *Packet) {
	w := h.path.w
	if h.Chance(w.Lose) {
		return
	}
	at := w.now + max(w.OneWay, 10*time.Microsecond)
	if w.Jitter > 0 {
		at += time.Duration(w.rng.Int64N(int64(w.Jitter)))
	}
	at = max(at, d.last[p.Dir]+serial)
	d.last[p.Dir] = at
	h.PassAfter(at-w.now, p)
}
