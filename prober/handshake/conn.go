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
	// SackFrom and SackTo are the edges of the only SACK block (RFC 2018 §3), where HasSack.
	SackFrom, SackTo wire.Seq
	HasSack          bool
}

// Conn is one raw connection. Its zero value is of no use: see New.
type Conn struct {
	script *plan.Script
	iss    wire.Seq
	state  State
	syns   int // SYNs sent
	// send and receive sequence space (RFC 9293 §3.3.1)
	sndUna, sndNxt, irs, rcvNxt wire.Seq
	// echo is the peer's lastVal TSval, ts whether both sides use timestamps (RFC 7323 §3.2).
	echo wire.TSval
	ts   bool
	// lastVal is the TSval of the last SYN sent.
	lastVal wire.TSval
	// timer is when Step wants to be called next without a segment; repeats counts those of data or FIN.
	timer   time.Duration
	armed   bool
	repeats int
	holed   int  // segments behind the hole that have left
	sentAny bool // Data went out at least once
	peerFIN bool
	owed    bool       // the handshake's ACK has not left yet
	acks    []wire.Seq // what the first segments acknowledge in turn; nil: plan.FirstAck
	asked   bool       // whether the connection stands was asked
	// Of an answer that is acknowledged with a hole in front: whether the peer permits SACK, up to where its octets have come without a gap, where
	// its segments end, and whether that was done.
	sackOK bool
	high   wire.Seq
	edges  []wire.Seq
	sacked bool
}

// dataRTO is the wait before data or a FIN of ours is repeated where the script has none; it doubles (RFC 6298 §2.1, §5.5). dataRepeats bounds it.
const (
	dataRTO     = time.Second
	dataRepeats = 5
)

// New prepares a connection that follows script from the initial send sequence number iss.
func New(script *plan.Script, iss wire.Seq) Conn {
	return Conn{script: script, iss: iss, armed: true, sndUna: iss, sndNxt: iss + 1}
}

// Acknowledge gives a connection whose script begins with an ACK what its first segments acknowledge (plan.Shot.Acks).
func (c *Conn) Acknowledge(acks []wire.Seq) { c.acks = acks }

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
		c.onReset(seg)
		return out
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
	if c.state == SynSent && !c.undeterred() {
		c.finish(Dead)
	}
}

// Stop ends the connection at the end of listening: whatever is still open is reset, so that nothing stays behind at the peer.
func (c *Conn) Stop(now time.Duration, out []Send) []Send {
	switch c.state {
	case HalfOpen, Established, FinWait, PeerDone, LastAck:
		return c.abort(now, out)
	case SynSent, Unsent:
		if c.state == SynSent && len(c.acks) > 0 { // the peer may have taken it for the handshake's end
			out = append(out, Send{Flags: wire.RST, Seq: c.iss.Add(len(c.script.Then.Data)), SYN: -1})
		}
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
		if c.syns > 0 && c.syns >= len(c.script.Ladder.At) {
			c.finish(Dead) // patience is over
			return out
		}
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
	if hasTS && c.syns > 0 && c.script.Clock.SYN(c.syns, now).Before(c.lastVal) {
		// A SYN-ACK, or our reset of it, may have been lost: the listener then still holds the request, and refuses a SYN with an older TSval as
		// no part of it (net/ipv4/tcp_minisocks.c tcp_check_req, 6.18), which would look like a host's memory. A flow whose TSvals climb needs
		// no such reset, which would cost it its place in a NAT's table and so its real server.
		out = append(out, Send{Flags: wire.RST, Seq: c.iss + 1, SYN: -1})
	}
	s := Send{Flags: wire.SYN, Seq: c.iss, HasTS: hasTS, SYN: c.syns}
	if hasTS {
		s.TSval = c.script.Clock.SYN(c.syns, now)
		c.lastVal = s.TSval
	}
	if c.script.First != 0 {
		s.Flags, s.Ack = c.script.First, plan.FirstAck(c.iss)
		if len(c.acks) > 0 {
			s.Ack, s.Payload = c.acks[c.syns%len(c.acks)], c.script.Then.Data
		}
	}
	out = append(out, s)
	c.state = SynSent
	c.syns++
	c.armed = c.syns < len(c.script.Ladder.At)
	switch {
	case c.armed:
		c.timer = c.script.Ladder.At[c.syns]
	case c.script.Patience > 0:
		c.arm(now + c.script.Patience)
	}
	return out
}
