package fakenet

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Listener is a listening socket and the application behind it.
type Listener struct {
	// Backlog as given to listen(2) and capped by somaxconn; 0 means 4096. Backlog+1 connections fit the accept queue, and the SYN queue
	// holds as many (net/core/sock.h sk_acceptq_is_full, inet_csk_reqsk_queue_is_full, 6.18: both compare with >).
	Backlog int
	// MaxSYNBacklog is net.ipv4.tcp_max_syn_backlog: without cookies the last quarter of it is kept for peers known to be alive.
	// 0 means that it does not bind.
	MaxSYNBacklog   int
	Cookies         Cookies
	AbortOnOverflow bool
	// DeferAccept is TCP_DEFER_ACCEPT in SYN-ACK timeouts: 5 s are 3 (net/ipv4/tcp.c secs_to_retrans).
	DeferAccept int
	// Retries is tcp_synack_retries, 0 meaning 5; RTO the first wait, 0 meaning 1 s. A negative Retries never repeats.
	Retries int
	RTO     time.Duration
	// Mute swallows everything sent to the port.
	Mute bool
	// Slow delays every SYN-ACK.
	Slow time.Duration
	// App is the process behind; where Each is set, a connection meets one of those, by a hash of its flow.
	App  App
	Each []App

	// HalfOpen and Queued are the lengths of SYN and accept queue now; MostHalfOpen the longest that the former has been.
	HalfOpen, Queued, MostHalfOpen int

	busyUntil time.Duration
	cookies   map[wire.Flow]wire.Seq // sent since, so that an ACK to one is known; real ones are keyed sums
}

// Cookies is net.ipv4.tcp_syncookies.
type Cookies uint8

// CookiesOnFull is the default, 1; CookiesOff 0; CookiesAlways 2.
const (
	CookiesOnFull Cookies = iota
	CookiesOff
	CookiesAlways
)

func (c Cookies) String() string {
	switch c {
	case CookiesOff:
		return "off"
	case CookiesAlways:
		return "always"
	case CookiesOnFull:
	}
	return "on_full"
}

// NewListener is one at its defaults with an application that accepts at once and waits for the peer.
func NewListener() *Listener { return &Listener{} }

func (l *Listener) backlog() int {
	if l.Backlog <= 0 {
		return 4096
	}
	return l.Backlog
}

// request is tcp_conn_request (net/ipv4/tcp_input.c, 6.18), with the per-host PAWS check of ≤ 4.11 where it stood
// (tcp_v4_conn_request, 3.10). tw is the ISN that a TIME_WAIT bucket of the flow wants, 0 without one.
func (h *Host) request(at Hop, l *Listener, seg *wire.Segment, tw wire.Seq) {
	h.sweep(at.Now())
	cookie := false
	if (l.Cookies == CookiesAlways || l.HalfOpen > l.backlog()) && tw == 0 {
		if l.Cookies == CookiesOff {
			h.drop("TcpExt.TCPReqQFullDrop")
			return
		}
		h.Counters["TcpExt.TCPReqQFullDoCookies"]++
		cookie = true
	}
	if l.Queued > l.backlog() {
		h.Counters["TcpExt.ListenOverflows"]++
		h.drop("")
		return
	}
	if !cookie && tw == 0 && h.Recycle != nil && h.Recycle.refuses(at.Now(), seg) {
		h.drop("TcpExt.PAWSPassive")
		return
	}
	if full := l.MaxSYNBacklog; !cookie && tw == 0 && l.Cookies == CookiesOff && full > 0 && full-l.HalfOpen < full>>2 {
		h.drop("TcpExt.TCPReqQFullDrop")
		return
	}
	c := h.newRequest(at, l, seg, tw)
	if cookie {
		h.sendCookie(c)
		return
	}
	h.conns[c.flow] = c
	l.HalfOpen++
	l.MostHalfOpen = max(l.MostHalfOpen, l.HalfOpen)
	c.synAck()
	c.armSYNACK()
}

func (h *Host) drop(counter string) {
	h.Counters["TcpExt.ListenDrops"]++
	if counter != "" {
		h.Counters[counter]++
	}
}

func (h *Host) newRequest(at Hop, l *Listener, seg *wire.Segment, tw wire.Seq) *conn {
	if h.conns == nil {
		h.conns = map[wire.Flow]*conn{}
	}
	c := &conn{h: h, l: l, hop: at, flow: seg.Flow(), irs: seg.Seq, rcvNxt: seg.Seq + 1, syn: seg.Options, recentAt: at.Now(), peerMSS: 536}
	c.iss = wire.Seq(uint32(hashFlow(h.Clock.Seed+3, c.flow)) + uint32(at.Now()>>6))
	if tw != 0 {
		c.iss = tw
	}
	c.sndUna, c.sndNxt = c.iss, c.iss+1
	c.recent, _, c.ts = seg.Options.Timestamps()
	c.ts = c.ts && !h.Look.NoTimestamps
	if m, ok := seg.Options.MSS(); ok {
		c.peerMSS = m
	}
	return c
}

// sendCookie answers without remembering: the SYN-ACK is never repeated, and TSval carries the options in its low six bits
// (net/ipv4/syncookies.c cookie_init_timestamp, 6.18).
func (h *Host) sendCookie(c *conn) {
	if c.l.cookies == nil || len(c.l.cookies) > 1<<16 {
		c.l.cookies = map[wire.Flow]wire.Seq{}
	}
	c.l.cookies[c.flow] = c.iss
	h.Counters["TcpExt.SyncookiesSent"]++
	seg := c.synAckSegment()
	if val, ecr, ok := seg.Options.Timestamps(); ok {
		seg.Options.SetTimestamps(val&^63|39, ecr)
	}
	h.emit(c.hop, seg)
}

// cookieAck takes an ACK that completes a handshake by cookie. The cookie stays good: it is a sum, and nothing that is used up.
func (h *Host) cookieAck(at Hop, l *Listener, seg *wire.Segment) bool {
	iss, ok := l.cookies[seg.Flow()]
	if !ok || seg.Ack != iss+1 {
		return false
	}
	if l.Queued > l.backlog() {
		h.Counters["TcpExt.ListenOverflows"]++
		h.drop("")
		return true
	}
	syn := *seg
	syn.Seq--
	c := h.newRequest(at, l, &syn, iss)
	h.Counters["TcpExt.SyncookiesRecv"]++
	h.conns[c.flow] = c
	c.establish(seg)
	return true
}

func (c *conn) synAckSegment() wire.Segment {
	val := c.h.Clock.At(c.hop.Now(), c.flow.Reverse())
	return wire.Segment{Src: c.flow.Dst, Dst: c.flow.Src, Seq: c.iss, Ack: c.irs + 1, Flags: wire.SYN | wire.ACK, Window: c.h.Look.Window,
		Options: c.h.options(&c.syn, val, c.recent)}
}

func (c *conn) synAck() {
	seg := c.synAckSegment()
	if c.l.Slow > 0 {
		seg.HopLimit, seg.DF = c.h.Look.HopLimit, true
		c.hop.Answer(c.l.Slow, &Packet{Seg: seg})
		return
	}
	c.h.emit(c.hop, seg)
}

// armSYNACK sets the timer of the next repeat: RTO doubled with each timeout (inet_connection_sock.c reqsk_timer_handler).
func (c *conn) armSYNACK() {
	rto := c.l.RTO
	if rto == 0 {
		rto = time.Second
	}
	c.after(rto<<min(c.sent, 16), c.repeatSYNACK)
}

// after calls f unless another timer has been set by then.
func (c *conn) after(d time.Duration, f func()) {
	c.timer++
	gen := c.timer
	w := c.hop.path.w
	w.push(event{at: wheel(w.now, d, c.h.HZ), call: func() {
		if c.timer == gen && c.state != gone {
			f()
		}
	}})
}

// repeatSYNACK is reqsk_timer_handler with syn_ack_recalc.
func (c *conn) repeatSYNACK() {
	if c.state != synReceived {
		return
	}
	limit := c.l.Retries
	if limit == 0 {
		limit = 5
	}
	limit = max(limit, 0)
	expire, resend := c.sent >= limit, true
	if d := c.l.DeferAccept; d > 0 {
		expire = c.sent >= limit && (!c.acked || c.sent >= max(limit, d))
		resend = !c.acked || c.sent >= d-1
	}
	if expire {
		c.drop()
		return
	}
	if resend {
		c.h.Counters["TcpExt.TCPSynRetrans"]++
		c.synAck()
	}
	c.sent++
	c.armSYNACK()
}

// drop forgets a request.
func (c *conn) drop() {
	if c.state == synReceived {
		c.l.HalfOpen--
	}
	c.state = gone
	c.timer++
	delete(c.h.conns, c.flow)
}
