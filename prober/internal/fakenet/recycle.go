package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Recycle is the per-host PAWS of kernels ≤ 4.11 with tcp_tw_recycle=1 (net/ipv4/tcp_metrics.c tcp_peer_is_proven and
// tcp_remember_stamp, 3.10): a SYN is silently dropped when its source address is remembered, for less than 60 s, with a TSval more
// than one tick above the SYN's. A connection that the server closes first is what is remembered.
type Recycle struct {
	// NoTSDropped drops SYNs without timestamps from a remembered address (CentOS 7's 3.10.0-1160, and commit a26552afe894); without it
	// they pass (2.6.32).
	NoTSDropped bool
	// Primers are others whose connections, closed by the server, are remembered for an address they share: clients behind one SNAT.
	Primers []*Primer

	hosts map[netip.Addr]remembered
}

// Primer is another client whose connections keep the memory of an address up to date.
type Primer struct {
	From  netip.Addr
	To    netip.AddrPort // where it connects to, where its clock or a survey depends on that
	Clock Clock
	// Every is the mean time between two of its connections; each comes up to half of it late, by a keyed function of its number.
	Every time.Duration
	// Between bounds its activity; a zero Until has no end.
	Since, Until time.Duration

	next uint64
}

// remembered is tcpm_ts and tcpm_ts_stamp.
type remembered struct {
	val   wire.TSval
	stamp int64 // seconds
}

// TCP_PAWS_MSL and TCP_PAWS_WINDOW (include/net/tcp.h, 3.10).
const (
	pawsMSL    = 60
	pawsWindow = 1
)

// stamp is the wall second of an elapsed time.
func stamp(now time.Duration) int64 { return epoch + int64(now/time.Second) }

// refuses is tcp_peer_is_proven.
func (r *Recycle) refuses(now time.Duration, seg *wire.Segment) bool {
	r.prime(now)
	m, ok := r.hosts[seg.Src.Addr()]
	if !ok || stamp(now)-m.stamp >= pawsMSL {
		return false
	}
	val, _, has := seg.Options.Timestamps()
	if !has {
		return r.NoTSDropped
	}
	return m.val.Sub(val) > pawsWindow
}

// record is tcp_remember_stamp: a running maximum until the older value is more than 60 s old.
func (r *Recycle) record(host netip.Addr, val wire.TSval, at int64) {
	m, ok := r.hosts[host]
	if ok && val.Before(m.val) && at-m.stamp <= pawsMSL {
		return
	}
	if r.hosts == nil {
		r.hosts = map[netip.Addr]remembered{}
	}
	r.hosts[host] = remembered{val, at}
}

// Remembered is the TSval in force for an address.
func (r *Recycle) Remembered(w *World, host netip.Addr) (wire.TSval, bool) {
	r.prime(w.now)
	m, ok := r.hosts[host]
	return m.val, ok && stamp(w.now)-m.stamp < pawsMSL
}

// Then is the TSval in force for an address at an elapsed time, by what the primers alone have done.
func (r *Recycle) Then(at time.Duration, host netip.Addr) (wire.TSval, bool) {
	past := Recycle{}
	for _, p := range r.Primers {
		q := *p
		q.next = 0
		past.Primers = append(past.Primers, &q)
	}
	past.prime(at)
	m, ok := past.hosts[host]
	return m.val, ok && stamp(at)-m.stamp < pawsMSL
}

// Remember puts a value into the memory as a connection closed just now would.
func (r *Recycle) Remember(w *World, host netip.Addr, val wire.TSval) {
	r.record(host, val, stamp(w.now))
}

// prime catches up with what the others have done until now, in the order of its happening.
func (r *Recycle) prime(now time.Duration) {
	for {
		var first *Primer
		var at time.Duration
		for _, p := range r.Primers {
			p.skip(now)
			if t := p.at(); t <= now && (p.Until == 0 || t < p.Until) && (first == nil || t < at) {
				first, at = p, t
			}
		}
		if first == nil {
			return
		}
		first.next++
		r.record(first.From, first.Clock.At(at, first.flow(first.next-1)), stamp(at))
	}
}

// flow is that of the primer's n-th connection.
func (p *Primer) flow(n uint64) wire.Flow {
	return wire.Flow{Src: netip.AddrPortFrom(p.From, 33000+uint16(mix(p.Clock.Seed+n)%20000)), Dst: p.To}
}

// at is when the primer's next connection closes.
func (p *Primer) at() time.Duration {
	every := max(p.Every, time.Millisecond)
	shift := time.Duration(mix(p.Clock.Seed^p.next)%uint64(every)) / 2
	return p.Since + time.Duration(p.next)*every + shift
}

// skip passes over what would be forgotten by now in any case.
func (p *Primer) skip(now time.Duration) {
	every := max(p.Every, time.Millisecond)
	if old := now - 2*pawsMSL*time.Second - p.Since; old > 0 {
		p.next = max(p.next, uint64(old/every))
	}
}
