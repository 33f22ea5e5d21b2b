package fakenet

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Match chooses packets. One with state serves one element.
type Match func(h Hop, p *Packet) bool

// Any chooses everything.
func Any(Hop, *Packet) bool { return true }

// SYNs chooses what opens connections, SYNACKs what answers, Errors ICMP errors.
func SYNs(_ Hop, p *Packet) bool { return p.SYN() && p.Dir == Out }

// SYNACKs chooses the answers to SYNs.
func SYNACKs(_ Hop, p *Packet) bool { return p.SYNACK() }

// Going chooses one direction.
func Going(d Dir) Match { return func(_ Hop, p *Packet) bool { return p.Dir == d } }

// Larger chooses packets of more than n octets, IP header included.
func Larger(n int) Match { return func(_ Hop, p *Packet) bool { return p.ICMP == nil && p.Size() > n } }

// ToPorts chooses what goes to, or comes from, ports of the far side.
func ToPorts(ports ...uint16) Match {
	return func(_ Hop, p *Packet) bool {
		return p.ICMP == nil && (p.Dir == Out && slices.Contains(ports, p.Seg.Dst.Port()) || p.Dir == Back && slices.Contains(ports, p.Seg.Src.Port()))
	}
}

// Chance chooses each packet that m chooses with probability q.
func Chance(q float64, m Match) Match {
	return func(h Hop, p *Packet) bool { return m(h, p) && h.Chance(q) }
}

// Nth chooses the n-th, from 1, of every flow's packets that m chooses.
func Nth(m Match, n ...int) Match {
	seen := map[wire.Flow]int{}
	return func(h Hop, p *Packet) bool {
		if !m(h, p) {
			return false
		}
		f := p.Seg.Flow()
		seen[f]++
		return slices.Contains(n, seen[f])
	}
}

// Sticky chooses whole flows, a share of all 4-tuples by a keyed hash: what it chooses once it always chooses.
func Sticky(share float64, seed uint64, m Match) Match {
	return func(h Hop, p *Packet) bool {
		f := p.Seg.Flow()
		if p.Dir == Back {
			f = f.Reverse()
		}
		return m(h, p) && unit(hashFlow(seed, f)) < share
	}
}

// unit maps a hash to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// Both chooses what all of them choose.
func Both(all ...Match) Match {
	return func(h Hop, p *Packet) bool {
		for _, m := range all {
			if !m(h, p) {
				return false
			}
		}
		return true
	}
}

// Drop loses what m chooses.
func Drop(m Match) Element {
	return Func(func(h Hop, p *Packet) {
		if !m(h, p) {
			h.Pass(p)
		}
	})
}

// Hold delays what m chooses: others overtake it.
func Hold(d time.Duration, m Match) Element {
	return Func(func(h Hop, p *Packet) {
		if m(h, p) {
			h.PassAfter(d, p)
			return
		}
		h.Pass(p)
	})
}

// Twice doubles what m chooses, the copy gap later.
func Twice(gap time.Duration, m Match) Element {
	return Func(func(h Hop, p *Packet) {
		if m(h, p) {
			copied := *p
			h.PassAfter(gap, &copied)
		}
		h.Pass(p)
	})
}

// Edit changes the segments that m chooses.
func Edit(m Match, f func(*wire.Segment)) Element {
	return Func(func(h Hop, p *Packet) {
		if TCP(h, p) && m(h, p) {
			f(&p.Seg)
		}
		h.Pass(p)
	})
}

// Reject answers the segments that m chooses with an ICMP error of the given type and code, and drops them.
func Reject(m Match, from func(*Packet) wire.ICMPError) Element {
	return Func(func(h Hop, p *Packet) {
		if TCP(h, p) && p.Dir == Out && m(h, p) {
			h.reject(p, from(p))
			return
		}
		h.Pass(p)
	})
}

// Shape is a queue of limited rate: what Match chooses waits its turn, and is dropped where it would wait longer than Depth.
type Shape struct {
	Each, Depth time.Duration // that one packet takes; that one may wait
	Match       Match         // nil: everything

	free [3]time.Duration // by direction
}

// Take implements Element.
func (s *Shape) Take(h Hop, p *Packet) {
	if s.Match != nil && !s.Match(h, p) {
		h.Pass(p)
		return
	}
	start := max(s.free[p.Dir], h.Now())
	if start-h.Now() > s.Depth {
		return
	}
	s.free[p.Dir] = start + s.Each
	h.PassAfter(start+s.Each-h.Now(), p)
}
