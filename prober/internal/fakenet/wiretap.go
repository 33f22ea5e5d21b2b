package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// beginner is an element that acts of its own accord, from the first Run or Wait on.
type beginner interface{ begin(h Hop) }

// begin connects the vantage's neighbour layer to its link and starts what acts by itself.
func (w *World) begin() {
	n := &w.Client.Neighbors
	if n.w != nil {
		return
	}
	for i, e := range w.path.elements {
		if b, ok := e.(beginner); ok {
			b.begin(Hop{w.path, i})
		}
	}
	n.w, n.HZ = w, w.Client.HZ
	kernel, raw := w.Client.Ports.Split()
	w.books = [2]*plan.PortBook{plan.NewPortBook(kernel, uint16(mix(w.seed))), plan.NewPortBook(raw, uint16(mix(w.seed)))}
	w.Client.synOptions = wire.LinuxSYN(w.Client.MSS, 0, 7)
	w.Client.bareOptions = wire.LinuxSYNWithoutTimestamps(w.Client.MSS, 7)
	n.mac = func(a netip.Addr) wire.MAC { return w.Client.station(a).MAC }
	n.ask = func(a netip.Addr, to wire.MAC) { w.whoHas(a, to) }
	n.emit = func(i int, p *Packet) {
		if i == 0 {
			w.transmit(p)
			return
		}
		w.After(time.Duration(i)*time.Microsecond, func() { w.transmit(p) })
	}
	n.dropped = func() { w.Client.counters["arp_cache.unresolved_discards"]++ }
	n.refused = func() { w.Client.counters["arp_cache.table_fulls"]++ }
	n.failed = w.hostUnreachable
}

func (w *World) ringDrops() bool {
	if w.Tap.Lose > 0 && w.rng.Float64() < w.Tap.Lose {
		w.Tap.drops++
		return true
	}
	return false
}

// transmit puts a packet on the link, past the tap.
func (w *World) transmit(p *Packet) {
	w.seen(true, &p.Seg)
	if p.SYN() {
		w.SYNs++
	}
	if f := w.flows[p.Seg.Flow()]; f != nil && f.run != nil && !w.Tap.Off && !w.ringDrops() {
		if f.out != f.flow && p.SYN() && f.run.diverted == nil {
			f.run.diverted = f
			f.run.corr.Stray("locally_rewritten")
		}
		f.run.trace(f.shot, w.Now(), true, &p.Seg)
		f.run.corr.Outgoing(f.shot, w.Now(), w.Client.IfIndex, p.mac, &p.Seg)
	}
	w.path.send(p)
}

func (w *World) seen(out bool, s *wire.Segment) {
	if w.Tap.Watch != nil {
		w.Tap.Watch(w.Now(), out, s)
	}
}

// receive takes what reaches the vantage.
func (w *World) receive(p *Packet) {
	if p.ICMP != nil {
		w.receiveICMP(p.ICMP)
		return
	}
	if p.Echo != nil {
		w.pinged(p)
		return
	}
	seg := &p.Seg
	w.seen(false, seg)
	f := w.flows[seg.Flow().Reverse()]
	if f == nil {
		w.unasked(seg)
		return
	}
	seg.Length = max(seg.Length, len(seg.Payload))
	if seg.Checksum == wire.ChecksumBad {
		if f.run != nil {
			f.run.corr.Stray("bad_checksum")
		}
		return
	}
	seg.Checksum = wire.ChecksumGood
	taken := !w.Tap.Off && !w.ringDrops()
	if f.run != nil && taken {
		f.run.trace(f.shot, w.Now(), false, seg)
		f.run.corr.Incoming(f.shot, w.Now(), seg)
	}
	switch {
	case f.raw && !taken: // the raw shots read the same ring: what it drops never came
	case f.raw:
		w.receiveRaw(f, seg)
	case f.sock != nil:
		f.sock.receive(seg)
	}
}

// unasked resets a segment that no socket of the vantage knows (RFC 9293 §3.10.7.1).
func (w *World) unasked(seg *wire.Segment) {
	if seg.Flags&wire.RST == 0 && seg.Flags&wire.ACK != 0 {
		w.kernelSend(&Packet{Seg: wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: wire.RST}})
	}
}

func (w *World) receiveRaw(f *flow, seg *wire.Segment) {
	if f.run == nil {
		if seg.Flags.Has(wire.SYN|wire.ACK) && seg.Flags&wire.RST == 0 && seg.Ack == f.iss+1 {
			w.belated = append(w.belated, observe.NewBelated(w.Now(), seg))
			w.transmit(&Packet{Seg: wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: wire.RST, HopLimit: 64, DF: true},
				mac: f.mac})
		}
		return
	}
	r, i := f.run, f.shot
	if r.shots[i].conn.State() == handshake.Unsent {
		return
	}
	sends := r.shots[i].conn.Step(w.now-r.shots[i].first, seg, nil)
	if len(sends) > 0 {
		w.After(reaction, func() { w.act(r, i, sends) })
	}
	w.follow(r, i)
}

// arm sets the timer of raw shot i.
func (w *World) arm(r *run, i int, at time.Duration) {
	s := &r.shots[i]
	s.timer = max(at, w.now)
	fire := s.timer
	w.push(event{at: fire, call: func() {
		if s.timer != fire || !s.open || s.f.run == nil {
			return
		}
		s.timer = -1
		w.act(r, i, s.conn.Step(w.now-s.first, nil, nil))
		w.follow(r, i)
	}})
}

// follow notes what a step left to be done.
func (w *World) follow(r *run, i int) {
	s := &r.shots[i]
	if !s.ended && s.conn.State() == handshake.Closed {
		s.ended = true
		if r.ended++; r.ended == r.burst.Enough {
			r.corr.Cut(false, observe.EnoughClosed)
		}
	}
	if s.conn.Settled() {
		r.settle(s)
		return
	}
	if next, ok := s.conn.Next(); ok && s.first+next != s.timer {
		w.arm(r, i, s.first+next)
	}
}

func (w *World) act(r *run, i int, sends []handshake.Send) {
	for k := range sends {
		if sends[k].SYN >= 0 && r.shots[i].f.run != nil {
			r.corr.Handed(i, w.Now(), sends[k].TSval, sends[k].HasTS)
			if w.Client.Refuse > 0 && w.rng.Float64() < w.Client.Refuse {
				r.corr.Stray("send_error")
				r.corr.Refused(i, sends[k].SYN, "ENOBUFS", true)
				continue
			}
		}
		w.sendRaw(r, i, &sends[k])
	}
}

// sendRaw makes the segment as the engine's outbox does; it passes by the neighbour layer.
func (w *World) sendRaw(r *run, i int, s *handshake.Send) {
	f := r.shots[i].f
	script := &r.burst.Arms[r.burst.Shots[i].Arm].Script
	p := &Packet{Seg: wire.Segment{Src: f.out.Src, Dst: f.out.Dst, Seq: s.Seq, Flags: s.Flags, Payload: s.Payload, Length: len(s.Payload),
		DF: true, Window: script.Window, HopLimit: script.HopLimit, ToS: script.ToS}, mac: f.mac}
	seg := &p.Seg
	if seg.Window == 0 {
		seg.Window = 64240
	}
	if seg.HopLimit == 0 {
		seg.HopLimit = 64
	}
	switch {
	case s.SYN >= 0:
		seg.Options = script.Options
		if s.HasTS {
			seg.Options.SetTimestamps(s.TSval, 0)
		}
	case s.HasTS:
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(s.TSval, s.TSecr)
	}
	if s.Flags&wire.ACK != 0 {
		seg.Ack = s.Ack
	}
	if s.Flags&wire.RST != 0 {
		seg.Window = 0
	}
	w.transmit(p)
}

func (w *World) receiveICMP(e *wire.ICMPError) {
	f := w.flows[e.Quoted]
	if f == nil || f.run == nil {
		return
	}
	if d := e.QuotedSeq.Sub(f.iss); e.HasSeq && (d < 0 || d >= 1<<16) {
		return // of an earlier flow (RFC 5927 §4.1)
	}
	ans := observe.Answer{At: w.Now(), From: e.From, ICMPType: e.Type, ICMPCode: e.Code, ICMPMTU: e.MTU, ICMPName: e.Name()}
	taken := !w.Tap.Off && !w.ringDrops()
	if taken {
		f.run.corr.ICMP(f.shot, ans)
	}
	switch {
	case f.raw && !taken:
	case f.raw && ans.Ends():
		s := &f.run.shots[f.shot]
		s.conn.Unreachable()
		if s.conn.Settled() {
			f.run.settle(s)
		}
	case !f.raw && f.sock != nil && ans.Ends():
		f.sock.icmp(e)
	}
}
