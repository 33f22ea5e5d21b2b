package pulse

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Disposition says what became of a segment.
type Disposition uint8

// NotOurs: it belongs to no SYN of this table, as far as can be told. Taken: it was noted. Stacked: the same segment seen on another device
// of this host. Late: it answers a SYN of a burst that is over. Stale: the same, of one whose record has another's place by now: the number
// that it acknowledges could be ours by chance in one of 2^32 ÷ records.
const (
	NotOurs Disposition = iota
	Taken
	Stacked
	Late
	Stale
)

// stackedTime is how far apart the same segment may show on two devices of this host, ns.
const stackedTime = 5_000_000

// find is the record whose SYN a number belongs to. stale: the number leads into the table, but to another SYN.
func (t *Table) find(own, peer netip.AddrPort, iss wire.Seq) (r *record, stale bool) {
	i := uint32(iss) ^ t.numbers.Mask(own, peer)
	if i >= uint32(len(t.records)) {
		return nil, false
	}
	if r = &t.records[i]; r.iss != iss || r.sport != own.Port() || r.state == unused {
		return nil, true
	}
	return r, false
}

// Outgoing takes a segment of ours that the tap saw leaving.
func (t *Table) Outgoing(f *Frame, seg *wire.Segment) Disposition {
	iss := seg.Seq
	if seg.Flags&wire.SYN == 0 {
		iss-- // the RST that answers a SYN-ACK
	}
	r, _ := t.find(seg.Src, seg.Dst, iss)
	switch {
	case r == nil:
		return NotOurs
	case r.burst < 0:
		return Late
	}
	b := t.bursts[r.burst]
	if seg.Flags&wire.SYN != 0 {
		if r.sent != 0 && f.At-r.sent < stackedTime && r.syns == 1 {
			return Stacked
		}
		if r.sent == 0 {
			r.sent = f.At
		}
	}
	f.Shot = r.shot
	t.note(b, f)
	return Taken
}

// Incoming takes a segment from a peer. reset: it is a SYN-ACK to be answered with an RST whose sequence number is what it acknowledges.
// ended is the burst whose last open shot it answered; the caller must not call Due for it any more.
func (t *Table) Incoming(f *Frame, seg *wire.Segment) (d Disposition, reset bool, ended *Burst) {
	synAck := seg.Flags.Has(wire.SYN|wire.ACK) && seg.Flags&wire.RST == 0
	r, stale := t.find(seg.Dst, seg.Src, seg.Ack-1)
	switch {
	case r == nil && stale:
		return Stale, synAck, nil
	case r == nil:
		return NotOurs, false, nil
	}
	if r.answered != 0 && synAck && uint16(f.IfIndex) != r.ifindex && f.At-r.answered < stackedTime {
		return Stacked, false, nil
	}
	if r.burst < 0 {
		return Late, synAck, nil
	}
	f.Shot = r.shot
	t.note(t.bursts[r.burst], f)
	if r.syns == 0 {
		return Taken, false, nil // it answers nothing
	}
	reset, ended = t.answer(r, f, seg, synAck)
	return Taken, reset, ended
}

// answer takes a segment that acknowledges a record's SYN.
func (t *Table) answer(r *record, f *Frame, seg *wire.Segment, synAck bool) (reset bool, ended *Burst) {
	b := t.bursts[r.burst]
	if seg.Checksum == wire.ChecksumBad {
		t.suspect(b)
		return false, nil
	}
	rst := seg.Flags&wire.RST != 0
	if !synAck || r.answered != 0 || r.sent == 0 || r.syns > 1 {
		t.suspect(b)
	}
	if r.answered == 0 && (synAck || rst) { // a bare ACK settles nothing
		r.answered, r.ifindex = f.At, uint16(f.IfIndex)
	}
	switch {
	case synAck:
		return true, t.settle(b, r, accepted)
	case rst:
		return false, t.settle(b, r, over)
	}
	return false, nil
}

// Quoted takes an ICMP error that quotes a SYN of ours. ends: it ends the attempt.
func (t *Table) Quoted(f *Frame, own, peer netip.AddrPort, seq wire.Seq, ends bool) (d Disposition, ended *Burst) {
	r, _ := t.find(own, peer, seq)
	switch {
	case r == nil:
		return NotOurs, nil
	case r.burst < 0:
		return Late, nil
	}
	b := t.bursts[r.burst]
	f.Shot = r.shot
	t.note(b, f)
	t.suspect(b)
	if !ends {
		return Taken, nil
	}
	return Taken, t.settle(b, r, over)
}
