package sweep

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Disposition is what was done with a frame, for counting.
type Disposition uint8

// The dispositions.
const (
	DispositionUnknown Disposition = iota
	Left                           // a SYN of ours, seen leaving
	LeftAgain                      // the same once more: on a stacked device
	First                          // the first answer to a probe
	Again                          // a further answer
	Stray                          // answers no probe
	Corrupt                        // its checksum is wrong
	Other                          // an answer's flags that mean nothing to a SYN, or what else we send
)

func (d Disposition) String() string {
	names := [...]string{"unknown", "left", "left_again", "first", "again", "stray", "corrupt", "other"}
	if int(d) < len(names) {
		return names[d]
	}
	return names[0]
}

// Outgoing takes a segment of ours that the tap saw leaving, at a time (ns since 1970).
func (b *Book) Outgoing(s *wire.Segment, at int64) Disposition {
	if s.Flags&(wire.SYN|wire.ACK|wire.RST) != wire.SYN {
		return Other
	}
	i := b.find(s.Src, s.Dst, s.Seq)
	if i < 0 {
		return Stray
	}
	r := b.at(i)
	if r.sent != 0 {
		return LeftAgain
	}
	r.sent = at
	return Left
}

// Incoming takes a segment on a port of ours. reset reports that it is a SYN-ACK of probe i, which the caller must reset: also a further one,
// which says that the first reset was lost.
func (b *Book) Incoming(s *wire.Segment, at int64) (i int, d Disposition, reset bool) {
	if s.Checksum == wire.ChecksumBad {
		return -1, Corrupt, false
	}
	i = b.find(s.Dst, s.Src, s.Ack-1)
	if i < 0 {
		return -1, Stray, false
	}
	state := Accepted
	switch {
	case s.Flags&wire.ACK == 0:
		return i, Other, false
	case s.Flags&wire.RST != 0:
		state = Refused
	case s.Flags&wire.SYN == 0:
		return i, Other, false
	}
	return i, b.answered(i, state, at), state == Accepted
}

// Unreachable takes an ICMP error that quotes the flow and, where hasSeq, the sequence number of a SYN of ours. It is believed only with
// one (RFC 5927 §4.1).
func (b *Book) Unreachable(f wire.Flow, seq wire.Seq, hasSeq bool, at int64) Disposition {
	if !hasSeq {
		return Stray
	}
	i := b.find(f.Src, f.Dst, seq)
	if i < 0 {
		return Stray
	}
	return b.answered(i, Unreachable, at)
}

func (b *Book) answered(i int, state State, at int64) Disposition {
	r := b.at(i)
	if r.state != Pending {
		return Again
	}
	r.state = state
	if r.sent != 0 {
		r.took = at - r.sent
	}
	return First
}

// Refuse notes that this host did not take probe i.
func (b *Book) Refuse(i int) { b.at(i).state = NotSent }

// Result is one probe as it ended.
type Result struct {
	Flow  wire.Flow
	State State
	// Left is whether the tap saw the SYN leave; Took the time from then to the answer by the kernel's stamps, valid where Timed.
	Left, Timed bool
	Took        time.Duration
}

// Result returns probe i.
func (b *Book) Result(i int) Result {
	r := b.at(i)
	return Result{Flow: b.Flow(i), State: r.state, Left: r.sent != 0, Timed: r.took >= 0, Took: time.Duration(max(r.took, 0))}
}
