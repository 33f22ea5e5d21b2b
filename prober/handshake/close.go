package handshake

import (
	"cmp"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// proceed takes the next step of the exchange on an established connection: data, its repeats, then the close.
func (c *Conn) proceed(now time.Duration, out []Send) []Send {
	then := &c.script.Then
	switch {
	case c.owed:
		return c.complete(now, out)
	case then.Alive && !c.asked:
		return c.ask(now, out)
	case then.Holed != nil:
		return c.proceedHoled(now, then.Holed, out)
	}
	if len(then.Data) > 0 && !c.sentAny {
		out = append(out, c.segment(now, wire.ACK|wire.PSH, c.sndNxt, then.Data))
		c.sndNxt = c.sndNxt.Add(len(then.Data))
		c.sentAny = true
		c.arm(now + c.rto())
		return out
	}
	if c.sndUna != c.sndNxt {
		return c.repeat(now, out)
	}
	if then.Selective != nil && !c.sacked && c.high != c.rcvNxt {
		return c.selective(now, then.Selective, out)
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

// complete sends the handshake's ACK and goes on.
func (c *Conn) complete(now time.Duration, out []Send) []Send {
	then := &c.script.Then
	c.owed = false
	wait := then.DataDelay
	if len(then.Data) == 0 && then.Holed == nil && !then.Alive {
		wait += then.CloseDelay
	}
	c.arm(now + wait)
	out = append(out, c.segment(now, wire.ACK, c.sndNxt, nil))
	return c.expire(now, out)
}

// ask sends an empty segment that stands one octet before what the peer expects (RFC 1122 §4.2.3.6).
func (c *Conn) ask(now time.Duration, out []Send) []Send {
	c.asked = true
	if c.arm(now); len(c.script.Then.Data) == 0 {
		c.arm(now + c.script.Then.CloseDelay)
	}
	out = append(out, c.segment(now, wire.ACK, c.sndNxt-1, nil))
	return c.expire(now, out)
}

// repeat sends what of data and FIN is not acknowledged once more, at doubled waits; after dataRepeats the connection is given up with
// a reset.
func (c *Conn) repeat(now time.Duration, out []Send) []Send {
	if c.repeats >= dataRepeats {
		return c.abort(now, out)
	}
	c.repeats++
	c.arm(now + c.rto()<<c.repeats)
	data := c.script.Then.Data
	if got := int(c.sndUna - (c.iss + 1)); c.sentAny && got < len(data) {
		out = append(out, c.segment(now, wire.ACK|wire.PSH, c.sndUna, data[got:]))
	}
	if c.state == FinWait || c.state == LastAck {
		out = append(out, c.segment(now, wire.ACK|wire.FIN, c.sndNxt-1, nil))
	}
	return out
}

// rto is the first wait before data or FIN are repeated.
func (c *Conn) rto() time.Duration { return cmp.Or(c.script.Then.RTO, dataRTO) }

func (c *Conn) sendFIN(now time.Duration, next State, out []Send) []Send {
	out = append(out, c.segment(now, wire.ACK|wire.FIN, c.sndNxt, nil))
	c.sndNxt++
	c.state, c.repeats = next, 0
	c.arm(now + c.rto())
	return out
}

// abort resets an open connection. Where data or a FIN of ours is not acknowledged nobody knows how much of it has arrived, and an RST
// that does not stand exactly where the peer expects the next octet draws a challenge ACK and leaves the connection
// (RFC 5961 §3.2): one goes to every place where that may be.
func (c *Conn) abort(now time.Duration, out []Send) []Send {
	if c.state == HalfOpen {
		c.finish(Reset)
		return append(out, Send{Flags: wire.RST, Seq: c.sndNxt, SYN: -1})
	}
	end := c.iss + 1
	if c.sentAny {
		end = end.Add(len(c.script.Then.Data))
	}
	if c.sndUna != c.sndNxt {
		out = append(out, c.reset(now, c.sndUna))
	}
	if c.sndUna.Before(end) && end != c.sndNxt {
		out = append(out, c.reset(now, end))
	}
	out = append(out, c.reset(now, c.sndNxt))
	c.finish(Reset)
	return out
}

// reset is RST|ACK: with the acknowledgment a stateful filter lets it pass. It has no timestamps, like those of Linux's dead sockets.
func (c *Conn) reset(now time.Duration, seq wire.Seq) Send {
	s := c.segment(now, wire.RST|wire.ACK, seq, nil)
	s.TSval, s.TSecr, s.HasTS = 0, 0, false
	return s
}

func (c *Conn) segment(now time.Duration, flags wire.Flags, seq wire.Seq, payload []byte) Send {
	return Send{Flags: flags, Seq: seq, Ack: c.rcvNxt, TSval: c.script.Clock.At(now), TSecr: c.echo, HasTS: c.ts,
		Payload: payload, SYN: -1}
}

func (c *Conn) arm(at time.Duration)  { c.timer, c.armed = at, true }
func (c *Conn) finish(terminal State) { c.state, c.armed = terminal, false }
