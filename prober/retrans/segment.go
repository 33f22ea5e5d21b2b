package retrans

import (
	"encoding/binary"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Segment is what matters here of one TCP segment on the tap.
type Segment struct {
	At       time.Time // kernel's time on the tap
	Outgoing bool      // ours
	Flags    wire.Flags
	Seq, Ack wire.Seq
	Length   int // payload octets; more than the MSS where the device cuts (GSO) or has merged (GRO) segments
	// ID is the IPv4 identification; 0 where there is none.
	ID           uint16
	TSval, TSecr wire.TSval // where HasTS
	HasTS        bool
	SACK         []Range
	// MSS and SACKPermitted are the options of a SYN.
	MSS           uint16
	SACKPermitted bool
}

// Range is a stretch of sequence numbers, To excluded.
type Range struct{ From, To wire.Seq }

// maxBlocks is how many SACK blocks fit into the 40 octets of options (RFC 2018 §3).
const maxBlocks = 4

// Of takes from a parsed segment what matters here. The SACK option of a length that is none is left out (RFC 2018 §3).
func Of(at time.Time, outgoing bool, seg *wire.Segment) Segment {
	s := Segment{At: at, Outgoing: outgoing, Flags: seg.Flags, Seq: seg.Seq, Ack: seg.Ack, Length: max(seg.Length, len(seg.Payload)), ID: seg.ID}
	s.TSval, s.TSecr, s.HasTS = seg.Options.Timestamps()
	if seg.Flags&wire.SYN != 0 {
		s.MSS, _ = seg.Options.MSS()
		s.SACKPermitted = seg.Options.SACKPermitted()
		return s
	}
	for o := range seg.Options.All() {
		if o.Kind == wire.OptSACK && len(o.Data)%8 == 0 && len(o.Data) <= 8*maxBlocks {
			for b := o.Data; len(b) >= 8; b = b[8:] {
				s.SACK = append(s.SACK, Range{wire.Seq(binary.BigEndian.Uint32(b)), wire.Seq(binary.BigEndian.Uint32(b[4:]))})
			}
		}
	}
	return s
}

// end is the sequence number behind the segment: a FIN counts one (RFC 9293 §3.4).
func (s *Segment) end() wire.Seq {
	e := s.Seq.Add(s.Length)
	if s.Flags&wire.FIN != 0 {
		e++
	}
	return e
}

// duplicate is the first SACK block where it reports data that had arrived before: below the acknowledgment, or within the second block
// (RFC 2883 §4).
func (s *Segment) duplicate() (Range, bool) {
	if len(s.SACK) == 0 {
		return Range{}, false
	}
	b := s.SACK[0]
	if !b.From.Before(b.To) {
		return Range{}, false
	}
	if b.From.Before(s.Ack) && !s.Ack.Before(b.To) {
		return b, true
	}
	if len(s.SACK) > 1 && !b.From.Before(s.SACK[1].From) && !s.SACK[1].To.Before(b.To) {
		return b, true
	}
	return Range{}, false
}
