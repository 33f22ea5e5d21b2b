package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// SYNProxy completes handshakes by cookie on its own, and only then opens the connection to whoever stands behind it, whose sequence
// numbers and timestamps it translates from then on (net/netfilter/nf_synproxy_core.c, 6.18).
type SYNProxy struct {
	Look Look
	// Clock of its own SYN-ACKs.
	Clock Clock
	Seed  uint64

	conns map[wire.Flow]*spliced
	face  Host // makes options
}

// spliced is one connection through the proxy.
type spliced struct {
	open bool     // the server has answered
	seq  wire.Seq // ours minus the server's
	ts   int64
	mine wire.TSval
}

// NewSYNProxy makes one that looks like Linux's.
func NewSYNProxy(seed uint64) *SYNProxy {
	return &SYNProxy{Look: LinuxLook(), Clock: Clock{Hz: 1000, Base: wire.TSval(mix(seed + 31)), Per: PerHostPair, Seed: seed}, Seed: mix(seed + 32),
		conns: map[wire.Flow]*spliced{}}
}

// Take implements Element.
func (s *SYNProxy) Take(h Hop, p *Packet) {
	if p.ICMP != nil || p.Echo != nil {
		h.Pass(p)
		return
	}
	if p.Dir == Back {
		s.fromServer(h, p)
		return
	}
	seg := &p.Seg
	iss := wire.Seq(hashFlow(s.Seed, seg.Flow()))
	c := s.conns[seg.Flow()]
	switch {
	case p.SYN():
		s.answer(h, seg, iss)
	case c != nil && c.open:
		s.shift(seg, c, -1)
		h.Pass(p)
	case seg.Flags&wire.ACK != 0 && seg.Flags&wire.RST == 0 && seg.Ack == iss+1:
		s.connect(h, seg)
	}
}

// answer sends the cookie SYN-ACK, which is never repeated.
func (s *SYNProxy) answer(h Hop, seg *wire.Segment, iss wire.Seq) {
	s.face.Look = s.Look
	val, _, _ := seg.Options.Timestamps()
	back := wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: iss, Ack: seg.Seq + 1, Flags: wire.SYN | wire.ACK, HopLimit: s.Look.HopLimit, DF: true,
		Options: s.face.options(&seg.Options, s.Clock.At(h.Now(), seg.Flow().Reverse())&^63|39, val)}
	h.Answer(20*time.Microsecond, &Packet{Seg: back})
}

// connect opens the connection to the server with the client's own numbers.
func (s *SYNProxy) connect(h Hop, seg *wire.Segment) {
	val, _, has := seg.Options.Timestamps()
	s.conns[seg.Flow()] = &spliced{}
	syn := wire.Segment{Src: seg.Src, Dst: seg.Dst, Seq: seg.Seq - 1, Flags: wire.SYN, Window: seg.Window, HopLimit: 63, DF: true,
		Options: wire.LinuxSYNWithoutTimestamps(s.Look.MSS, s.Look.Scale)}
	if has {
		syn.Options = wire.LinuxSYN(s.Look.MSS, val, s.Look.Scale)
	}
	h.Pass(&Packet{Seg: syn, Dir: Out})
}

func (s *SYNProxy) fromServer(h Hop, p *Packet) {
	seg := &p.Seg
	f := seg.Flow().Reverse()
	c := s.conns[f]
	if c == nil {
		return
	}
	if !p.SYNACK() {
		s.shift(seg, c, 1)
		h.Pass(p)
		return
	}
	if !c.open {
		c.open = true
		c.seq = wire.Seq(hashFlow(s.Seed, f)) - seg.Seq
		if val, _, ok := seg.Options.Timestamps(); ok {
			c.mine = s.Clock.At(h.Now(), seg.Flow())
			c.ts = int64(c.mine.Sub(val))
		}
	}
	ack := wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Ack: seg.Seq + 1, Flags: wire.ACK, Window: 502, HopLimit: 63, DF: true}
	if val, ecr, ok := seg.Options.Timestamps(); ok {
		ack.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(ecr, val)
	}
	h.next(&Packet{Dir: Out}).enter(&Packet{Seg: ack, Dir: Out})
	// The client learns the window.
	s.shift(seg, c, 1)
	seg.Flags, seg.Seq = wire.ACK, seg.Seq+1
	val, ecr, has := seg.Options.Timestamps()
	seg.Options = wire.Options{}
	if has {
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(val, ecr)
	}
	h.Pass(p)
}

// shift translates numbers: sign 1 towards the client, −1 towards the server.
func (s *SYNProxy) shift(seg *wire.Segment, c *spliced, sign int) {
	val, ecr, has := seg.Options.Timestamps()
	if sign > 0 {
		seg.Seq += c.seq
		if has {
			seg.Options.SetTimestamps(val.Add(c.ts), ecr)
		}
		return
	}
	seg.Ack -= c.seq
	if has {
		seg.Options.SetTimestamps(val, ecr.Add(-c.ts))
	}
}
