package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// dataRTO is the wait before a server repeats data or FIN (TCP_RTO_MIN, include/net/tcp.h), doubled each time; tcp_retries is how often.
const (
	dataRTO   = 200 * time.Millisecond
	dataTries = 8
)

// receive takes a segment of a connection that is known.
func (c *conn) receive(seg *wire.Segment) {
	switch c.state {
	case synReceived:
		c.checkRequest(seg)
	case timeWait:
		c.timeWaitReceive(seg)
	case established, finWait1, finWait2, closing, closeWait, lastAck:
		if c.valid(seg) {
			c.process(seg)
		}
	case gone:
	}
}

// valid is tcp_validate_incoming (net/ipv4/tcp_input.c, 6.18): PAWS, then RST, then SYN.
func (c *conn) valid(seg *wire.Segment) bool {
	val, _, has := seg.Options.Timestamps()
	switch {
	case has && c.ts && val.Before(c.recent) && seg.Flags&wire.RST == 0:
		c.h.Counters["TcpExt.PAWSEstab"]++
	case seg.Flags&wire.RST != 0:
		if seg.Seq == c.rcvNxt {
			c.kill()
			return false
		}
		if d := seg.Seq.Sub(c.rcvNxt); d < 0 || d > 65535 {
			return false
		} // else a challenge ACK, RFC 5961 §3.2
	case seg.Flags&wire.SYN != 0 && c.state == finWait2 && !seg.Seq.Before(c.rcvNxt):
		c.h.refuse(c.hop, seg) // TCP_TW_RST
		c.kill()
		return false
	case seg.Flags&wire.SYN != 0:
		c.h.Counters["TcpExt.TCPSYNChallenge"]++ // RFC 5961 §4.2
	default:
		return true
	}
	if c.oow() {
		c.bareACK()
	}
	return false
}

func (c *conn) process(seg *wire.Segment) {
	c.echo(seg)
	if seg.Flags&wire.ACK != 0 {
		c.onACK(seg.Ack)
	}
	c.onData(seg)
}

// onACK advances SND.UNA and what depends on it: the FIN's acknowledgment moves the close on.
func (c *conn) onACK(ack wire.Seq) {
	if !c.sndUna.Before(ack) || c.sndNxt.Before(ack) {
		return
	}
	c.sndUna, c.sent = ack, 0
	if c.sndUna != c.sndNxt {
		return
	}
	c.inFlight = nil
	c.timer++
	if !c.finSent {
		c.push()
		return
	}
	switch c.state {
	case finWait1:
		c.state = finWait2
		c.until = c.hop.Now() + c.h.timeWait()
		c.h.remember(c)
	case closing:
		c.enterTimeWait()
	case lastAck:
		c.kill()
	case synReceived, established, finWait2, timeWait, closeWait, gone:
	}
}

func (c *conn) onData(seg *wire.Segment) {
	if seg.Length == 0 && seg.Flags&wire.FIN == 0 || c.state == gone || c.state == timeWait {
		return
	}
	if seg.Seq != c.rcvNxt {
		c.keep(seg)
		c.bareACK()
		return
	}
	if seg.Length > 0 {
		c.rcvNxt = c.rcvNxt.Add(seg.Length)
		if c.finSent && c.close {
			c.abort() // data after close(2): RST (net/ipv4/tcp_input.c tcp_rcv_state_process, 6.18)
			return
		}
		c.hasData = true
	}
	if seg.Flags&wire.FIN == 0 {
		c.bareACK()
		c.serve()
		return
	}
	c.rcvNxt++
	c.bareACK()
	c.serve()
	switch c.state {
	case established:
		c.state = closeWait
		if c.accepted && c.app().Close != CloseNever {
			c.close = true
			c.push()
		}
	case finWait1:
		c.state = closing
	case finWait2:
		c.enterTimeWait()
	case synReceived, closing, timeWait, closeWait, lastAck, gone:
	}
}

// push sends what the application has written, one segment at a time, and then the FIN if it has closed.
func (c *conn) push() {
	if c.sndUna != c.sndNxt || c.finSent || c.state == gone || c.state == timeWait {
		return
	}
	if len(c.pending) > 0 {
		n := min(len(c.pending), int(min(c.peerMSS, c.h.Look.MSS))-12)
		c.inFlight, c.pending = c.pending[:n], c.pending[n:]
		c.send(wire.ACK|wire.PSH, c.sndNxt, c.inFlight)
		c.sndNxt = c.sndNxt.Add(n)
		c.armData()
		return
	}
	if !c.close {
		return
	}
	c.finSent = true
	c.send(wire.ACK|wire.FIN, c.sndNxt, nil)
	c.sndNxt++
	if c.state == closeWait {
		c.state = lastAck
	} else {
		c.state, c.finFirst = finWait1, true
	}
	c.armData()
}

func (c *conn) armData() {
	c.after(dataRTO<<min(c.sent, 16), c.repeat)
}

func (c *conn) repeat() {
	if c.sndUna == c.sndNxt || c.state == timeWait {
		return
	}
	if c.sent >= dataTries {
		c.kill()
		return
	}
	c.sent++
	c.h.Counters["Tcp.RetransSegs"]++
	if len(c.inFlight) > 0 {
		c.send(wire.ACK|wire.PSH, c.sndUna, c.inFlight)
	} else if c.finSent {
		c.send(wire.ACK|wire.FIN, c.sndNxt-1, nil)
	}
	c.armData()
}

// send makes a segment of the connection.
func (c *conn) send(flags wire.Flags, seq wire.Seq, payload []byte) {
	seg := wire.Segment{Src: c.flow.Dst, Dst: c.flow.Src, Seq: seq, Ack: c.rcvNxt, Flags: flags, Window: 509,
		Payload: payload, Length: len(payload)}
	if c.ts {
		seg.Options.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(c.h.Clock.At(c.hop.Now(), c.flow.Reverse()), c.recent)
	}
	c.sack(&seg.Options)
	c.h.emit(c.hop, seg)
}

// abort sends RST and forgets the connection.
func (c *conn) abort() {
	c.h.emit(c.hop, wire.Segment{Src: c.flow.Dst, Dst: c.flow.Src, Seq: c.sndNxt, Ack: c.rcvNxt, Flags: wire.RST | wire.ACK})
	c.kill()
}

// kill forgets a connection; one that nobody accepted keeps its place in the accept queue, as Linux has it.
func (c *conn) kill() {
	c.state = gone
	c.timer++
	if c.h.conns[c.flow] == c {
		delete(c.h.conns, c.flow)
	}
}
