package fakenet

import (
	"encoding/binary"
	"slices"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// stretch is data from one sequence number to before another.
type stretch struct{ from, to wire.Seq }

// keep puts data that came early behind the hole in front of it: joined with what it touches, and first in line to be reported (RFC 2018 §4).
func (c *conn) keep(seg *wire.Segment) {
	if seg.Length == 0 || !c.rcvNxt.Before(seg.Seq) {
		return
	}
	s := stretch{seg.Seq, seg.Seq.Add(seg.Length)}
	c.early = slices.DeleteFunc(c.early, func(o stretch) bool {
		if s.to.Before(o.from) || o.to.Before(s.from) {
			return false
		}
		if o.from.Before(s.from) {
			s.from = o.from
		}
		if s.to.Before(o.to) {
			s.to = o.to
		}
		return true
	})
	c.early = slices.Insert(c.early, 0, s)
}

// sack reports what came early, where the peer permits it: three blocks beside timestamps, else four (RFC 2018 §3).
func (c *conn) sack(o *wire.Options) {
	if len(c.early) == 0 || !c.syn.SACKPermitted() {
		return
	}
	blocks := 4
	if c.ts {
		blocks = 3
	}
	var b []byte
	for _, s := range c.early[:min(blocks, len(c.early))] {
		b = binary.BigEndian.AppendUint32(b, uint32(s.from))
		b = binary.BigEndian.AppendUint32(b, uint32(s.to))
	}
	o.Append(wire.OptNOP).Append(wire.OptNOP).Append(wire.OptSACK, b...)
}
