package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Refusal is the answer of a filter to a SYN that it does not let pass.
type Refusal func(h Hop, p *Packet)

// RefuseByReset answers in the name of the SYN's destination, with the hop limit given.
func RefuseByReset(hopLimit uint8) Refusal {
	return func(h Hop, p *Packet) {
		h.Answer(0, &Packet{Seg: wire.Segment{Src: p.Seg.Dst, Dst: p.Seg.Src, Flags: wire.RST | wire.ACK, Ack: p.Seg.End(), HopLimit: hopLimit, DF: true}})
	}
}

// RefuseByICMP answers that it is prohibited, or that there is no such port: six times at once and then once each time (net.ipv4.icmp_ratelimit, 1 s; XRLIM_BURST_FACTOR,
// net/ipv4/route.c inet_peer_xrlim_allow, 6.18), 0: always.
func RefuseByICMP(from netip.Addr, prohibited bool, each time.Duration) Refusal {
	errors := &Limiter{Rate: 1e9, Burst: 6}
	if each > 0 {
		errors.Rate = 1 / each.Seconds()
	}
	return func(h Hop, p *Packet) {
		if !errors.take(h.Now(), netip.Addr{}) {
			return
		}
		e := portUnreachable(from)
		if prohibited {
			e = adminProhibited(from)
		}
		h.reject(p, e)
	}
}

// Places lets a SYN pass where fewer than Most connections have one, refuses the others, and takes a place back Held after the RST or FIN from the vantage.
type Places struct {
	Most    int
	Held    time.Duration
	Refusal Refusal

	taken map[wire.Flow]time.Duration // until when; 0: it is open
}

// Take implements Element.
func (c *Places) Take(h Hop, p *Packet) {
	if p.ICMP != nil || p.Dir == Back {
		h.Pass(p)
		return
	}
	if c.taken == nil {
		c.taken = map[wire.Flow]time.Duration{}
	}
	f := p.Seg.Flow()
	switch _, open := c.taken[f]; {
	case p.SYN() && c.free(h.Now()) <= 0 && (!open || c.taken[f] > 0):
		c.Refusal(h, p)
		return
	case p.SYN():
		c.taken[f] = 0
	case open && p.Seg.Flags&(wire.RST|wire.FIN) != 0:
		c.taken[f] = max(h.Now()+c.Held, 1)
	}
	h.Pass(p)
}

// free is how many places are free.
func (c *Places) free(now time.Duration) int {
	for f, until := range c.taken {
		if until > 0 && until <= now {
			delete(c.taken, f)
		}
	}
	return c.Most - len(c.taken)
}

// RateLimitRefusing is RateLimit with an answer for what is over it, behind a router.
func RateLimitRefusing(seed uint64, rate float64, burst int, refusal Refusal) *World {
	h := NewHost(vip(), seed)
	h.Ports[port].App = HTTP()
	w := behindRouter(seed, &Limiter{Rate: rate, Burst: burst, Refusal: refusal}, &Router{Addr: netip.AddrFrom4([4]byte{203, 0, 113, 1}), Quiet: true}, h)
	w.Client.Others = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 11})}
	return w
}

// PlacesRefusing is a filter that lets so many connections be open at a time and refuses the others.
func PlacesRefusing(seed uint64, most int, held time.Duration) *World {
	w, _ := Server(seed, &Places{Most: most, Held: held, Refusal: RefuseByReset(64)})
	return w
}
