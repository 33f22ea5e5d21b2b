package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// timeWait is how long a bucket lives: 60 s, or 3.5 RTO under recycle (tcp_time_wait, 3.10).
func (h *Host) timeWait() time.Duration {
	switch {
	case h.TimeWait > 0:
		return h.TimeWait
	case h.Recycle != nil:
		return 700 * time.Millisecond
	}
	return 60 * time.Second
}

func (c *conn) enterTimeWait() {
	again := c.state == finWait2
	c.state = timeWait
	c.timer++
	c.stay()
	c.hasOOW = false
	if !again {
		c.h.remember(c)
	}
}

// timeWaitReceive is tcp_timewait_state_process in TIME_WAIT (net/ipv4/tcp_minisocks.c, 6.18).
func (c *conn) timeWaitReceive(seg *wire.Segment) {
	val, _, has := seg.Options.Timestamps()
	has = has && c.ts
	old := has && val.Before(c.recent)
	rst := seg.Flags&wire.RST != 0
	expected := !old && seg.Seq == c.rcvNxt
	fresh := !old && (c.rcvNxt.Before(seg.Seq) || has && c.recent.Before(val))
	switch {
	case expected && rst:
		c.kill() // assassination: rfc1337 is 0
	case expected && seg.End() == seg.Seq:
		c.stay()
		c.echo(seg)
	case fresh && seg.Flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN:
		c.reopen(seg)
	default:
		c.outOfWindow(old, seg)
	}
}

// stay begins the bucket's time anew.
func (c *conn) stay() { c.until = c.hop.Now() + c.h.timeWait() }

// outOfWindow answers what is not the next segment with an ACK, at most every 500 ms. A SYN without ACK does not prolong the bucket's
// life: it may be a new connection with a lower sequence number.
func (c *conn) outOfWindow(old bool, seg *wire.Segment) {
	if old {
		c.h.Counters["TcpExt.PAWSEstab"]++
	}
	if seg.Flags&wire.RST != 0 {
		return
	}
	if old || seg.Flags&wire.ACK != 0 {
		c.stay()
	}
	if c.oow() {
		c.bareACK()
	}
}

// reopen lets a SYN take the bucket's place; its ISN lies beyond what the old connection could have sent.
func (c *conn) reopen(seg *wire.Segment) {
	isn := c.sndNxt + 65537
	if isn == 0 {
		isn++
	}
	c.kill()
	c.h.request(c.hop, c.l, seg, isn)
}

// remember is tcp_remember_stamp of kernels with recycle: the server closed first and its FIN is acknowledged.
func (h *Host) remember(c *conn) {
	if h.Recycle != nil && c.ts && c.finFirst {
		h.Recycle.record(c.flow.Src.Addr(), c.recent, stamp(c.recentAt))
	}
}

// Occupy leaves a TIME_WAIT bucket of somebody else's connection on a flow towards the host, as the peer sends it: next is the sequence
// number expected of the peer, recent the last TSval seen.
func (h *Host) Occupy(w *World, f wire.Flow, next wire.Seq, recent wire.TSval) {
	if h.conns == nil {
		h.conns = map[wire.Flow]*conn{}
	}
	sent := wire.Seq(uint32(mix(uint64(next))))
	h.conns[f] = &conn{h: h, l: h.Ports[f.Dst.Port()], hop: Hop{w.path, len(w.path.elements) - 1}, flow: f, state: timeWait, ts: true,
		recent: recent, rcvNxt: next, sndNxt: sent, sndUna: sent, until: w.now + h.timeWait()}
}
