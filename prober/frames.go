package prober

import (
	"hash/crc32"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// EtherTypes on the tap (IEEE 802 numbers).
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// receiver is the tap reader's own state: only its goroutine touches it.
type receiver struct {
	seg  wire.Segment
	icmp wire.ICMPError
	out  *outbox
}

// onFrame takes one frame of the tap; nil ends a block, and what it asked for is sent.
func (e *engine) onFrame(f *rawsock.Frame) {
	if f == nil {
		e.flush(e.rx.out)
		return
	}
	switch f.EtherType {
	case etherARP:
		e.neighbor(f)
	case etherIPv4, etherIPv6:
		e.packet(f)
	default:
		e.stray("ethertype")
	}
}

func (e *engine) stray(disposition string) {
	e.mu.Lock()
	e.strays[disposition]++
	e.mu.Unlock()
}

func (e *engine) packet(f *rawsock.Frame) {
	switch r := wire.Parse(f.Net, &e.rx.seg); r {
	case wire.ReasonNone:
		if f.Unsummed && e.rx.seg.Checksum == wire.ChecksumBad {
			e.rx.seg.Checksum = wire.ChecksumPartial
		}
		e.segment(f, &e.rx.seg)
	case wire.ReasonProtocol:
		e.icmp(f)
	default:
		e.stray("tcp_" + r.String())
	}
}

// segment finds whose a segment is, records it and lets its shot react. What we sent counts only when outgoing, what they sent only
// when not: on the loopback device each shows twice.
func (e *engine) segment(f *rawsock.Frame, seg *wire.Segment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.Outgoing {
		e.outgoing(f, seg)
		return
	}
	i := e.flows.byAck(seg)
	if i < 0 {
		i = e.flows.byFlow(seg.Flow().Reverse())
	}
	if i < 0 {
		e.strays["no_such_flow"]++
		return
	}
	rec := &e.flows.records[i]
	if rec.run == 0 {
		e.late(seg, rec)
		return
	}
	if seg.Checksum == wire.ChecksumBad {
		e.runs[rec.run].corr.Stray("bad_checksum")
		return
	}
	r, shot := e.runs[rec.run], int(rec.shot)
	s := &r.shots[shot]
	at := time.Unix(0, f.At)
	if s.stacked(0, f) {
		r.corr.Stray("stacked_device")
		return
	}
	r.corr.Incoming(shot, at, seg)
	if !s.raw {
		return
	}
	now := time.Now()
	sends := s.conn.Step(now.Sub(s.first), seg, e.rx.out.scratch())
	e.act(r, shot, now, sends, e.rx.out)
	if e.rx.out.full() {
		e.strays["outbox_full"]++
	}
}

func (e *engine) outgoing(f *rawsock.Frame, seg *wire.Segment) {
	i := e.flows.byFlow(seg.Flow())
	if i < 0 {
		if seg.Flags&(wire.SYN|wire.ACK) == wire.SYN {
			e.diverted(f, seg)
		}
		return
	}
	rec := &e.flows.records[i]
	if rec.run == 0 {
		return
	}
	r, shot := e.runs[rec.run], int(rec.shot)
	if r.shots[shot].stacked(1, f) {
		return
	}
	r.corr.Outgoing(shot, time.Unix(0, f.At), f.IfIndex, nextHopMAC(f), seg)
}

// diverted records a kernel SYN that left with our port on a flow that is not the one we asked for: this host's own NAT sent it
// elsewhere.
func (e *engine) diverted(f *rawsock.Frame, seg *wire.Segment) {
	i := e.flows.byPort(seg.Src.Port())
	if i < 0 {
		return
	}
	rec := &e.flows.records[i]
	r := e.runs[rec.run]
	r.diverted = append(r.diverted, diversion{shot: int(rec.shot), flow: seg.Flow(), ifindex: f.IfIndex})
	r.corr.Stray("locally_rewritten")
	r.corr.Outgoing(int(rec.shot), time.Unix(0, f.At), f.IfIndex, nextHopMAC(f), seg)
}

// late resets a SYN-ACK that comes after its burst is over, so that nothing stays half-open at the listener.
func (e *engine) late(seg *wire.Segment, rec *record) {
	if !rec.raw || !seg.Flags.Has(wire.SYN|wire.ACK) || seg.Flags&wire.RST != 0 || seg.Ack != rec.iss+1 {
		return
	}
	p := e.paths.back(seg.Src.Addr(), e.flows.sources[rec.src])
	if p == nil {
		e.strays["late_syn_ack_unanswered"]++
		return
	}
	e.strays["late_syn_ack_reset"]++
	e.rx.out.reset(p, seg.Flow().Reverse(), seg.Ack)
}

// stacked reports whether the frame was seen a moment ago on another device: VLANs, bonds and bridges show it again.
func (s *liveShot) stacked(way int, f *rawsock.Frame) bool {
	sum := crc32.ChecksumIEEE(f.Net)
	last := &s.last[way]
	if last.sum == sum && int(last.ifindex) != f.IfIndex && f.At-last.at < int64(5*time.Millisecond) {
		return true
	}
	*last = sighting{sum: sum, ifindex: int32(f.IfIndex), at: f.At}
	return false
}

// nextHopMAC is the destination of an outgoing Ethernet frame; zero where the device has no link header.
func nextHopMAC(f *rawsock.Frame) (mac wire.MAC) {
	if len(f.Link) >= 14 {
		copy(mac[:], f.Link)
	}
	return mac
}

// icmp takes an ICMP error that quotes one of our segments, or a neighbour-discovery message.
func (e *engine) icmp(f *rawsock.Frame) {
	r := wire.ParseICMP(f.Net, &e.rx.icmp)
	if r != wire.ReasonNone {
		if f.EtherType == etherIPv6 {
			e.neighbor(f)
			return
		}
		e.stray("icmp_" + r.String())
		return
	}
	if f.Outgoing {
		return
	}
	m := &e.rx.icmp
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.flows.byFlow(m.Quoted)
	if i < 0 || e.flows.records[i].run == 0 {
		e.strays["icmp_no_such_flow"]++
		return
	}
	rec := &e.flows.records[i]
	if rec.raw && m.HasSeq && m.QuotedSeq != rec.iss {
		e.strays["icmp_quotes_other_sequence"]++
		return
	}
	run, shot := e.runs[rec.run], int(rec.shot)
	run.corr.ICMP(shot, observe.Answer{At: time.Unix(0, f.At), From: m.From, ICMPType: m.Type, ICMPCode: m.Code, ICMPMTU: m.MTU, ICMPName: m.Name()})
	s := &run.shots[shot]
	if s.raw && fatal(m) {
		s.conn.Unreachable()
		if s.conn.Settled() {
			run.settle(s)
		}
	}
}

// neighbor hands an ARP or ND frame to the runs it concerns.
func (e *engine) neighbor(f *rawsock.Frame) {
	ev, disposition := neigh.Parse(f.EtherType, f.Net)
	if disposition != neigh.OK {
		e.stray("neighbor_" + disposition.String())
		return
	}
	if f.Outgoing && f.Loopback {
		return
	}
	ev.At, ev.Outgoing, ev.IfIndex = time.Unix(0, f.At), f.Outgoing, f.IfIndex
	if len(f.Link) >= 14 {
		ev.FrameMAC = wire.MAC(f.Link[6:12]).String()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.runs {
		if r != nil && (r.near[ev.Sender] && r.near[ev.Target] || r.near[ev.Target] && !ev.Sender.IsValid()) {
			r.corr.Neighbor(ev)
		}
	}
}

// fatal reports whether an ICMP error ends a connection attempt: every unreachable, time-exceeded and parameter problem does, but for
// fragmentation needed, redirects and source quench (net/ipv4/tcp_ipv4.c tcp_v4_err and net/ipv6/tcp_ipv6.c tcp_v6_err, 6.18).
func fatal(m *wire.ICMPError) bool {
	if m.V6 {
		return m.Type != 2
	}
	switch m.Type {
	case 3:
		return m.Code != 4
	case 11, 12:
		return true
	}
	return false
}
