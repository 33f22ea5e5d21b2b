package fakenet

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Router takes one off the hop limit and answers what has none left (RFC 792, RFC 4443 §3.3).
type Router struct {
	Addr netip.Addr
	// Quiet sends no ICMP.
	Quiet bool
}

// Take implements Element.
func (r *Router) Take(h Hop, p *Packet) {
	if p.ICMP != nil {
		h.Pass(p)
		return
	}
	if p.Seg.HopLimit <= 1 {
		if !r.Quiet && p.Dir == Out {
			h.reject(p, timeExceeded(r.Addr))
		}
		return
	}
	p.Seg.HopLimit--
	h.Pass(p)
}

func timeExceeded(from netip.Addr) wire.ICMPError {
	if from.Is6() {
		return wire.ICMPError{From: from, Type: 3}
	}
	return wire.ICMPError{From: from, Type: 11}
}

func portUnreachable(from netip.Addr) wire.ICMPError {
	if from.Is6() {
		return wire.ICMPError{From: from, Type: 1, Code: 4}
	}
	return wire.ICMPError{From: from, Type: 3, Code: 3}
}

func adminProhibited(from netip.Addr) wire.ICMPError {
	if from.Is6() {
		return wire.ICMPError{From: from, Type: 1, Code: 1}
	}
	return wire.ICMPError{From: from, Type: 3, Code: 13}
}

// Limiter is a token bucket over what Match chooses: Rate tokens a second, up to Burst of them, one for each packet; nothing waits.
type Limiter struct {
	Rate  float64
	Burst int
	Match Match // nil: SYNs
	// PerSource keeps a bucket for each source address.
	PerSource bool
	// Refusal answers what is over the limit; nil: nothing does.
	Refusal Refusal

	buckets map[netip.Addr]*bucket
}

type bucket struct {
	tokens float64
	at     time.Duration
}

// Take implements Element.
func (r *Limiter) Take(h Hop, p *Packet) {
	m := r.Match
	if m == nil {
		m = SYNs
	}
	if !m(h, p) || r.take(h.Now(), p.Seg.Src.Addr()) {
		h.Pass(p)
	} else if r.Refusal != nil {
		r.Refusal(h, p)
	}
}

func (r *Limiter) take(now time.Duration, src netip.Addr) bool {
	if !r.PerSource {
		src = netip.Addr{}
	}
	if r.buckets == nil {
		r.buckets = map[netip.Addr]*bucket{}
	}
	b := r.buckets[src]
	if b == nil {
		b = &bucket{tokens: float64(r.Burst), at: now}
		r.buckets[src] = b
	}
	b.tokens = min(float64(r.Burst), b.tokens+r.Rate*(now-b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Branch spreads flows over parallel ways, each a row of elements, and joins them again: ECMP. Flows and their answers keep to one way.
type Branch struct {
	Ways [][]Element
	Seed uint64
	// OneWay branches only what goes Out; what comes Back takes the first way.
	OneWay bool
	// PerPacket spreads packets and not flows.
	PerPacket bool

	outer Hop
	paths []*Path
}

// Take implements Element.
func (b *Branch) Take(h Hop, p *Packet) {
	if b.paths == nil {
		b.outer = h
		for _, way := range b.Ways {
			b.paths = append(b.paths, &Path{w: h.path.w, elements: way,
				near: func(p *Packet) { b.outer.Pass(p) }, far: func(p *Packet) { b.outer.Pass(p) }})
		}
	}
	f := p.Seg.Flow()
	if p.ICMP != nil {
		f = p.ICMP.Quoted
	} else if p.Dir == Back {
		f = f.Reverse()
	}
	way := b.paths[hashFlow(b.Seed, f)%uint64(len(b.paths))]
	if b.PerPacket {
		way = b.paths[h.path.w.rng.IntN(len(b.paths))]
	}
	if p.Dir == Out {
		way.send(p)
		return
	}
	if b.OneWay {
		way = b.paths[0]
	}
	way.sendBack(p)
}

// PortReuse drops the first SYN of a 4-tuple that was used within the last 120 s, as IPVS < 5.9 does when it finds the old connection
// (net/netfilter/ipvs/ip_vs_core.c ip_vs_in with conntrack, 5.4: NF_DROP while the old entry expires).
type PortReuse struct{ used map[wire.Flow]use }

type use struct {
	iss wire.Seq
	at  time.Duration
}

// Take implements Element.
func (r *PortReuse) Take(h Hop, p *Packet) {
	if !p.SYN() || p.Dir != Out {
		h.Pass(p)
		return
	}
	if r.used == nil {
		r.used = map[wire.Flow]use{}
	}
	f := p.Seg.Flow()
	u, ok := r.used[f]
	r.used[f] = use{p.Seg.Seq, h.Now()}
	if ok && u.iss != p.Seg.Seq && h.Now()-u.at < 120*time.Second {
		return
	}
	h.Pass(p)
}

// Network routes by destination address to what answers there. An address that it does not know is silent.
type Network map[netip.Addr]Element

// Take implements Element.
func (n Network) Take(h Hop, p *Packet) {
	if p.Dir == Back {
		h.Pass(p)
		return
	}
	if e := n[p.Seg.Dst.Addr()]; e != nil {
		e.Take(h, p)
	}
}

func (n Network) begin(h Hop) {
	for _, a := range slices.SortedFunc(maps.Keys(n), netip.Addr.Compare) {
		if b, ok := n[a].(beginner); ok {
			b.begin(h)
		}
	}
}
