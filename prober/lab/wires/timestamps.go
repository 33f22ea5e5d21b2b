package wires

import (
	"encoding/binary"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// StripTimestamps replaces the timestamps option of the segments that m chooses by NOPs, as some firewalls do.
func StripTimestamps(m Match) Stage {
	return Edit(m, func(s *wire.Segment) {
		s.Options = rewrite(s.Options, func(o wire.Option, to *wire.Options) {
			if o.Kind != wire.OptTimestamps {
				to.Append(o.Kind, o.Data...)
				return
			}
			for range 2 + len(o.Data) {
				to.Append(wire.OptNOP)
			}
		})
	})
}

// ShiftTSval adds to the TSval of the segments that m chooses and to nothing else: the echo that comes back fits no SYN.
func ShiftTSval(by int64, m Match) Stage {
	return Edit(m, func(s *wire.Segment) { shift(s, by, 0) })
}

// ShiftTSecr adds to the TSecr of the segments that m chooses.
func ShiftTSecr(by int64, m Match) Stage {
	return Edit(m, func(s *wire.Segment) { shift(s, 0, by) })
}

// Clock gives the host behind this wire another timestamp clock, as another machine would have: what leaves has by added to
// TSval, and what arrives has it taken off TSecr again, so that neither end can tell.
func Clock(by int64) Stage {
	return Func(func(now time.Time, p Packet) []Departure {
		switch {
		case !p.TCP:
		case p.Dir == Out:
			p = p.Edited(func(s *wire.Segment) { shift(s, by, 0) })
		case p.Dir == In:
			p = p.Edited(func(s *wire.Segment) { shift(s, 0, -by) })
		}
		return pass(now, p)
	})
}

// OneClock is a balancer with NAT that gives all connections it makes towards a service port one timestamp clock, and turns the
// echoes back: "adjust timestamps on SNAT". Stand it on the balancer's own device: Out are its connections.
type OneClock struct {
	Port  uint16
	Clock func(time.Time) wire.TSval

	flows map[wire.Flow]offset
	high  wire.TSval // the newest value sent so far: a new connection never begins behind it
	sent  bool
}

// offset belongs to one connection, known by its ISN so that a repeated SYN keeps it.
type offset struct {
	isn wire.Seq
	by  int64
}

// Pass rewrites the segments of the balancer's own connections.
func (o *OneClock) Pass(now time.Time, p Packet) []Departure {
	if !p.TCP {
		return pass(now, p)
	}
	if o.flows == nil {
		o.flows = map[wire.Flow]offset{}
	}
	switch {
	case p.Dir == Out && p.Seg.Dst.Port() == o.Port:
		flow := p.Seg.Flow()
		if SYN(p) && o.flows[flow].isn != p.Seg.Seq {
			o.flows[flow] = o.begin(now, &p.Seg)
		}
		p = p.Edited(func(s *wire.Segment) { shift(s, o.flows[flow].by, 0) })
		if val, _, ok := p.Seg.Options.Timestamps(); ok && (!o.sent || o.high.Before(val)) {
			o.high, o.sent = val, true
		}
	case p.Dir == In && p.Seg.Src.Port() == o.Port:
		p = p.Edited(func(s *wire.Segment) { shift(s, 0, -o.flows[s.Flow().Reverse()].by) })
	}
	return pass(now, p)
}

// begin chooses the offset of a new connection. A SYN that waited on its way here makes its connection run ahead of the clock by as
// much, so the next one must start from what has been sent.
func (o *OneClock) begin(now time.Time, s *wire.Segment) offset {
	val, _, _ := s.Options.Timestamps()
	start := o.Clock(now)
	if o.sent && start.Before(o.high) {
		start = o.high
	}
	return offset{s.Seq, int64(start.Sub(val))}
}

// shift moves both values of the option; an echo of 0 without ACK means nothing and stays (RFC 7323 §3.2).
func shift(s *wire.Segment, val, ecr int64) {
	v, e, ok := s.Options.Timestamps()
	if !ok {
		return
	}
	v = v.Add(val)
	if s.Flags.Has(wire.ACK) {
		e = e.Add(ecr)
	}
	setTimestamps(s, v, e)
}

func setTimestamps(s *wire.Segment, val, ecr wire.TSval) {
	s.Options = rewrite(s.Options, func(o wire.Option, to *wire.Options) {
		if o.Kind == wire.OptTimestamps {
			o.Data = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(val)), uint32(ecr))
		}
		to.Append(o.Kind, o.Data...)
	})
}

func rewrite(old wire.Options, each func(wire.Option, *wire.Options)) wire.Options {
	var o wire.Options
	for opt := range old.All() {
		each(opt, &o)
	}
	return o
}

// ClampMSS sets the MSS option of the segments that m chooses.
func ClampMSS(mss uint16, m Match) Stage {
	return Edit(m, func(s *wire.Segment) {
		s.Options = rewrite(s.Options, func(o wire.Option, to *wire.Options) {
			if o.Kind == wire.OptMSS {
				o.Data = binary.BigEndian.AppendUint16(nil, mss)
			}
			to.Append(o.Kind, o.Data...)
		})
	})
}
