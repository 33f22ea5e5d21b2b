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
	Repeated                       // a SYN that Repeat asked for, seen leaving
)

func (d Disposition) String() string {
	names := [...]string{"unknown", "left", "left_again", "first", "again", "stray", "corrupt", "other", "repeated"}
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
	switch r := b.at(i); {
	case r.sent == 0:
		r.sent = at
		return Left
	case r.again > 0:
		return Repeated
	}
	return LeftAgain
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

// Unreachable takes an ICMP error that quotes a SYN of ours. It is believed only with the sequence number (RFC 5927 §4.1).
func (b *Book) Unreachable(m *wire.ICMPError, at int64) Disposition {
	if !m.HasSeq {
		return Stray
	}
	i := b.find(m.Quoted.Src, m.Quoted.Dst, m.QuotedSeq)
	if i < 0 {
		return Stray
	}
	d := b.answered(i, Unreachable, at)
	if d == First {
		b.at(i).icmp = [2]uint8{m.Type, m.Code}
	}
	return d
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

// Refuse notes that this host did not take probe i, of which nothing was sent before.
func (b *Book) Refuse(i int) { b.at(i).state = NotSent }

// Repeat notes that the SYN of probe i is sent once more; false: it has its answer.
func (b *Book) Repeat(i int) bool {
	r := b.at(i)
	if r.state != Pending {
		return false
	}
	r.again++
	return true
}

// Expire ends the waiting for an answer to probe i, which may have one. blind: the capture lost frames while it lasted.
func (b *Book) Expire(i int, blind bool) {
	switch r := b.at(i); {
	case r.state != Pending:
	case blind:
		r.state = Unseen
	case r.sent == 0:
		r.state = Dropped
	default:
		r.state = Silent
	}
}

// Awaited reports whether probe i has no answer and is not over.
func (b *Book) Awaited(i int) bool { return b.at(i).state == Pending }

// Unanswered reports whether probe i was sent, as far as this host knows, and drew nothing.
func (b *Book) Unanswered(i int) bool {
	s := b.at(i).state
	return s == Pending || s == Silent || s == Unseen
}

// Result is one probe as it ended, or as it stands.
type Result struct {
	Flow  wire.Flow
	State State
	// Left is whether the tap saw the SYN leave; Took the time from then, by the kernel's stamps, to the answer, valid where Timed.
	Left, Timed bool
	Took        time.Duration
	// Again is how many SYNs were sent beyond the first.
	Again int
	// ICMPType and ICMPCode are those of the error of an Unreachable probe.
	ICMPType, ICMPCode uint8
}

// Result returns probe i.
func (b *Book) Result(i int) Result {
	r := b.at(i)
	return Result{Flow: b.Flow(i), State: r.state, Left: r.sent != 0, Timed: r.took >= 0, Took: time.Duration(max(r.took, 0)), Again: int(r.again),
		ICMPType: r.icmp[0], ICMPCode: r.icmp[1]}
}

// StallTime is what an answer takes at least whose SYN, or which itself, was lost and sent again: the first repeat of either side comes after a
// second (RFC 6298 §2; TCP_TIMEOUT_INIT of include/net/tcp.h, Linux 3.1 to 6.18; 3 s before).
const StallTime = time.Second

// Stalled reports whether the probe was accepted, but only after its SYN had been sent again, or as late as if an answer had been.
func (r *Result) Stalled() bool {
	return r.State == Accepted && (r.Again > 0 || r.Timed && r.Took >= StallTime)
}
