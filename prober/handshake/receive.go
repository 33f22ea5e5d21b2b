package handshake

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// window is what we offer: unscaled, as in a SYN (RFC 7323 §2.2). What lies further ahead is not the peer's.
const window = 1 << 16

// onSYNACK judges a SYN-ACK. Only one that acknowledges ISS+1 is ours (RFC 9293 §3.10.7.3); any other is never answered.
func (c *Conn) onSYNACK(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if seg.Ack != c.iss+1 {
		return out
	}
	switch c.state {
	case SynSent:
		return c.connected(now, seg, out)
	case Established, FinWait, PeerDone, LastAck:
		// A repeat: our ACK was lost or ignored. Acknowledge again (RFC 9293 §3.10.7.4).
		if seg.Seq == c.irs && !c.owed {
			out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
		}
		return out
	case Closed, Reset, Refused, Aborted, Dead:
		return append(out, Send{Flags: wire.RST, Seq: seg.Ack, SYN: -1})
	case Unsent, HalfOpen:
	}
	return out
}

// connected reacts to the first SYN-ACK as the script says.
func (c *Conn) connected(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if val, _, ok := seg.Options.Timestamps(); ok {
		_, _, c.ts = c.script.Options.Timestamps()
		c.echo = val
	}
	c.irs, c.rcvNxt, c.high = seg.Seq, seg.Seq+1, seg.Seq+1
	c.sackOK = seg.Options.SACKPermitted() && c.script.Options.SACKPermitted()
	c.sndUna = c.sndNxt
	switch c.script.OnSYNACK {
	case plan.Acknowledge:
		c.state, c.owed = Established, true
		c.arm(now + c.script.Then.AckDelay)
		return c.expire(now, out)
	case plan.Ignore:
		c.state, c.armed = HalfOpen, false
	case plan.Reset, plan.ReactionUnknown:
		out = append(out, Send{Flags: wire.RST, Seq: seg.Ack, SYN: -1})
		if c.script.Persist && c.syns < len(c.script.Ladder.At) {
			return out
		}
		c.finish(Reset)
	}
	return out
}

// onReset ends the connection when the RST is acceptable: it acknowledges our SYN (RFC 9293 §3.10.7.3), or stands where the ACK that we
// sent first pointed (§3.5.2), or at, or within a window after, what we expect next (§3.10.7.4).
func (c *Conn) onReset(seg *wire.Segment) {
	switch c.state {
	case SynSent:
		toSYN := seg.Flags&wire.ACK != 0 && seg.Ack == c.iss+1
		toACK := len(c.acks) == 0 && c.script.First&wire.ACK != 0 && seg.Flags&wire.ACK == 0 && seg.Seq == plan.FirstAck(c.iss)
		if toSYN && c.undeterred() {
			return
		}
		if toSYN || toACK {
			c.finish(Refused)
		}
	case HalfOpen, Established, FinWait, PeerDone, LastAck:
		if d := seg.Seq.Sub(c.rcvNxt); d >= 0 && d < window {
			c.finish(Aborted)
		}
	case Unsent, Closed, Reset, Refused, Aborted, Dead:
	}
}

// undeterred reports whether a refusal leaves SYNs to be sent that the script wants sent all the same.
func (c *Conn) undeterred() bool {
	return c.script.Undeterred && c.syns < len(c.script.Ladder.At)
}

// onSegment takes data, acknowledgments and the FIN of a connection that was established.
func (c *Conn) onSegment(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if !c.ours(seg) {
		return out
	}
	switch c.state {
	case Established, FinWait, PeerDone, LastAck:
		if c.owed {
			return out
		}
	case Closed:
		// TIME_WAIT: the peer repeats its FIN because our last ACK was lost (RFC 9293 §3.10.7.8).
		if seg.Flags&wire.FIN != 0 && seg.End() == c.rcvNxt {
			out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
		}
		return out
	case Unsent, SynSent, HalfOpen, Reset, Refused, Aborted, Dead:
		return out
	}
	if val, _, ok := seg.Options.Timestamps(); ok && c.ts && !val.Before(c.echo) {
		c.echo = val
	}
	c.acknowledged(now, seg.Ack)
	if s := c.script.Then.Selective; s != nil {
		c.gather(now, s, seg)
	}
	if c.script.Then.Withhold {
		return out
	}
	return c.take(now, seg, out)
}

// take acknowledges data and FIN, or answers a FIN with a reset where the script aborts.
func (c *Conn) take(now time.Duration, seg *wire.Segment, out []Send) []Send {
	if seg.Flags&wire.FIN != 0 && seg.Seq == c.rcvNxt && c.state == Established && c.aborts() {
		return c.abort(now, out)
	}
	if most := c.script.Then.Reads; most > 0 && c.rcvNxt.Sub(c.irs+1) >= int32(most) {
		return c.afterAck(now, out)
	}
	if seg.Length > 0 || seg.Flags&wire.FIN != 0 {
		if seg.Seq == c.rcvNxt {
			c.rcvNxt = seg.End()
			c.peerFIN = c.peerFIN || seg.Flags&wire.FIN != 0
		}
		out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
	}
	return c.afterAck(now, out)
}

// aborts reports whether the script ends its connections by RST. Then the peer's FIN is answered with it and never acknowledged: a server
// whose FIN is acknowledged may remember our TSval against our address for a minute (net/ipv4/tcp_minisocks.c tcp_time_wait →
// tcp_remember_stamp, 3.10, with tcp_tw_recycle); one whose FIN meets an RST does not.
func (c *Conn) aborts() bool {
	return c.script.Then.Close == plan.Abort || c.script.Then.Close == plan.ClosingUnknown
}

// ours reports whether a segment can be the peer's: it acknowledges what we have sent and no more, and stands between the peer's first
// octet and a window past what we expect (RFC 9293 §3.10.7.4, RFC 5961 §5.2). Unlike TCP, a prober does not answer others.
func (c *Conn) ours(seg *wire.Segment) bool {
	if seg.Ack.Before(c.iss+1) || c.sndNxt.Before(seg.Ack) || seg.Seq.Before(c.irs+1) {
		return false
	}
	return seg.Seq.Sub(c.rcvNxt) < window
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
		if c.script.Then.Selective != nil && c.high != c.rcvNxt {
			return // the answer came before the acknowledgment: its delay is under way
		}
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
		if c.sentAny && finished {
			return c.expire(now, out)
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
