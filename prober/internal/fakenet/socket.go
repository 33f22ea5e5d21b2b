package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

type sockState uint8

const (
	sockSynSent sockState = iota
	sockOpen              // established, the process has not heard of it yet
	sockFinWait           // closed by us, first
	sockClosed
)

// socket is a connect of the vantage's kernel (net/ipv4/tcp_input.c tcp_rcv_synsent_state_process and tcp_timer.c, 6.18).
type socket struct {
	w        *World
	f        *flow
	r        *run
	i        int
	state    sockState
	iss      wire.Seq
	sndNxt   wire.Seq
	rcvNxt   wire.Seq
	ts       bool
	echo     wire.TSval
	began    time.Duration
	sent     []time.Duration // when each SYN was made
	timer    int             // generation
	reported bool
	err      *wire.ICMPError // the last ICMP error
	rtt      time.Duration
	options  uint8
	mss      uint16
}

// connect is connect(2) of kernel shot i.
func (w *World) connect(r *run, i int) {
	f := r.shots[i].f
	s := &socket{w: w, f: f, r: r, i: i, began: w.now}
	// RFC 6528 as Linux has it: a keyed function of the flow and a clock of 64 ns (net/core/secure_seq.c seq_scale).
	s.iss = wire.Seq(uint32(hashFlow(w.seed+9, f.out)) + uint32(w.now>>6))
	s.sndNxt = s.iss + 1
	f.sock, f.iss = s, s.iss
	w.Client.counters["Tcp.ActiveOpens"]++
	s.sendSYN()
	w.After(r.burst.Listen, s.deadline)
}

func (s *socket) sendSYN() {
	w, c := s.w, &s.w.Client
	if len(s.sent) > 0 {
		c.counters["TcpExt.TCPTimeouts"]++
		c.counters["TcpExt.TCPSynRetrans"]++
		c.counters["Tcp.RetransSegs"]++
	}
	s.sent = append(s.sent, w.now)
	p := &Packet{Seg: wire.Segment{Src: s.f.out.Src, Dst: s.f.out.Dst, Seq: s.iss, Flags: wire.SYN, Window: 64240,
		HopLimit: s.script().HopLimit, ToS: s.script().ToS, DF: true, Options: c.synOptions}}
	if c.ECN && len(s.sent) == 1 {
		p.Seg.Flags |= wire.ECE | wire.CWR
	}
	if c.NoTimestamps {
		p.Seg.Options = c.bareOptions
	} else {
		p.Seg.Options.SetTimestamps(s.tsval(), 0)
	}
	s.rearm()
	w.kernelSend(p)
}

// rearm sets the retransmission timer of the next rung, or the end of the ladder.
func (s *socket) rearm() {
	at, n := s.w.Client.Ladder.At, len(s.sent)
	var wait time.Duration
	switch {
	case n < len(at):
		wait = at[n] - at[n-1]
	case len(at) < 2:
		wait = time.Second
	default:
		wait = 2 * (at[len(at)-1] - at[len(at)-2])
	}
	s.timer++
	gen := s.timer
	s.w.push(event{at: wheel(s.w.now, wait, s.w.Client.HZ), call: func() { s.expire(gen) }})
}

func (s *socket) expire(gen int) {
	if gen != s.timer || s.state != sockSynSent {
		return
	}
	if len(s.sent) >= len(s.w.Client.Ladder.At) {
		s.report("ETIMEDOUT", observe.TimedOut, s.with("ETIMEDOUT: the kernel gave up"))
		return
	}
	s.sendSYN()
}

func (s *socket) script() *plan.Script { return &s.r.burst.Arms[s.r.burst.Shots[s.i].Arm].Script }

func (s *socket) tsval() wire.TSval { return s.w.Client.Clock.At(s.w.now, s.f.out) }

// deadline is Listen after connect(2): the prober's own end of waiting.
func (s *socket) deadline() {
	if s.state == sockSynSent {
		s.report("", observe.TimedOut, s.with("no answer within the deadline"))
	}
}

// report tells the burst how the connect ended, and closes the socket.
func (s *socket) report(errno string, o observe.Outcome, reason string) {
	if s.reported {
		return
	}
	s.reported = true
	w := s.w
	v := observe.KernelView{Started: w.at(s.began), Errno: errno, Local: s.f.flow.Src, HasInfo: true,
		Info: observe.TCPInfo{TotalRetrans: uint32(max(len(s.sent)-1, 0)), RTO: time.Second, SndMSS: 536}}
	if errno != "" || o == observe.Accepted || o == observe.Reset {
		v.Completed = w.Now()
	}
	switch o {
	case observe.Accepted:
		v.Info.State, v.Info.RTT, v.Info.RTTVar, v.Info.Options, v.Info.SndMSS = 1, s.rtt, s.rtt/2, s.options, uint32(s.mss)
		v.Info.RTO = max(200*time.Millisecond, 200*time.Millisecond+s.rtt)
	case observe.TimedOut:
		v.Info.State, v.Info.Retransmits = 2, uint8(max(len(s.sent)-1, 0))
		if errno != "" {
			v.Info.State = 7
		}
	default:
		v.Info.State = 7
	}
	s.r.corr.Kernel(s.i, v, o, reason)
	s.r.settle(&s.r.shots[s.i])
	s.r.socks--
	s.close(o)
}

func (s *socket) close(o observe.Outcome) {
	if o != observe.Accepted {
		s.state = sockClosed
		return
	}
	if s.script().Then.Close == plan.CloseFirst {
		s.state = sockFinWait
		s.send(wire.FIN | wire.ACK)
		s.sndNxt++
		return
	}
	s.state = sockClosed
	s.send(wire.RST | wire.ACK)
}

// send makes a segment of the connection, with timestamps where they were agreed on.
func (s *socket) send(flags wire.Flags) {
	p := &Packet{Seg: wire.Segment{Src: s.f.out.Src, Dst: s.f.out.Dst, Seq: s.sndNxt, Ack: s.rcvNxt, Flags: flags, Window: 502,
		HopLimit: s.script().HopLimit, DF: true}}
	if s.ts && flags&wire.RST == 0 {
		p.Seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(s.tsval(), s.echo)
	}
	s.w.kernelSend(p)
}

func (s *socket) receive(seg *wire.Segment) {
	switch s.state {
	case sockSynSent:
		s.synSent(seg)
	case sockOpen:
		if seg.Flags&wire.RST != 0 && seg.Seq == s.rcvNxt {
			s.report("ECONNRESET", observe.Reset, "ECONNRESET")
			return
		}
		s.take(seg)
	case sockFinWait:
		if seg.Flags&wire.RST != 0 {
			s.state = sockClosed
			return
		}
		s.take(seg)
	case sockClosed:
		if seg.Flags&wire.RST == 0 && seg.Flags&wire.ACK != 0 {
			s.w.kernelSend(&Packet{Seg: wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: wire.RST}})
		}
	}
}

// synSent is tcp_rcv_synsent_state_process.
func (s *socket) synSent(seg *wire.Segment) {
	if seg.Flags&wire.ACK == 0 {
		return // a SYN that crosses ours, which no server sends, or an RST that acknowledges nothing
	}
	if seg.Ack != s.iss+1 {
		// An old connection's ACK: reset it, and if nothing was repeated yet, try again at once (TCP_TIMEOUT_MIN is 2 ticks).
		if seg.Flags&wire.RST == 0 {
			s.w.kernelSend(&Packet{Seg: wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: wire.RST}})
			if len(s.sent) == 1 {
				s.timer++
				gen := s.timer
				s.w.push(event{at: wheel(s.w.now, 2*time.Second/time.Duration(s.w.Client.HZ), s.w.Client.HZ), call: func() { s.expire(gen) }})
			}
		}
		return
	}
	val, ecr, has := seg.Options.Timestamps()
	if has && ecr != 0 && !s.echoInRange(ecr) {
		s.w.Client.counters["TcpExt.PAWSActive"]++
		if seg.Flags&wire.RST == 0 {
			s.w.kernelSend(&Packet{Seg: wire.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: wire.RST}})
		}
		return
	}
	if seg.Flags&wire.RST != 0 {
		s.report("ECONNREFUSED", observe.Refused, "ECONNREFUSED: RST")
		return
	}
	if seg.Flags&wire.SYN == 0 {
		return
	}
	s.established(seg, val, ecr, has)
}

// echoInRange is between(tsecr, retrans_stamp, now): the echo is one of the TSvals sent since the first SYN.
func (s *socket) echoInRange(ecr wire.TSval) bool {
	if s.w.Client.NoTimestamps {
		return true
	}
	first := s.w.Client.Clock.At(s.sent[0], s.f.out)
	return uint32(s.tsval()-first) >= uint32(ecr-first)
}

func (s *socket) established(seg *wire.Segment, val, ecr wire.TSval, has bool) {
	w := s.w
	s.state = sockOpen
	s.rcvNxt = seg.Seq + 1
	s.ts, s.echo = has && !w.Client.NoTimestamps, val
	s.mss = w.Client.MSS
	if m, ok := seg.Options.MSS(); ok {
		s.mss = min(s.mss, m)
	}
	if s.ts {
		s.options |= 1
		s.mss -= 12
	}
	if seg.Options.SACKPermitted() {
		s.options |= 2
	}
	if _, ok := seg.Options.WindowScale(); ok {
		s.options |= 4
	}
	switch {
	case len(s.sent) == 1:
		s.rtt = w.now - s.sent[0]
	case s.ts:
		s.rtt = max(time.Duration(s.tsval()-ecr)*time.Second/time.Duration(max(w.Client.Clock.Hz, 1)), time.Microsecond)
	}
	s.send(wire.ACK)
	w.After(w.Client.Wake, func() { s.report("", observe.Accepted, "") })
}

// take acknowledges what comes on a connection that we close or are about to.
func (s *socket) take(seg *wire.Segment) {
	if seg.Flags.Has(wire.SYN | wire.ACK) {
		s.send(wire.ACK)
		return
	}
	if seg.Length == 0 && seg.Flags&wire.FIN == 0 || seg.Seq != s.rcvNxt {
		if seg.Seq.Before(s.rcvNxt) && (seg.Length > 0 || seg.Flags&wire.FIN != 0) {
			s.send(wire.ACK)
		}
		return
	}
	s.rcvNxt = seg.End()
	if v, _, ok := seg.Options.Timestamps(); ok {
		s.echo = v
	}
	s.send(wire.ACK)
}
