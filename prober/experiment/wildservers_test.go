package experiment_test

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// listener is the one behind a lone server, or nil.
func (x *wild) listener() *fakenet.Listener {
	if x.server == nil {
		return nil
	}
	return x.server.Ports[80]
}

// listens applies a fault to a lone server's listener.
func listens(f func(x *wild, l *fakenet.Listener)) func(x *wild) bool {
	return func(x *wild) bool {
		l := x.listener()
		if l != nil {
			f(x, l)
		}
		return l != nil
	}
}

func serverHazards() []hazard {
	return []hazard{
		{"nobody accepts", may(diagnose.AcceptQueueOverflow, diagnose.AbortOnOverflow), listens(func(x *wild, l *fakenet.Listener) {
			l.Backlog, l.App.Never, l.AbortOnOverflow = int(skewed(x.r, 1, 500)), true, x.r.IntN(3) == 0
			x.note("backlog %d, abort %v", l.Backlog, l.AbortOnOverflow)
		})},
		{"slow to accept", may(diagnose.AcceptQueueOverflow, diagnose.AbortOnOverflow), listens(func(x *wild, l *fakenet.Listener) {
			l.Backlog, l.App.Every, l.AbortOnOverflow = int(skewed(x.r, 1, 200)), skewedTime(x.r, time.Millisecond, 3*time.Second), x.r.IntN(4) == 0
			x.note("backlog %d, each takes %s, abort %v", l.Backlog, l.App.Every, l.AbortOnOverflow)
		})},
		{"accepts now and then", may(diagnose.AcceptQueueOverflow, diagnose.AbortOnOverflow), listens(func(x *wild, l *fakenet.Listener) {
			l.Backlog = int(skewed(x.r, 1, 20))
			full := false
			var flip func()
			flip = func() {
				full = !full
				l.Queued = 0
				if full {
					l.Queued = l.Backlog + 1
				}
				x.w.After(skewedTime(x.r, 50*time.Millisecond, 5*time.Second), flip)
			}
			flip()
		})},
		{"SYN queue full", may(diagnose.SYNQueueFullDrop), listens(func(x *wild, l *fakenet.Listener) {
			l.Backlog = oneOf(x.r, 16, 64, 128, 512)
			l.MaxSYNBacklog, l.Cookies, l.HalfOpen = l.Backlog, fakenet.CookiesOff, between(x.r, l.Backlog/2, l.Backlog)
			x.note("%d of %d half-open", l.HalfOpen, l.Backlog)
		})},
		{"cookies", may(diagnose.SYNCookiesActive), listens(func(x *wild, l *fakenet.Listener) {
			if l.Cookies = fakenet.CookiesAlways; x.r.IntN(2) == 0 {
				l.Cookies, l.Backlog = fakenet.CookiesOnFull, int(skewed(x.r, 1, 30))
			}
			x.note("%s, backlog %d", l.Cookies, l.Backlog)
		})},
		{"deferred accept", may(diagnose.DeferAcceptBenign), listens(func(x *wild, l *fakenet.Listener) { l.DeferAccept = between(x.r, 1, 5) })},
		{"slow SYN-ACKs", may(diagnose.SlowPathNotStall), listens(func(x *wild, l *fakenet.Listener) {
			l.Slow = skewedTime(x.r, time.Millisecond, 4*time.Second)
			x.note("by %s", l.Slow)
		})},
		{"no repeats", nil, listens(func(_ *wild, l *fakenet.Listener) { l.Retries = -1 })},
		{"large replies", nil, listens(func(x *wild, l *fakenet.Listener) { l.App.Reply = make([]byte, between(x.r, 1, 30_000)) })},
		{"one socket of several is stuck", may(diagnose.AcceptQueueOverflow, diagnose.BlackholeBackend), func(x *wild) bool {
			if x.server == nil {
				return false
			}
			s := &shared{seed: x.seed}
			for range between(x.r, 2, 16) {
				h := fakenet.NewHost(x.w.Target, x.seed)
				h.Ports[80].App = fakenet.HTTP()
				s.hosts = append(s.hosts, h)
			}
			l := s.hosts[0].Ports[80]
			l.Backlog, l.Queued, l.App.Never = 10, oneOf(x.r, 0, 11), true
			x.note("of %d, queued %d", len(s.hosts), l.Queued)
			x.far = append(x.far, s)
			return true
		}},
		{"restarts", may(diagnose.PortClosed), func(x *wild) bool {
			from := lasting(x.r, 0, 15*time.Second)
			until := from + skewedTime(x.r, 50*time.Millisecond, 10*time.Second)
			x.note("refuses from %s to %s", from, until)
			if x.pool != nil { // the device in front refuses: no more than an empty pool does
				x.may = append(x.may, diagnose.VIPPoolEmpty)
			}
			x.far = append(x.far, refuser(during(from, until, fakenet.Any)))
			return true
		}},
		{"filtered", may(diagnose.ACLDrop), func(x *wild) bool {
			m := oneOf(x.r, fakenet.ToPorts(80), fakenet.TCP, fakenet.SYNs)
			return x.drop(fakenet.Both(m, fakenet.Going(fakenet.Out)))
		}},
		{"filtered with a word", may(diagnose.ACLDrop), func(x *wild) bool {
			share, code := oneOf(x.r, 1, 1, upTo(x.r, 0.1, 0.9)), oneOf[uint8](x.r, 13, 10, 9, 1, 0, 3)
			x.note("code %d for %.2f", code, share)
			m := oneOf(x.r, fakenet.Chance(share, fakenet.SYNs), fakenet.Sticky(share, x.seed, fakenet.SYNs))
			x.near = append(x.near, fakenet.Reject(m, func(*fakenet.Packet) wire.ICMPError {
				return wire.ICMPError{From: netip.AddrFrom4([4]byte{203, 0, 113, 9}), Type: 3, Code: code}
			}))
			return true
		}},
		{"another source passes", may(diagnose.ReversePathFilter, diagnose.ACLDrop), func(x *wild) bool {
			own := x.w.Client.Source
			x.w.Client.Others = []netip.Addr{own.Next()}
			return x.drop(func(_ fakenet.Hop, p *fakenet.Packet) bool { return p.Dir == fakenet.Out && p.Seg.Src.Addr() == own })
		}},
	}
}

// oldServers gives servers the per-host PAWS of old kernels, and others a share of the address that they see.
func (x *wild) oldServers(seenAs netip.Addr, hosts []*fakenet.Host) {
	every := skewedTime(x.r, 20*time.Millisecond, 20*time.Second)
	n := between(x.r, 1, 5)
	x.note("%d old servers, %d others, each every %s", len(hosts), n, every)
	for _, h := range hosts {
		h.Recycle, h.Clock.Per = &fakenet.Recycle{NoTSDropped: x.r.IntN(2) == 0}, fakenet.Global
		for i := range n {
			h.Recycle.Primers = append(h.Recycle.Primers, &fakenet.Primer{From: seenAs, To: x.w.Target, Every: every, Clock: fakenet.Clock{
				Hz: oneOf[uint32](x.r, 1000, 250, 100), Base: wire.TSval(x.r.Uint32()), Seed: x.seed + uint64(i), Per: oneOf(x.r, fakenet.Global, fakenet.PerFlow)}})
		}
	}
	x.settle = max(x.settle, oneOf(x.r, 0, 5*time.Second, 70*time.Second))
}

func clockHazards() []hazard {
	recycle := may(diagnose.TWRecyclePAWSDropSNAT, diagnose.TWRecyclePAWSDrop, diagnose.ClientRandomTSVsRecycle)
	return []hazard{
		{"old server, shared address", recycle, func(x *wild) bool {
			if x.server == nil {
				return false
			}
			x.oldServers(x.w.Client.Source, []*fakenet.Host{x.server})
			return true
		}},
		{"old servers behind SNAT", recycle, func(x *wild) bool {
			if x.pool == nil || x.pool.SNAT == nil {
				return false
			}
			hosts := x.w.Hosts[:between(x.r, 1, len(x.w.Hosts))]
			x.oldServers(x.pool.SNAT.Addrs[0], hosts)
			return true
		}},
		{"old server, nobody else", may(diagnose.TWRecyclePAWSDrop, diagnose.ClientRandomTSVsRecycle), func(x *wild) bool {
			if x.server == nil {
				return false
			}
			x.server.Recycle, x.server.Clock.Per = &fakenet.Recycle{NoTSDropped: x.r.IntN(2) == 0}, fakenet.Global
			return true
		}},
		{"timestamps stripped", may(diagnose.MiddleboxTSStripped), func(x *wild) bool {
			m := oneOf(x.r, fakenet.Any, fakenet.SYNs, fakenet.SYNACKs)
			if x.r.IntN(3) == 0 {
				m = fakenet.Sticky(upTo(x.r, 0.1, 0.9), x.seed, m)
				x.may = append(x.may, diagnose.BackendHeterogeneity)
			}
			x.near = append(x.near, fakenet.StripTimestamps(m))
			return true
		}},
		{"timestamps rewritten", may(diagnose.MiddleboxTSecrCorrupt, diagnose.ClientPAWSReject), func(x *wild) bool {
			x.near = append(x.near, fakenet.ShiftTSval(x.r.Int64N(1<<32), oneOf(x.r, fakenet.Going(fakenet.Out), fakenet.SYNs)))
			return true
		}},
		{"timestamps normalized", may(diagnose.TimestampNormalizedPossible), func(x *wild) bool {
			x.near = append(x.near, &fakenet.Normalize{Clock: fakenet.Clock{Hz: 1000, Base: wire.TSval(x.r.Uint32()), Seed: x.seed}})
			return true
		}},
		{"reused ports", may(diagnose.IPVSPortReuseDrop), func(x *wild) bool {
			x.near = append(x.near, &fakenet.PortReuse{})
			return true
		}},
		{"SYNs with timestamps dropped", nil, func(x *wild) bool {
			p := oneOf(x.r, 1, 1, upTo(x.r, 0.1, 0.9))
			if p < 1 { // all SYNs of this host
				x.may = append(x.may, diagnose.ForwardSYNLoss)
			} else {
				x.may = append(x.may, diagnose.ACLDrop)
			}
			x.note("%.2f", p)
			return x.drop(fakenet.Chance(p, func(h fakenet.Hop, p *fakenet.Packet) bool {
				_, _, ok := p.Seg.Options.Timestamps()
				return fakenet.SYNs(h, p) && ok
			}))
		}},
		{"SYNs without timestamps dropped", may(diagnose.ACLDrop), func(x *wild) bool {
			return x.drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
				_, _, ok := p.Seg.Options.Timestamps()
				return fakenet.SYNs(h, p) && !ok
			})
		}},
	}
}

func linkHazards() []hazard {
	return []hazard{
		{"own queue", may(diagnose.LocalARPQueueOverflow, diagnose.LocalARPUnresolved), func(x *wild) bool {
			q, d := int(skewed(x.r, 1, 300)), skewedTime(x.r, time.Millisecond, 4*time.Second)
			x.note("queue %d, answered after %s", q, d)
			c := &x.w.Client
			c.Neighbors.Queue, c.Neighbors.Warm = q, false
			c.Link = map[netip.Addr]fakenet.Station{c.NextHop(x.w.Target.Addr()): {Delay: d}}
			x.w.Near.Learns = x.r.IntN(2) == 0
			return true
		}},
		{"far queue", may(diagnose.RemoteARPQueueOverflow, diagnose.RemoteARPUnresolved), func(x *wild) bool {
			q, d := int(skewed(x.r, 1, 300)), skewedTime(x.r, time.Millisecond, 4*time.Second)
			x.note("far queue %d, answered after %s", q, d)
			x.w.Near.Knows, x.w.Near.Queue, x.w.Client.Answers.Delay = false, q, d
			return true
		}},
		{"second answer for the address", may(diagnose.DuplicateAddress, diagnose.NeighborFlapping), func(x *wild) bool {
			c := &x.w.Client
			c.Neighbors.Warm = false
			c.Link = map[netip.Addr]fakenet.Station{c.NextHop(x.w.Target.Addr()): {Second: wire.MAC{2, 0, 0, 0, 0, 0x66}, Behind: skewedTime(x.r, 10*time.Microsecond, 500*time.Millisecond)}}
			return true
		}},
		{"loss on the link", lossy(), func(x *wild) bool {
			x.w.Near.LinkLose = skewed(x.r, 0.01, 0.4)
			return true
		}},
		{"this host loses", may(diagnose.ProberLocalDrop), func(x *wild) bool {
			x.w.Client.Lose, x.w.Client.Refuse = skewed(x.r, 0.01, 0.4), skewed(x.r, 0.01, 0.4)
			return true
		}},
		{"the ring loses", may(diagnose.ProberLocalDrop, diagnose.InsufficientSamples), func(x *wild) bool {
			x.w.Tap.Lose = skewed(x.r, 0.001, 0.3)
			return true
		}},
		{"no capture", nil, func(x *wild) bool {
			x.w.Tap.Off, x.w.Tap.Why = true, "open a packet socket: operation not permitted"
			return true
		}},
		{"busy", nil, func(x *wild) bool {
			x.w.Client.SocketCost, x.w.Client.Wake = skewedTime(x.r, 10*time.Microsecond, 20*time.Millisecond), skewedTime(x.r, time.Millisecond, 700*time.Millisecond)
			x.w.Tap.Lag = skewedTime(x.r, time.Millisecond, 300*time.Millisecond)
			return true
		}},
	}
}

func boxHazards() []hazard {
	return []hazard{
		{"first SYN swallowed", nil, func(x *wild) bool {
			v := &verifier{within: skewedTime(x.r, 2*time.Second, 60*time.Second), perSource: x.r.IntN(2) == 0}
			x.note("per source %v, within %s", v.perSource, v.within)
			x.near = append(x.near, v)
			return true
		}},
		{"SYN proxy", may(diagnose.SYNCookiesActive, diagnose.LBFullProxyMasks), func(x *wild) bool {
			x.near = append(x.near, fakenet.NewSYNProxy(x.seed))
			return true
		}},
		{"large segments vanish", may(diagnose.MTUBlackhole), func(x *wild) bool {
			mtu := between(x.r, 100, 1499)
			x.note("over %d", mtu)
			return x.drop(fakenet.Larger(mtu))
		}},
		{"MSS clamped", nil, func(x *wild) bool {
			x.near = append(x.near, fakenet.ClampMSS(uint16(between(x.r, 536, 1460)), fakenet.Any))
			return true
		}},
		{"some source ports lost", may(diagnose.ACLDrop), func(x *wild) bool {
			mod, rest := uint16(between(x.r, 2, 16)), uint16(x.r.IntN(2))
			return x.drop(func(h fakenet.Hop, p *fakenet.Packet) bool { return fakenet.SYNs(h, p) && p.Seg.Src.Port()%mod == rest })
		}},
		{"SYNs of some TSvals dropped", nil, func(x *wild) bool {
			bit := uint(oneOf(x.r, between(x.r, 0, 31), between(x.r, 28, 31)))
			mul := oneOf[uint32](x.r, 1, 1, 1, x.r.Uint32()|1) // a large one scatters it all over the circle
			x.note("bit %d of %d times the TSval", bit, mul)
			if bit < 16 || mul != 1 { // these fall as loss at random does
				x.may = append(x.may, diagnose.ForwardSYNLoss)
			}
			return x.drop(func(h fakenet.Hop, p *fakenet.Packet) bool {
				v, _, ok := p.Seg.Options.Timestamps()
				return fakenet.SYNs(h, p) && ok && uint32(v)*mul>>bit&1 == 1
			})
		}},
	}
}
