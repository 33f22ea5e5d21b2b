package fakenet

import (
	"encoding/binary"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// StripTimestamps replaces the timestamps option of what m chooses by NOPs.
func StripTimestamps(m Match) Element {
	return Edit(m, func(s *wire.Segment) {
		rewrite(s, func(o wire.Option, to *wire.Options) {
			if o.Kind != wire.OptTimestamps {
				to.Append(o.Kind, o.Data...)
				return
			}
			for range 10 {
				to.Append(wire.OptNOP)
			}
		})
	})
}

// ShiftTSval adds to the TSval of what m chooses and to nothing else: echoes come back that fit no SYN.
func ShiftTSval(by int64, m Match) Element {
	return Edit(m, func(s *wire.Segment) { shift(s, by, 0) })
}

// Normalize gives every flow a TSval offset by which it seems to come from one rising clock, and takes it off the echo again: nobody
// outside can tell.
type Normalize struct {
	Clock Clock

	offset map[wire.Flow]offset
}

// offset belongs to one connection, known by its ISN, so that a repeated SYN keeps it.
type offset struct {
	iss wire.Seq
	by  int64
}

// Take implements Element.
func (n *Normalize) Take(h Hop, p *Packet) {
	val, _, ok := p.Seg.Options.Timestamps()
	if !TCP(h, p) || !ok {
		h.Pass(p)
		return
	}
	if n.offset == nil {
		n.offset = map[wire.Flow]offset{}
	}
	f := p.Seg.Flow()
	if p.Dir == Out {
		if old, known := n.offset[f]; p.SYN() && (!known || old.iss != p.Seg.Seq) {
			n.offset[f] = offset{p.Seg.Seq, int64(n.Clock.At(h.Now(), f).Sub(val))}
		}
		shift(&p.Seg, n.offset[f].by, 0)
	} else {
		shift(&p.Seg, 0, -n.offset[f.Reverse()].by)
	}
	h.Pass(p)
}

// shift moves both values of the option; an echo without ACK means nothing and stays (RFC 7323 §3.2).
func shift(s *wire.Segment, val, ecr int64) {
	v, e, ok := s.Options.Timestamps()
	if !ok {
		return
	}
	if s.Flags&wire.ACK != 0 {
		e = e.Add(ecr)
	}
	s.Options.SetTimestamps(v.Add(val), e)
}

func rewrite(s *wire.Segment, each func(wire.Option, *wire.Options)) {
	var o wire.Options
	for opt := range s.Options.All() {
		each(opt, &o)
	}
	s.Options = o
}

// ClampMSS lowers the MSS option of what m chooses.
func ClampMSS(mss uint16, m Match) Element {
	return Edit(m, func(s *wire.Segment) {
		rewrite(s, func(o wire.Option, to *wire.Options) {
			if o.Kind == wire.OptMSS && len(o.Data) == 2 && binary.BigEndian.Uint16(o.Data) > mss {
				o.Data = binary.BigEndian.AppendUint16(nil, mss)
			}
			to.Append(o.Kind, o.Data...)
		})
	})
}
