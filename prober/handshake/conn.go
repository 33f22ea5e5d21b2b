// Package handshake is the life of one raw shot as a pure state machine: when its SYN repeats, what it answers to which
// segment, how an exchange goes on and how it ends. Segments and elapsed time come in, segments to send come out; it opens
// nothing, reads no clock and never answers what does not belong to its own connection.
package handshake

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// State of a raw connection, after RFC 9293 §3.3.2 as far as a prober needs it.
type State uint8

// The states. HalfOpen: a SYN-ACK was seen and deliberately not answered. Reset: we aborted. Aborted: the peer did.
const (
	Unsent State = iota
	SynSent
	HalfOpen
	Established
	FinWait  // our FIN is out
	PeerDone // the peer's FIN came first; ours follows
	LastAck  // the peer's FIN came first and ours is out
	Closed   // both FINs acknowledged
	Reset
	Refused // RST to our SYN
	Aborted // RST after the SYN-ACK
	Dead    // an ICMP error ended it, or listening did
)

func (s State) String() string {
	names := [...]string{"unsent", "syn_sent", "half_open", "established", "fin_wait", "peer_done", "last_ack", "closed", "reset",
		"refused", "aborted", "dead"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Send is one segment to put on the wire. SYN is the index of the SYN on its ladder where Flags is SYN, else −1.
type Send struct {
	Flags        wire.Flags
	Seq, Ack     wire.Seq
	TSval, TSecr wire.TSval
	HasTS        bool
	Payload      []byte
	SYN          int
}

// Conn is one raw connection. Its zero value is of no use: see New.
type Conn struct {
	script *plan.Script
	iss    wire.Seq
	state  State
	syns   int // SYNs sent
	// send and receive sequence space (RFC 9293 §3.3.1)
	sndUna, sndNxt, rcvNxt wire.Seq
	// echo is the peer's newest TSval, ts whether both sides use timestamps (RFC 7323 §3.2).
	echo wire.TSval
	ts   bool
	// timer is when Step wants to be called next without a segment; repeats counts those of data or FIN.
	timer   time.Duration
	armed   bool
	repeats int
	sentAny bool // Data went out at least once
	peerFIN bool
}

// dataRTO is the wait before data or a FIN of ours is repeated; it doubles (RFC 6298 §2.1, §5.5). dataRepeats bounds it.
const (
	dataRTO     = time.Second
	dataRepeats = 5
)

// New prepares a connection that follows script from the initial send sequence number iss.
func New(script *plan.Script, iss wire.Seq) Conn {
	return Conn{script: script, iss: iss, armed: true, sndUna: iss, sndNxt: iss + 1}
}

// State returns where the connection stands.
func (c *Conn) State() State { return c.state }

// SYNs returns how many SYNs have been sent.
func (c *Conn) SYNs() int { return c.syns }

// Next returns when, counted from the first SYN, Step wants to be called without a segment.
func (c *Conn) Next() (time.Duration, bool) { return c.timer, c.armed }

// Settled reports whether nothing more will be sent unless the peer speaks again. A settled connection still resets
// repeats of its SYN-ACK.
func (c *Conn) Settled() bool { return !c.armed && c.state >= Closed }

// Step moves the connection: seg is a segment from the peer, or nil when only time has passed. now counts from the first
// SYN. Segments to send are appended to out, in order.
func (c *Conn) Step(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if seg == nil {
		return c.expire(now, out)
	}
	if c.state == Unsent {
		return out
	}
	switch {
	case seg.Flags&wire.RST != 0:
		return c.onReset(seg, out)
	case seg.Flags.Has(wire.SYN | wire.ACK):
		return c.onSYNACK(now, seg, out)
	case seg.Flags&wire.SYN == 0 && seg.Flags&wire.ACK != 0:
		return c.onSegment(now, seg, out)
	}
	return out
}

// Unreachable ends a connection that an ICMP error concerned while its SYN was unanswered, as Linux does
// (net/ipv4/tcp_ipv4.c tcp_v4_err, 6.18: fatal in SYN_SENT).
func (c *Conn) Unreachable() {
	if c.state == SynSent {
		c.finish(Dead)
	}
}

// Stop ends the connection at the end of listening: whatever is still open is reset, so that nothing stays behind at the peer.
func (c *Conn) Stop(now time.Duration, out []Send) []Send {
	switch c.state {
	case HalfOpen, Established, FinWait, PeerDone, LastAck:
		return c.abort(now, out)
	case SynSent, Unsent:
		c.finish(Dead)
	case Closed, Reset, Refused, Aborted, Dead:
		c.armed = false
	}
	return out
}

func (c *Conn) expire(now time.Duration, out []Send) []Send {
	if !c.armed || now < c.timer {
		return out
	}
	switch c.state {
	case Unsent, SynSent:
		return c.sendSYN(now, out)
	case Established:
		return c.proceed(now, out)
	case FinWait, LastAck:
		return c.repeat(now, out)
	case PeerDone:
		return c.sendFIN(now, LastAck, out)
	case HalfOpen, Closed, Reset, Refused, Aborted, Dead:
	}
	c.armed = false
	return out
}

func (c *Conn) sendSYN(now time.Duration, out []Send) []Send {
	_, _, hasTS := c.script.Options.Timestamps()
	s := Send{Flags: wire.SYN, Seq: c.iss, TSval: c.script.Clock.At(now), HasTS: hasTS, SYN: c.syns}
	if c.script.First != 0 {
		s.Flags, s.Ack = c.script.First, c.iss
	}
	out = append(out, s)
	c.state = SynSent
	c.syns++
	c.armed = c.syns < len(c.script.Ladder.At)
	if c.armed {
		c.timer = c.script.Ladder.At[c.syns]
	}
	return out
}

// onSYNACK judges a SYN-ACK. Only one that acknowledges ISS+1 is ours (RFC 9293 §3.10.7.3); any other is never answered.
func (c *Conn) onSYNACK(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if seg.Ack != c.iss+1 {
		return out
	}
	switch c.state {
	case SynSent:
	case HalfOpen:
		return out
	case Established, FinWait, PeerDone, LastAck:
		// A repeat: our ACK was lost or ignored. Acknowledge again (RFC 9293 §3.10.7.4).
		if seg.Seq+1 == c.rcvNxt || seg.Seq.Before(c.rcvNxt) {
			out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
		}
		return out
	default:
		return append(out, Send{Flags: wire.RST, Seq: seg.Ack, SYN: -1})
	}
	if val, _, ok := seg.Options.Timestamps(); ok {
		_, _, c.ts = c.script.Options.Timestamps()
		c.echo = val
	}
	c.rcvNxt = seg.Seq + 1
	c.sndUna = c.sndNxt
	switch c.script.OnSYNACK {
	case plan.Acknowledge:
		c.state = Established
		c.arm(now + c.script.Then.DataDelay)
		if len(c.script.Then.Data) == 0 {
			c.arm(now + c.script.Then.DataDelay + c.script.Then.CloseDelay)
		}
		out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
		if c.timer <= now {
			return c.proceed(now, out)
		}
	case plan.Ignore:
		c.state, c.armed = HalfOpen, false
	case plan.Reset, plan.ReactionUnknown:
		out = append(out, Send{Flags: wire.RST, Seq: seg.Ack, SYN: -1})
		c.finish(Reset)
	}
	return out
}

// onReset ends the connection when the RST is acceptable: it acknowledges our SYN (RFC 9293 §3.10.7.3) or stands at, or within
// a window after, what we expect next (§3.10.7.4).
func (c *Conn) onReset(seg *wire.Segment, out []Send) []Send {
	switch c.state {
	case SynSent:
		if seg.Flags&wire.ACK != 0 && seg.Ack == c.iss+1 {
			c.finish(Refused)
		}
	case HalfOpen, Established, FinWait, PeerDone, LastAck:
		if d := seg.Seq.Sub(c.rcvNxt); d >= 0 && d < 1<<16 {
			c.finish(Aborted)
		}
	case Unsent, Closed, Reset, Refused, Aborted, Dead:
	}
	return out
}

// onSegment takes data, acknowledgments and the FIN of an established connection.
func (c *Conn) onSegment(now time.Duration, seg *wire.Segment, out []Send) []Send {
	switch c.state {
	case Established, FinWait, PeerDone, LastAck:
	case Unsent, SynSent, HalfOpen, Closed, Reset, Refused, Aborted, Dead:
		return out
	}
	if val, _, ok := seg.Options.Timestamps(); ok && c.ts && !val.Before(c.echo) {
		c.echo = val
	}
	c.acknowledged(now, seg.Ack)
	carries := seg.Length > 0 || seg.Flags&wire.FIN != 0
	if !carries {
		return c.afterAck(now, out)
	}
	if seg.Seq == c.rcvNxt {
		c.rcvNxt = seg.End()
		c.peerFIN = c.peerFIN || seg.Flags&wire.FIN != 0
	}
	out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
	return c.afterAck(now, out)
}

// acknowledged moves sndUna (RFC 9293 §3.10.7.4, SND.UNA < SEG.ACK ≤ SND.NXT) and disarms the repeat timer when all is acknowledged.
func (c *Conn) acknowledged(now time.Duration, ack wire.Seq) {
	if !c.sndUna.Before(ack) || c.sndNxt.Before(ack) {
		return
	}
	c.sndUna = ack
	c.repeats = 0
	if c.sndUna != c.sndNxt {
		return
	}
	switch c.state {
	case Established:
		if c.script.Then.Close == plan.WaitForPeer {
			c.armed = false
			return
		}
		c.arm(now + c.script.Then.CloseDelay)
	case FinWait, LastAck:
		c.armed = false
	case Unsent, SynSent, HalfOpen, PeerDone, Closed, Reset, Refused, Aborted, Dead:
	}
}

// afterAck closes what both sides have finished, and starts our side of a close that the peer began.
func (c *Conn) afterAck(now time.Duration, out []Send) []Send {
	finished := c.sndUna == c.sndNxt
	switch c.state {
	case Established:
		if c.peerFIN {
			c.state = PeerDone
			c.arm(now + c.script.Then.CloseDelay)
			return c.expire(now, out)
		}
		if c.armed && c.timer <= now && (c.sentAny || len(c.script.Then.Data) == 0) && finished {
			return c.proceed(now, out)
		}
	case FinWait:
		if finished && c.peerFIN {
			c.finish(Closed)
		}
	case LastAck:
		if finished {
			c.finish(Closed)
		}
	case Unsent, SynSent, HalfOpen, PeerDone, Closed, Reset, Refused, Aborted, Dead:
	}
	return out
}

// proceed takes the next step of the exchange on an established connection: data, its repeats, then the close.
func (c *Conn) proceed(now time.Duration, out []Send) []Send {
	then := &c.script.Then
	if len(then.Data) > 0 && !c.sentAny {
		out = append(out, c.segment(now, wire.ACK|wire.PSH, c.sndNxt, then.Data))
		c.sndNxt = c.sndNxt.Add(len(then.Data))
		c.sentAny = true
		c.arm(now + dataRTO)
		return out
	}
	if c.sndUna != c.sndNxt {
		return c.repeat(now, out)
	}
	switch then.Close {
	case plan.CloseFirst:
		return c.sendFIN(now, FinWait, out)
	case plan.WaitForPeer:
		c.armed = false
		return out
	case plan.Abort, plan.ClosingUnknown:
	}
	return c.abort(now, out)
}

// repeat sends data or FIN once more, at doubled waits; after dataRepeats the connection is given up with a reset.
func (c *Conn) repeat(now time.Duration, out []Send) []Send {
	if c.repeats >= dataRepeats {
		return c.abort(now, out)
	}
	c.repeats++
	c.arm(now + dataRTO<<c.repeats)
	fin := c.state == FinWait || c.state == LastAck
	data := c.script.Then.Data
	if c.sentAny && c.sndUna == c.iss+1 && len(data) > 0 {
		out = append(out, c.segment(now, wire.ACK|wire.PSH, c.iss+1, data))
	}
	if fin {
		out = append(out, c.segment(now, wire.ACK|wire.FIN, c.sndNxt-1, nil))
	}
	return out
}

func (c *Conn) sendFIN(now time.Duration, next State, out []Send) []Send {
	out = append(out, c.segment(now, wire.ACK|wire.FIN, c.sndNxt, nil))
	c.sndNxt++
	c.state, c.repeats = next, 0
	c.arm(now + dataRTO)
	return out
}

// abort resets an open connection; RST|ACK carries the acknowledgment so that a stateful filter lets it pass.
func (c *Conn) abort(now time.Duration, out []Send) []Send {
	s := c.segment(now, wire.RST|wire.ACK, c.sndNxt, nil)
	s.HasTS = false // Linux sends RSTs of dead sockets without options; with ACK and an exact sequence number they are accepted
	if c.state == HalfOpen {
		s = Send{Flags: wire.RST, Seq: c.sndNxt, SYN: -1}
	}
	c.finish(Reset)
	return append(out, s)
}

func (c *Conn) segment(now time.Duration, flags wire.Flags, seq wire.Seq, payload []byte) Send {
	return Send{Flags: flags, Seq: seq, Ack: c.rcvNxt, TSval: c.script.Clock.At(now), TSecr: c.echo, HasTS: c.ts,
		Payload: payload, SYN: -1}
}

func (c *Conn) arm(at time.Duration)  { c.timer, c.armed = at, true }
func (c *Conn) finish(terminal State) { c.state, c.armed = terminal, false }
