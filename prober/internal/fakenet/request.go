package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// oow reports whether an answer to an out-of-window segment may be sent: one in 500 ms (tcp_invalid_ratelimit).
func (c *conn) oow() bool {
	now := c.hop.Now()
	if c.hasOOW && now-c.lastOOW < 500*time.Millisecond {
		return false
	}
	c.lastOOW, c.hasOOW = now, true
	return true
}

// checkRequest is tcp_check_req (net/ipv4/tcp_minisocks.c, 6.18).
func (c *conn) checkRequest(seg *wire.Segment) {
	val, _, has := seg.Options.Timestamps()
	old := has && c.ts && val.Before(c.recent)
	flags := seg.Flags & (wire.RST | wire.SYN | wire.ACK)
	if seg.Seq == c.irs && flags == wire.SYN && !old {
		c.repeatedSYN()
		return
	}
	if flags&wire.ACK != 0 && seg.Ack != c.iss+1 {
		c.h.refuse(c.hop, seg)
		return
	}
	d := seg.Seq.Sub(c.rcvNxt)
	switch outside := old || d < 0 || d > 65535; {
	case outside && flags&wire.RST != 0:
	case outside:
		if c.oow() {
			c.bareACK()
		}
	case flags&wire.RST != 0:
		c.drop()
	case flags&wire.SYN != 0:
		c.drop()
		c.h.refuse(c.hop, seg)
	case flags&wire.ACK != 0:
		c.echo(seg)
		c.complete(seg)
	}
}

// echo takes the TSval of a segment that covers what was last acknowledged (tcp_replace_ts_recent).
func (c *conn) echo(seg *wire.Segment) {
	if val, _, has := seg.Options.Timestamps(); has && c.ts && !c.rcvNxt.Before(seg.Seq) {
		c.recent, c.recentAt = val, c.hop.Now()
	}
}

// repeatedSYN answers the same SYN again, at most every 500 ms, and begins its timer anew.
func (c *conn) repeatedSYN() {
	if c.oow() {
		c.h.Counters["TcpExt.TCPSynRetrans"]++
		c.synAck()
		c.armSYNACK()
	}
}

// complete takes the handshake's ACK: the rest of tcp_check_req and tcp_v4_syn_recv_sock.
func (c *conn) complete(seg *wire.Segment) {
	switch {
	case c.sent < c.l.DeferAccept && seg.End() == c.irs+1:
		c.acked = true
		c.h.Counters["TcpExt.TCPDeferAcceptDrop"]++
	case c.l.Queued <= c.l.backlog():
		c.l.HalfOpen--
		c.establish(seg)
	default:
		c.h.Counters["TcpExt.ListenOverflows"]++
		c.h.drop("")
		c.acked = true
		if c.l.AbortOnOverflow {
			c.drop()
			c.h.refuse(c.hop, seg)
		}
	}
}

func (c *conn) bareACK() {
	c.send(wire.ACK, c.sndNxt, nil)
}

// establish moves the request to the accept queue.
func (c *conn) establish(seg *wire.Segment) {
	c.state = established
	c.timer++
	c.sent = 0
	c.sndUna = c.iss + 1
	c.l.Queued++
	c.l.accept(c)
	if seg.Length > 0 || seg.Flags&wire.FIN != 0 {
		c.receive(seg)
	}
}
