package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Echo is an ICMP echo message under way: request or reply number i of a burst. Its packet's segment has its addresses and hop limit and
// nothing else.
type Echo struct {
	Reply bool
	run   *run
	i     int
}

// TCP chooses segments, Echoes the ICMP echo messages.
func TCP(_ Hop, p *Packet) bool { return p.ICMP == nil && p.Echo == nil }

// Echoes chooses ICMP echo messages.
func Echoes(_ Hop, p *Packet) bool { return p.Echo != nil }

// Replier answers ICMP echo requests in the name of whoever is asked, or in its own where Own is valid, with a hop limit of its own: a
// balancer, a firewall or a router that does so for hosts behind it.
type Replier struct {
	Own      netip.Addr
	HopLimit uint8
}

// Take implements Element.
func (e *Replier) Take(h Hop, p *Packet) {
	if p.Echo == nil || p.Echo.Reply || p.Dir != Out {
		h.Pass(p)
		return
	}
	h.reply(p, e.Own, e.HopLimit)
}

// reply answers an echo request from an address, or the one that was asked.
func (h Hop) reply(p *Packet, from netip.Addr, limit uint8) {
	if !from.IsValid() {
		from = p.Seg.Dst.Addr()
	}
	answer := &Packet{Echo: &Echo{Reply: true, run: p.Echo.run, i: p.Echo.i}}
	answer.Seg = wire.Segment{Src: netip.AddrPortFrom(from, 0), Dst: p.Seg.Src, HopLimit: limit, DF: true}
	h.Answer(20*time.Microsecond, answer)
}

// pings sends a burst's echo requests in their time, with the raw shots that carry them.
func (w *World) pings(r *run) {
	for i := range r.burst.Pings {
		p := &r.burst.Pings[i]
		var way *group
		for j := range r.shots {
			if g := r.groups[r.burst.Shots[j].Flow.Dst]; r.shots[j].raw && r.burst.Shots[j].Flow.Dst.Addr() == p.Dst {
				way = g
			}
		}
		switch {
		case way == nil:
			r.corr.PingRefused(i, "no raw shot of the burst goes to this address")
		case way.why != "":
			r.corr.PingRefused(i, way.why)
		default:
			r.open++
			w.push(event{at: r.start + p.Offset, call: func() { w.ping(r, i, way.mac) }})
		}
	}
}

func (w *World) ping(r *run, i int, mac wire.MAC) {
	id, seq := w.Client.Ports.Lo+uint16(i), uint16(i)
	r.corr.Pinging(i, w.Now(), w.Client.Source, id, seq)
	r.corr.PingOut(i, w.Now())
	p := &Packet{Echo: &Echo{run: r, i: i}, mac: mac}
	p.Seg = wire.Segment{Src: netip.AddrPortFrom(w.Client.Source, 0), Dst: netip.AddrPortFrom(r.burst.Pings[i].Dst, 0), HopLimit: 64, DF: true}
	w.path.send(p)
}

// pinged takes an echo message that reaches the vantage.
func (w *World) pinged(p *Packet) {
	r := p.Echo.run
	if !p.Echo.Reply || len(w.runs) == 0 || w.runs[len(w.runs)-1] != r || w.ringDrops() {
		return
	}
	i := p.Echo.i
	first := r.corr.Observation().Pings[i].Answer() == nil
	r.corr.PingReply(i, observe.Reply{At: w.Now(), From: p.Seg.Src.Addr(), HopLimit: p.Seg.HopLimit})
	if first && p.Seg.Src.Addr() == r.burst.Pings[i].Dst {
		r.open--
	}
}
