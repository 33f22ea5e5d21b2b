package prober

import (
	"hash/crc32"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
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
	echo wire.Echo
	out  *outbox
}

// onFrame takes one frame of the tap; nil ends a block, and what it asked for is sent.
func (e *engine) onFrame(f *rawsock.Frame) {
	if f == nil {
		e.flush(e.rx.out)
		e.sweeps.flush()
		return
	}
	if e.sweeps.frame(f) {
		e.seen.Add(1)
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
	if e.rx.out.full() {
		e.flush(e.rx.out)
	}
	e.seen.Add(1)
}

func (e *engine) stray(disposition string) {
	e.mu.Lock()
	e.strays[disposition]++
	e.mu.Unlock()
}

func (e *engine) packet(f *rawsock.Frame) {
	switch r := wire.Parse(f.Net, &e.rx.seg); r {
	case wire.ReasonNone, wire.ReasonOptions:
		if f.Unsummed && e.rx.seg.Checksum == wire.ChecksumBad {
			e.rx.seg.Checksum = wire.ChecksumPartial
		}
		e.segment(f, &e.rx.seg)
	case wire.ReasonProtocol:
		e.control(f)
	default:
		e.stray("tcp_" + r.String())
	}
}

// segment finds whose a segment is, records it and lets its shot react. What we sent counts only when outgoing, what they sent only
// when not: on the loopback device each shows twice.
func (e *engine) segment(f *rawsock.Frame, seg *wire.Segment) {
	if l := e.light.Load(); l != nil && l.segment(f, seg) {
		return
	}
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
	switch {
	case seg.Checksum == wire.ChecksumBad && rec.run == 0:
		e.strays["bad_checksum"]++
	case seg.Checksum == wire.ChecksumBad:
		e.runs[rec.run].corr.Stray("bad_checksum")
		e.runs[rec.run].tape.keep(f, int(rec.shot))
	case rec.run == 0:
		e.late(f, seg, i)
	default:
		e.incoming(f, seg, e.runs[rec.run], int(rec.shot))
	}
}

// incoming gives a segment to the shot whose peer sent it.
func (e *engine) incoming(f *rawsock.Frame, seg *wire.Segment, r *run, shot int) {
	s := &r.shots[shot]
	if s.stacked(0, f) {
		r.corr.Stray("stacked_device")
		return
	}
	r.tape.keep(f, shot)
	if s.raw && s.conn.SYNs() == 0 {
		r.corr.Stray("before_the_first_syn") // it answers nothing, and must not set the shot's clock going
		return
	}
	if s.trace == nil || s.trace.add(f, seg) || s.raw && seg.Flags&wire.RST != 0 {
		r.corr.Incoming(shot, time.Unix(0, f.At), seg)
	}
	if len(f.Link) >= 14 {
		r.corr.Delivered(wire.MAC(f.Link[6:12]))
	}
	if !s.raw {
		return
	}
	now := time.Now()
	e.act(r, shot, now, s.conn.Step(now.Sub(s.first), seg, e.rx.out.scratch()), e.rx.out)
}

func (e *engine) outgoing(f *rawsock.Frame, seg *wire.Segment) {
	i := e.flows.byFlow(seg.Flow())
	if i < 0 {
		if seg.Flags&(wire.SYN|wire.ACK) != wire.SYN || !e.divert(f, seg) {
			e.strays["outgoing_no_such_flow"]++
		}
		return
	}
	rec := &e.flows.records[i]
	if rec.run == 0 {
		e.strays["outgoing_after_the_end"]++
		return
	}
	r, shot := e.runs[rec.run], int(rec.shot)
	if r.shots[shot].stacked(1, f) {
		r.corr.Stray("stacked_device")
		return
	}
	r.tape.keep(f, shot)
	if t := r.shots[shot].trace; t != nil && !t.add(f, seg) && (!r.shots[shot].raw || seg.Flags&wire.RST == 0) {
		return
	}
	r.corr.Outgoing(shot, time.Unix(0, f.At), f.IfIndex, nextHopMAC(f), seg)
}

// late resets a SYN-ACK that comes after its burst is over, so that nothing stays half-open at the listener.
func (e *engine) late(f *rawsock.Frame, seg *wire.Segment, i int32) {
	rec := &e.flows.records[i]
	if !seg.Flags.Has(wire.SYN|wire.ACK) || seg.Flags&wire.RST != 0 || seg.Ack != rec.iss+1 {
		e.strays["late_segment"]++
		return
	}
	e.belate(f, seg)
	if err := e.rx.out.reset(e.flows.ways[i], seg.Flow().Reverse(), seg.Ack); err != nil {
		e.strays["late_syn_ack_unanswered"]++
		return
	}
	e.strays["late_syn_ack_reset"]++
}

// stackedTime is how far apart the same frame may show on two devices of this host.
const stackedTime = 5 * time.Millisecond

// stacked reports whether the frame was seen a moment ago on another device: VLANs, bonds and bridges show it again.
func (s *liveShot) stacked(way int, f *rawsock.Frame) bool { return s.last[way].again(f) }

// again reports whether the frame was just seen on another device, and notes it.
func (last *sighting) again(f *rawsock.Frame) bool {
	sum := crc32.ChecksumIEEE(f.Net)
	if last.sum == sum && int(last.ifindex) != f.IfIndex && f.At-last.at < int64(stackedTime) {
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
