package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// AcceptFull is a server whose application does not accept; its queue holds backlog+1 connections. The vantage has a second address.
func AcceptFull(seed uint64, backlog int) *World {
	w, h := Server(seed)
	w.Client.Others = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 11})}
	h.Ports[port].Backlog, h.Ports[port].App = backlog, App{Never: true}
	return w
}

// AbortOnOverflow is AcceptFull with tcp_abort_on_overflow=1.
func AbortOnOverflow(seed uint64, backlog int) *World {
	w := AcceptFull(seed, backlog)
	w.Hosts[0].Ports[port].AbortOnOverflow = true
	return w
}

// DeferAccept is TCP_DEFER_ACCEPT of 5 s: the connection comes to life with its first data.
func DeferAccept(seed uint64) *World {
	w, h := Server(seed)
	h.Ports[port].DeferAccept = 3
	return w
}

// SYNQueueFull is a flooded listener of the given backlog without cookies: others hold so much of its SYN queue.
func SYNQueueFull(seed uint64, backlog, others int) *World {
	w, h := Server(seed)
	l := h.Ports[port]
	l.Backlog, l.MaxSYNBacklog, l.Cookies, l.HalfOpen = backlog, backlog, CookiesOff, others
	return w
}

// SYNCookies answers every SYN with a cookie (tcp_syncookies=2).
func SYNCookies(seed uint64) *World {
	w, h := Server(seed)
	h.Ports[port].Cookies = CookiesAlways
	return w
}

// CookiesOverBacklog holds backlog+1 half-open connections and answers with cookies above that.
func CookiesOverBacklog(seed uint64, backlog int) *World {
	w, h := Server(seed)
	h.Ports[port].Backlog = backlog
	return w
}

// RecycleDirect is an old server with tcp_tw_recycle=1. noTSDropped is CentOS 7's treatment of SYNs without timestamps.
func RecycleDirect(seed uint64, noTSDropped bool) *World {
	w, h := Server(seed)
	h.Recycle = &Recycle{NoTSDropped: noTSDropped}
	h.Clock.Per = Global
	return w
}

// RandomTSClient is RecycleDirect met by a client whose timestamps are random per connection, and whose connections the server closes
// first; nothing translates addresses.
func RandomTSClient(seed uint64) *World {
	w := RecycleDirect(seed, true)
	w.Client.Clock.Per = PerFlow
	w.Business = []*Primer{{From: w.Client.Source, To: w.Target, Every: 250 * time.Millisecond, Clock: w.Client.Clock}}
	w.Hosts[0].Recycle.Primers = w.Business
	return w
}

// RecycleVIP is a balancer of n members with one SNAT address; poisoned of them run with recycle, and two other clients whose clocks lie
// 500 million ticks apart keep their memory of that address up to date.
func RecycleVIP(seed uint64, n, poisoned int) *World {
	w, b := VIP(seed, n)
	for i := range poisoned {
		b.Members[i].Host.Recycle = &Recycle{NoTSDropped: seed%2 == 0, Primers: neighbors(snatAddr(), seed, 300*time.Millisecond)}
		b.Members[i].Host.Clock.Per = Global
	}
	return w
}

// neighbors are two clients behind one address.
func neighbors(from netip.Addr, seed uint64, every time.Duration) []*Primer {
	base := wire.TSval(mix(seed + 77))
	return []*Primer{
		{From: from, Every: every, Clock: Clock{Hz: 1000, Base: base, Seed: seed}},
		{From: from, Every: every, Clock: Clock{Hz: 1000, Base: base.Add(500_000_000), Seed: seed + 1}},
	}
}

// ClockConflict is a recycle server behind a balancer whose business traffic has a clock ahead ticks before the vantage's own (a
// monitor); shared: through the same SNAT address, otherwise from one of its own.
func ClockConflict(seed uint64, ahead int64, shared, noTSDropped bool) *World {
	w, b := VIP(seed, 1)
	from := snatAddr()
	if !shared {
		from = netip.AddrFrom4([4]byte{10, 1, 255, 2})
	}
	own := w.Client.Clock.At(0, wire.Flow{Src: netip.AddrPortFrom(w.Client.Source, 0), Dst: w.Target})
	b.Members[0].Host.Recycle = &Recycle{NoTSDropped: noTSDropped,
		Primers: []*Primer{{From: from, Every: 100 * time.Millisecond, Clock: Clock{Hz: 1000, Base: own.Add(ahead), Seed: seed}}}}
	return w
}

// PoolEmpty is ClockConflict's server as the only member of a VIP that checks it from the SNAT address with a clock of its own: business
// poisons the check, the member is evicted, and the VIP refuses until 60 s have passed. Seconds between two clients' closes are 90.
func PoolEmpty(seed uint64, answer Empty) *World {
	w, b := VIP(seed, 1)
	base := wire.TSval(mix(seed + 5))
	b.Empty = answer
	b.Check = &Checker{From: snatAddr(), Clock: Clock{Hz: 1000, Base: base}, Every: 5 * time.Second, Timeout: 3 * time.Second,
		Retries: 1, RetryDelay: 3 * time.Second}
	b.Members[0].Host.Recycle = &Recycle{NoTSDropped: true, Primers: []*Primer{{From: snatAddr(), Every: 90 * time.Second,
		Clock: Clock{Hz: 1000, Base: base.Add(500_000_000), Seed: seed}}}}
	return w
}

// Blackhole is a VIP of n members of which one swallows everything.
func Blackhole(seed uint64, n int) *World {
	w, b := VIP(seed, n)
	b.Members[0].Host.Dead = true
	return w
}

// BlackholeRoundRobin is Blackhole behind a balancer that takes members in turn: every n-th new flow is lost, whatever its ports, and
// sticks to its member only as long as its entry lives.
func BlackholeRoundRobin(seed uint64, n int) *World {
	w := Blackhole(seed, n)
	w.Balancer.Choose = RoundRobin
	return w
}

// Refusing is a VIP of n members of which one has no listener.
func Refusing(seed uint64, n int) *World {
	w, b := VIP(seed, n)
	clear(b.Members[0].Host.Ports)
	return w
}

// Mixed is a healthy VIP whose members differ in how their SYN-ACKs look.
func Mixed(seed uint64, n int) *World {
	w, b := VIP(seed, n)
	looks := []Look{
		LinuxLook(),
		{HopLimit: 64, MSS: 1400, Scale: 9, Window: 64240},
		{HopLimit: 128, MSS: 1460, Scale: 8, Window: 8192, Order: []wire.OptionKind{wire.OptMSS, wire.OptNOP, wire.OptWindowScale,
			wire.OptSACKPermitted, wire.OptTimestamps}},
		{HopLimit: 255, MSS: 1460, Scale: 7, Window: 28960, NoTimestamps: true},
	}
	for i, m := range b.Members {
		m.Host.Look = looks[i%len(looks)]
	}
	return w
}

// FullProxy is a balancer that answers handshakes itself; n backends stand behind it, of which the first dead hang (or, with reset, are
// reset) once data come. The proxy's own timestamps are off when noTS.
func FullProxy(seed uint64, n, dead int, reset, noTS bool) *World {
	p := NewHost(vip(), seed)
	p.Look.NoTimestamps = noTS
	l := p.Ports[port]
	for i := range n {
		switch {
		case i >= dead:
			l.Each = append(l.Each, HTTP())
		case reset:
			l.Each = append(l.Each, App{Close: ResetOnData, Delay: 3 * time.Millisecond})
		default:
			l.Each = append(l.Each, App{Close: CloseNever})
		}
	}
	return behindRouter(seed, p)
}

// Synproxy stands between the vantage and a server, which is dead or not, and answers handshakes by cookie itself.
func Synproxy(seed uint64, dead bool) *World {
	w, h := Server(seed, NewSYNProxy(seed))
	h.Dead = dead
	return w
}

// L7Monitor is a full proxy without timestamps before n healthy members, which the vantage can reach directly as well.
func L7Monitor(seed uint64, n int) *World {
	p := NewHost(vip(), seed)
	p.Look.NoTimestamps, p.Ports[port].App = true, HTTP()
	net := Network{vip().Addr(): p}
	var hosts []*Host
	var members []netip.AddrPort
	for i := range n {
		h := NewHost(memberAddr(i), seed+uint64(i)*101)
		h.Ports[port].App = HTTP()
		net[h.Addr] = h
		hosts, members = append(hosts, h), append(members, memberAddr(i))
	}
	w := behindRouter(seed, net)
	w.Hosts, w.Members = append(hosts, p), members
	return w
}

// CALSNAT is the first incident: another client of the SNAT address has left TSval 517740536 with the only member, and the vantage's clock
// stands at 481284815; the balancer resets what has no answer after 15 s.
func CALSNAT(seed uint64) *World {
	w, b := VIP(seed, 1)
	b.LateRST = 15 * time.Second
	b.Members[0].Host.Recycle = &Recycle{Primers: []*Primer{{From: snatAddr(), Every: time.Second,
		Clock: Clock{Hz: 1000, Base: 517740536, Seed: seed}}}}
	w.Client.Clock = Clock{Hz: 1000, Base: 481284815}
	return w
}

// LateReset is a VIP whose one member drops every SYN, and which resets the client after d.
func LateReset(seed uint64, d time.Duration) *World {
	w := Blackhole(seed, 1)
	w.Balancer.LateRST = d
	return w
}

// Poisoned is the fault of RecycleVIP at its fullest: one member, and its memory of the SNAT address ahead ticks before the vantage's
// own clock.
func Poisoned(seed uint64, ahead int64) *World { return ClockConflict(seed, ahead, true, false) }
