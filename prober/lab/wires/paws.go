package wires

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Recycle is a server kernel ≤ 4.11 with tcp_tw_recycle=1, as far as its per-host PAWS goes: stand it in front of a server of
// today and its SYNs meet the old rule. It remembers, for each source address, the newest TSval of a connection that the
// server closed first, and for 60 s silently drops SYNs that are more than one tick older.
//
// Sources: tcp_peer_is_proven and tcp_remember_stamp in net/ipv4/tcp_metrics.c, tcp_time_wait and
// tcp_timewait_state_process in net/ipv4/tcp_minisocks.c, Linux 3.10; the cases that record were seen on 3.10.0-1160 and 2.6.32-431.
type Recycle struct {
	// NoTS says what happens to a SYN without timestamps from a remembered address.
	NoTS NoTimestamps
	// Ports are the server's listening ports: a SYN to another goes through, to be refused. Empty means all.
	Ports []uint16
	// Cookies: the server answers every SYN by cookie, and does not look at its TSval then (tcp_v4_conn_request, net/ipv4/tcp_ipv4.c, 3.10:
	// !want_cookie).
	Cookies bool

	// OnRefused is told of each SYN that is refused, as it is; nil: nobody is.
	OnRefused func()

	hosts map[netip.Addr]*remembered
	conns map[wire.Flow]*closing // by the client's direction
	drops int
}

// NoTimestamps is how a kernel with recycle treats SYNs that carry none.
type NoTimestamps uint8

// NoTSAccepted: the rule is not applied (2.6.32). NoTSDropped: the SYN counts as TSval 0 that is always too old (CentOS 7's
// 3.10.0-1160, and kernels with commit a26552afe894).
const (
	NoTSUnknown NoTimestamps = iota
	NoTSAccepted
	NoTSDropped
)

// remembered is struct tcp_metrics_block's tcpm_ts and tcpm_ts_stamp.
type remembered struct {
	val   wire.TSval
	stamp int64 // wall seconds
}

// pawsMSL is TCP_PAWS_MSL: how long a host is remembered, in seconds; pawsWindow TCP_PAWS_WINDOW, in ticks
// (include/net/tcp.h, 3.10).
const (
	pawsMSL    = 60
	pawsWindow = 1
	// timeWait is how long TIME_WAIT lasts under recycle: 3.5 RTO of the least 200 ms (tcp_time_wait, 3.10).
	timeWait = 700 * time.Millisecond
)

// closing is what the rule needs to know of one connection.
type closing struct {
	isn         wire.Seq
	recent      wire.TSval // ts_recent: of the last in-order segment of the client
	recentStamp int64
	hasTS       bool
	acked       wire.Seq // what the server has acknowledged: rcv_wup
	hasAcked    bool
	clientFIN   wire.Seq // End of the client's FIN
	hasClient   bool
	serverFIN   wire.Seq // End of the server's FIN
	hasServer   bool
	first       bool // the server's FIN was sent before it had the client's
	waiting     bool // TIME_WAIT, or FIN_WAIT2 held as one
	until       time.Time
}

// Drops is how many SYNs the rule has refused: what PAWSPassive counts.
func (r *Recycle) Drops() int { return r.drops }

// Remembered returns the TSval remembered for a source address, and whether it is still in force.
func (r *Recycle) Remembered(now time.Time, host netip.Addr) (wire.TSval, bool) {
	m := r.hosts[host]
	if m == nil || now.Unix()-m.stamp >= pawsMSL {
		return 0, false
	}
	return m.val, true
}

// Remember puts a value into the memory, as a connection of that host closed by the server just now would.
func (r *Recycle) Remember(now time.Time, host netip.Addr, val wire.TSval) {
	r.remember(host, remembered{val, now.Unix()})
}

func (r *Recycle) remember(host netip.Addr, m remembered) {
	if r.hosts == nil {
		r.hosts = map[netip.Addr]*remembered{}
	}
	r.hosts[host] = &m
}

// Pass drops refused SYNs and watches how connections close.
func (r *Recycle) Pass(now time.Time, p Packet) []Departure {
	switch {
	case !p.TCP:
	case SYN(p) && p.Dir == In:
		if r.refuses(now, p.Seg) {
			r.drops++
			if r.OnRefused != nil {
				r.OnRefused()
			}
			return nil
		}
		r.open(now, &p.Seg)
	case p.Dir == In:
		r.fromClient(now, &p.Seg)
	case p.Dir == Out:
		r.fromServer(&p.Seg)
	}
	return pass(now, p)
}

// refuses is tcp_peer_is_proven, asked only for a listening port and where no TIME_WAIT of the same flow answers instead.
func (r *Recycle) refuses(now time.Time, s wire.Segment) bool {
	if r.Cookies {
		return false
	}
	if len(r.Ports) > 0 && !slices.Contains(r.Ports, s.Dst.Port()) {
		return false
	}
	if c := r.conns[s.Flow()]; c != nil && c.waiting && now.Before(c.until) {
		return false
	}
	val, known := r.Remembered(now, s.Src.Addr())
	if !known {
		return false
	}
	tsval, _, ok := s.Options.Timestamps()
	if !ok {
		return r.NoTS == NoTSDropped
	}
	return val.Sub(tsval) > pawsWindow
}

func (r *Recycle) open(now time.Time, s *wire.Segment) {
	if r.conns == nil {
		r.conns = map[wire.Flow]*closing{}
	}
	if old := r.conns[s.Flow()]; old != nil && old.isn == s.Seq {
		return // a repeated SYN
	}
	c := &closing{isn: s.Seq, recentStamp: now.Unix()}
	c.recent, _, c.hasTS = s.Options.Timestamps()
	r.conns[s.Flow()] = c
}

func (r *Recycle) fromClient(now time.Time, s *wire.Segment) {
	c := r.conns[s.Flow()]
	if c == nil {
		return
	}
	if s.Flags&wire.RST != 0 {
		if !c.waiting {
			delete(r.conns, s.Flow())
		}
		return
	}
	r.observe(now, c, s)
	if s.Flags&wire.FIN != 0 && !c.hasClient {
		c.clientFIN, c.hasClient = s.End(), true
	}
	if c.hasServer && c.first && s.Flags&wire.ACK != 0 && !s.Ack.Before(c.serverFIN) {
		// FIN_WAIT1 → FIN_WAIT2 or TIME_WAIT, or CLOSING → TIME_WAIT: all go through tcp_time_wait.
		c.waiting, c.until = true, now.Add(timeWait)
		r.record(now, s.Src.Addr(), c)
	}
}

// observe is tcp_replace_ts_recent: only a segment that covers the last acknowledged octet counts, and only forward.
func (r *Recycle) observe(now time.Time, c *closing, s *wire.Segment) {
	val, _, ok := s.Options.Timestamps()
	if !ok || !c.hasTS || c.hasAcked && c.acked.Before(s.Seq) || val.Before(c.recent) {
		return
	}
	c.recent, c.recentStamp = val, now.Unix()
}

// record is tcp_remember_stamp: a running maximum until the older value is 60 s old.
func (r *Recycle) record(now time.Time, host netip.Addr, c *closing) {
	if !c.hasTS {
		return
	}
	m := r.hosts[host]
	if m != nil && c.recent.Before(m.val) && now.Unix()-m.stamp <= pawsMSL {
		return
	}
	r.remember(host, remembered{c.recent, c.recentStamp})
}

func (r *Recycle) fromServer(s *wire.Segment) {
	flow := s.Flow().Reverse()
	c := r.conns[flow]
	if c == nil {
		return
	}
	if s.Flags&wire.RST != 0 {
		delete(r.conns, flow)
		return
	}
	if s.Flags.Has(wire.SYN|wire.ACK) && c.hasTS {
		_, _, c.hasTS = s.Options.Timestamps() // agreed only if both sides sent it
	}
	if s.Flags&wire.ACK != 0 && (!c.hasAcked || c.acked.Before(s.Ack)) {
		c.acked, c.hasAcked = s.Ack, true
	}
	if s.Flags&wire.FIN != 0 && !c.hasServer {
		c.serverFIN, c.hasServer = s.End(), true
		// A FIN that acknowledges the client's comes from LAST_ACK, which records nothing.
		c.first = !c.hasClient || s.Ack.Before(c.clientFIN)
	}
}
