package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Host is a server: a Linux TCP as far as listening, a short exchange and its close go. It stands at the end of a path and answers
// for whatever address it is asked at.
type Host struct {
	Addr  netip.Addr
	Ports map[uint16]*Listener // any other port is closed: RST
	// Silent ports swallow everything; Dead is a host that swallows everything.
	Dead bool
	// NoEcho is net.ipv4.icmp_echo_ignore_all=1.
	NoEcho bool
	Clock  Clock
	Look   Look
	HZ     int
	// Recycle is tcp_tw_recycle=1 of a kernel ≤ 4.11; nil: off.
	Recycle *Recycle
	// TimeWait is how long TIME_WAIT and FIN_WAIT2 last; 0 means 60 s (TCP_TIMEWAIT_LEN).
	TimeWait time.Duration
	// Think is the time from a segment's arrival to the answer.
	Think time.Duration

	Counters map[string]int64

	conns map[wire.Flow]*conn // by the peer's direction
	swept int
}

// Look is what a SYN-ACK looks like.
type Look struct {
	HopLimit     uint8
	MSS          uint16
	Scale        uint8
	Window       uint16
	NoTimestamps bool
	// Order of the options where it is not Linux's (MSS, SACK-permitted, timestamps, NOP, window scale).
	Order []wire.OptionKind
}

// LinuxLook is a Linux server of today on Ethernet.
func LinuxLook() Look { return Look{HopLimit: 64, MSS: 1460, Scale: 7, Window: 65160} }

// NewHost is a healthy Linux server with one open port.
func NewHost(addr netip.AddrPort, seed uint64) *Host {
	return &Host{
		Addr: addr.Addr(), Ports: map[uint16]*Listener{addr.Port(): NewListener()}, Look: LinuxLook(), HZ: 1000,
		Clock: Clock{Hz: 1000, Base: wire.TSval(mix(seed + 11)), Per: PerHostPair, Seed: mix(seed + 12)},
		Think: 20 * time.Microsecond, Counters: map[string]int64{},
	}
}

// connState follows RFC 9293 §3.3.2.
type connState uint8

const (
	synReceived connState = iota
	established
	finWait1
	finWait2
	closing
	timeWait
	closeWait
	lastAck
	gone
)

// conn is one connection of a host: a request, a socket, or a TIME_WAIT bucket.
type conn struct {
	h     *Host
	l     *Listener
	flow  wire.Flow // the peer's direction
	state connState
	hop   Hop

	irs, iss       wire.Seq
	rcvNxt, sndNxt wire.Seq
	sndUna         wire.Seq
	recent         wire.TSval
	recentAt       time.Duration
	ts             bool
	syn            wire.Options // of the peer's SYN, for the SYN-ACK's repeats
	peerMSS        uint16

	timer   int // generation
	sent    int // SYN-ACKs repeated (num_timeout), or repeats of data and FIN
	acked   bool
	lastOOW time.Duration
	hasOOW  bool
	until   time.Duration // of TIME_WAIT

	accepted bool // by the application
	pending  []byte
	inFlight []byte // sent and not acknowledged
	finSent  bool
	close    bool // the application has closed
	finFirst bool // our FIN left before the peer's came
	hasData  bool
	early    []stretch // data behind a hole, the newest first
	served   bool      // the application has read the first data
}

// Take implements Element.
func (h *Host) Take(at Hop, p *Packet) {
	if p.Dir == Back {
		at.Pass(p)
		return
	}
	switch {
	case h.Dead || p.ICMP != nil:
		return
	case p.Echo != nil:
		if !h.NoEcho {
			at.reply(p, netip.Addr{}, h.Look.HopLimit)
		}
		return
	}
	seg := &p.Seg
	seg.Length = max(seg.Length, len(seg.Payload))
	c := h.lookup(at.Now(), seg.Flow())
	l := h.Ports[seg.Dst.Port()]
	switch {
	case l != nil && l.Mute:
	case c != nil:
		c.hop = at
		c.receive(seg)
	case l == nil:
		h.refuse(at, seg)
	case p.SYN():
		h.request(at, l, seg, 0)
	case seg.Flags&wire.ACK != 0 && seg.Flags&wire.RST == 0 && h.cookieAck(at, l, seg):
	default:
		h.refuse(at, seg)
	}
}

// lookup finds the connection of a flow, unless it is over.
func (h *Host) lookup(now time.Duration, f wire.Flow) *conn {
	c := h.conns[f]
	if c != nil && c.over(now) {
		delete(h.conns, f)
		return nil
	}
	return c
}

// over reports whether nothing is left of a connection.
func (c *conn) over(now time.Duration) bool {
	return c.state == gone || (c.state == timeWait || c.state == finWait2) && c.until > 0 && now >= c.until
}

// refuse answers what no socket takes with RST (RFC 9293 §3.10.7.1).
func (h *Host) refuse(at Hop, seg *wire.Segment) {
	if seg.Flags&wire.RST != 0 {
		return
	}
	r := wire.Segment{Src: seg.Dst, Dst: seg.Src, Flags: wire.RST | wire.ACK, Ack: seg.End()}
	if seg.Flags&wire.ACK != 0 {
		r = wire.Segment{Src: seg.Dst, Dst: seg.Src, Flags: wire.RST, Seq: seg.Ack}
	}
	h.Counters["Tcp.OutRsts"]++
	h.emit(at, r)
}

// emit sends a segment towards the vantage.
func (h *Host) emit(at Hop, seg wire.Segment) {
	seg.HopLimit, seg.DF = h.Look.HopLimit, true
	at.Answer(h.Think, &Packet{Seg: seg})
}

// options of a SYN-ACK: what both sides know (net/ipv4/tcp_output.c tcp_synack_options, 6.18).
func (h *Host) options(peer *wire.Options, val, ecr wire.TSval) wire.Options {
	_, _, ts := peer.Timestamps()
	_, scale := peer.WindowScale()
	ts = ts && !h.Look.NoTimestamps
	sack := peer.SACKPermitted()
	var o wire.Options
	if h.Look.Order != nil {
		return h.ordered(ts, scale, sack, val, ecr)
	}
	o.AppendMSS(h.Look.MSS)
	switch {
	case sack && ts:
		o.Append(wire.OptSACKPermitted).AppendTimestamps(val, ecr)
	case ts:
		o.Append(wire.OptNOP).Append(wire.OptNOP).AppendTimestamps(val, ecr)
	case sack:
		o.Append(wire.OptNOP).Append(wire.OptNOP).Append(wire.OptSACKPermitted)
	}
	if scale {
		o.Append(wire.OptNOP).Append(wire.OptWindowScale, h.Look.Scale)
	}
	return o
}

func (h *Host) ordered(ts, scale, sack bool, val, ecr wire.TSval) wire.Options {
	var o wire.Options
	for _, k := range h.Look.Order {
		switch {
		case k == wire.OptMSS:
			o.AppendMSS(h.Look.MSS)
		case k == wire.OptTimestamps && ts:
			o.AppendTimestamps(val, ecr)
		case k == wire.OptWindowScale && scale:
			o.Append(k, h.Look.Scale)
		case k == wire.OptSACKPermitted && sack, k == wire.OptNOP, k == wire.OptEnd:
			o.Append(k)
		}
	}
	return o
}

// sweep drops what has expired, now and then, so that long simulations stay small.
func (h *Host) sweep(now time.Duration) {
	if h.swept++; h.swept < 4096 {
		return
	}
	h.swept = 0
	for k, c := range h.conns {
		if c.over(now) {
			delete(h.conns, k)
		}
	}
}
