package experiment_test

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func hazards() []hazard {
	out := append(lossHazards(), poolHazards()...)
	out = append(out, limitHazards()...)
	out = append(out, serverHazards()...)
	out = append(out, clockHazards()...)
	out = append(out, linkHazards()...)
	out = append(out, boxHazards()...)
	return append(out, variedHazards()...)
}

func (x *wild) drop(m fakenet.Match) bool {
	x.near = append(x.near, fakenet.Drop(m))
	return true
}

// may lists verdicts.
func may(vs ...diagnose.Verdict) []diagnose.Verdict { return vs }

func lossHazards() []hazard {
	forward, back := diagnose.ForwardSYNLoss, diagnose.SYNACKLoss
	return []hazard{
		{"loss there", may(forward), func(x *wild) bool {
			p := skewed(x.r, 0.003, 0.5)
			x.note("loses %.3f there", p)
			return x.drop(fakenet.Chance(p, fakenet.Going(fakenet.Out)))
		}},
		{"loss back", may(back), func(x *wild) bool {
			p := skewed(x.r, 0.003, 0.5)
			x.note("loses %.3f back", p)
			return x.drop(fakenet.Chance(p, fakenet.Going(fakenet.Back)))
		}},
		{"loss", lossy(), func(x *wild) bool {
			x.w.Lose = skewed(x.r, 0.003, 0.4)
			x.note("loses %.3f each way", x.w.Lose)
			return true
		}},
		{"bursts of loss", lossy(), func(x *wild) bool {
			on, off := skewedTime(x.r, 5*time.Millisecond, 3*time.Second), skewedTime(x.r, 100*time.Millisecond, 10*time.Second)
			x.note("down for %s every %s", on, off)
			return x.drop(spells(x.r, on, off, oneOf(x.r, fakenet.Any, fakenet.Going(fakenet.Out), fakenet.Going(fakenet.Back))))
		}},
		{"outage", lossy(), func(x *wild) bool {
			from := lasting(x.r, 0, 20*time.Second)
			until := from + skewedTime(x.r, 50*time.Millisecond, 30*time.Second)
			x.note("down from %s to %s", from, until)
			return x.drop(during(from, until, fakenet.Any))
		}},
		{"loss begins or ends", lossy(), func(x *wild) bool {
			at, p := lasting(x.r, 0, 30*time.Second), skewed(x.r, 0.02, 0.4)
			from, until := at, time.Hour
			if x.r.IntN(2) == 0 {
				from, until = 0, at
			}
			x.note("loses %.3f from %s to %s", p, from, until)
			return x.drop(during(from, until, fakenet.Chance(p, fakenet.Any)))
		}},
		{"a way of several loses some, packets spread", lossy(), func(x *wild) bool {
			b := &fakenet.Branch{Seed: x.seed, Ways: make([][]fakenet.Element, 2+x.r.IntN(7)), PerPacket: true}
			b.Ways[0] = []fakenet.Element{fakenet.Drop(fakenet.Chance(upTo(x.r, 0.1, 1), fakenet.Any))}
			x.near = append(x.near, b)
			return true
		}},
		{"a way of several loses some, flows spread", may(diagnose.ECMPPathLoss, forward, back), func(x *wild) bool { return x.branch(upTo(x.r, 0.05, 0.7)) }},
		{"a way of several loses all", may(diagnose.ECMPPathLoss, diagnose.BlackholeBackend), func(x *wild) bool { return x.branch(1) }},
		{"reordered and doubled", nil, func(x *wild) bool {
			d := skewedTime(x.r, 100*time.Microsecond, 300*time.Millisecond)
			x.note("held for %s", d)
			x.near = append(x.near, fakenet.Hold(d, fakenet.Chance(upTo(x.r, 0, 0.5), fakenet.Any)),
				fakenet.Twice(skewedTime(x.r, 10*time.Microsecond, 2*time.Second), fakenet.Chance(upTo(x.r, 0, 0.5), fakenet.Any)))
			return true
		}},
		{"a thin link", may(forward, back, diagnose.SlowPathNotStall, diagnose.SYNRateLimited), func(x *wild) bool {
			s := &fakenet.Shape{Each: skewedTime(x.r, 10*time.Microsecond, 100*time.Millisecond), Depth: skewedTime(x.r, time.Millisecond, 2*time.Second)}
			x.note("each takes %s, depth %s", s.Each, s.Depth)
			x.near = append(x.near, s)
			return true
		}},
	}
}

func (x *wild) branch(p float64) bool {
	b := &fakenet.Branch{Seed: x.seed, Ways: make([][]fakenet.Element, 2+x.r.IntN(15)), OneWay: x.r.IntN(2) == 0}
	m := oneOf(x.r, fakenet.Any, fakenet.Going(fakenet.Out))
	bad := b.Ways[1:]
	if len(bad) > 2 {
		bad = bad[:1+x.r.IntN(len(bad)/2)]
	}
	for i := range bad {
		bad[i] = []fakenet.Element{fakenet.Drop(fakenet.Chance(p, m))}
	}
	x.note("%d ways of %d lose %.2f, one way %v", len(bad), len(b.Ways), p, b.OneWay)
	x.near = append(x.near, b)
	return true
}

func poolHazards() []hazard {
	hole := diagnose.BlackholeBackend
	return []hazard{
		{"members swallow", may(hole), func(x *wild) bool { return x.members(1, func(m *fakenet.Member) { m.Host.Dead = true }) }},
		{"members lose some", may(diagnose.ECMPPathLoss, diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), func(x *wild) bool {
			p := upTo(x.r, 0.1, 0.9)
			x.note("lose %.2f", p)
			if p > 0.6 { // no answer to several SYNs is likely then
				x.may = append(x.may, hole)
			}
			return x.members(1, func(m *fakenet.Member) {
				m.Elements = append(m.Elements, fakenet.Drop(fakenet.Chance(p, fakenet.Any)))
			})
		}},
		{"members come and go", may(hole, diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), func(x *wild) bool {
			on, off := skewedTime(x.r, 200*time.Millisecond, 10*time.Second), skewedTime(x.r, 200*time.Millisecond, 20*time.Second)
			x.note("down for %s every %s", on, off)
			return x.members(1, func(m *fakenet.Member) {
				m.Elements = append(m.Elements, fakenet.Drop(spells(x.r, on, off, fakenet.Any)))
			})
		}},
		{"members die", may(hole), func(x *wild) bool {
			at := lasting(x.r, 0, 20*time.Second)
			x.note("die at %s", at)
			return x.members(1, func(m *fakenet.Member) {
				m.Elements = append(m.Elements, fakenet.Drop(during(at, time.Hour, fakenet.Any)))
			})
		}},
		{"members refuse", may(diagnose.PortClosed), func(x *wild) bool { return x.members(1, func(m *fakenet.Member) { clear(m.Host.Ports) }) }},
		{"members are slow", may(diagnose.SlowPathNotStall), func(x *wild) bool {
			d := skewedTime(x.r, 10*time.Millisecond, 3*time.Second)
			x.note("by %s", d)
			return x.members(1, func(m *fakenet.Member) { m.Host.Ports[80].Slow = d })
		}},
		{"members look different", may(diagnose.BackendHeterogeneity, diagnose.MiddleboxTSStripped), func(x *wild) bool {
			return x.members(1, func(m *fakenet.Member) {
				m.Host.Look = fakenet.Look{HopLimit: oneOf[uint8](x.r, 64, 128, 255), MSS: oneOf[uint16](x.r, 1460, 1400, 1380), Scale: oneOf[uint8](x.r, 7, 8, 9, 0),
					Window: oneOf[uint16](x.r, 65160, 8192, 28960), NoTimestamps: x.r.IntN(3) == 0}
			})
		}},
		{"members' queues are full", may(diagnose.AcceptQueueOverflow, diagnose.AbortOnOverflow, hole), func(x *wild) bool {
			abort := x.r.IntN(3) == 0
			return x.members(1, func(m *fakenet.Member) {
				l := m.Host.Ports[80]
				l.Backlog, l.App.Never, l.AbortOnOverflow = between(x.r, 1, 20), true, abort
			})
		}},
		{"pool empties", may(diagnose.VIPPoolEmpty, diagnose.PortClosed, diagnose.ACLDrop, hole, diagnose.ForwardSYNLoss), func(x *wild) bool {
			if x.pool == nil {
				return false
			}
			b := x.pool
			b.Empty = oneOf(x.r, fakenet.EmptyReset, fakenet.EmptyUnreachable, fakenet.EmptySilent)
			b.Check = &fakenet.Checker{From: netip.AddrFrom4([4]byte{10, 1, 200, 1}), Every: skewedTime(x.r, 500*time.Millisecond, 10*time.Second),
				Timeout: skewedTime(x.r, 200*time.Millisecond, 3*time.Second), Retries: x.r.IntN(3), RetryDelay: time.Second}
			on, off := skewedTime(x.r, time.Second, 20*time.Second), skewedTime(x.r, time.Second, 20*time.Second)
			sick := spells(x.r, on, off, fakenet.SYNs)
			x.note("sick for %s every %s, answers %s", on, off, b.Empty)
			for _, m := range b.Members {
				m.Elements = append(m.Elements, fakenet.Drop(sick))
			}
			return true
		}},
		{"balancer resets early", nil, func(x *wild) bool {
			if x.pool == nil {
				return false
			}
			x.pool.LateRST = skewedTime(x.r, 100*time.Millisecond, 20*time.Second)
			return true
		}},
	}
}

// members applies a fault to at least so many of a pool's members, and never to all where there are more.
func (x *wild) members(least int, f func(*fakenet.Member)) bool {
	if x.pool == nil || len(x.w.Hosts) < 2 {
		return false
	}
	hosts := x.w.Hosts[:min(least+x.r.IntN(max(1, len(x.w.Hosts)/2)), len(x.w.Hosts)-1)]
	x.note("%d members of %d", len(hosts), len(x.w.Hosts))
	for _, h := range hosts {
		for _, m := range x.pool.Members {
			if m.Host == h && h.Ports[80] != nil {
				f(m)
			}
		}
	}
	return true
}

func limitHazards() []hazard {
	limited := diagnose.SYNRateLimited
	rate := func(x *wild) (float64, int) {
		rate, burst := skewed(x.r, 0.5, 10_000), int(skewed(x.r, 1, 1000))
		x.note("%.1f a second, burst %d", rate, burst)
		return rate, burst
	}
	return []hazard{
		{"rate limit", may(limited), func(x *wild) bool {
			rate, burst := rate(x)
			x.near = append(x.near, &fakenet.Limiter{Rate: rate, Burst: burst, PerSource: x.r.IntN(2) == 0})
			return true
		}},
		{"rate limit shared with others", may(limited, diagnose.ForwardSYNLoss), func(x *wild) bool {
			rate, burst := rate(x)
			l := &fakenet.Limiter{Rate: rate, Burst: burst}
			x.near = append(x.near, &crowd{rate: rate * upTo(x.r, 0.3, 1.2)}, l, sink{})
			return true
		}},
		{"rate limit that resets", may(limited, diagnose.PortClosed), func(x *wild) bool {
			x.near = append(x.near, refuser(overLimit(rate(x))))
			return true
		}},
		{"rate limit that says so", may(limited, diagnose.ACLDrop), func(x *wild) bool {
			code := oneOf[uint8](x.r, 13, 13, 1, 3)
			x.note("code %d", code)
			x.near = append(x.near, fakenet.Reject(overLimit(rate(x)), func(*fakenet.Packet) wire.ICMPError {
				return wire.ICMPError{From: netip.AddrFrom4([4]byte{203, 0, 113, 9}), Type: 3, Code: code}
			}))
			return true
		}},
		{"rate limit on answers", may(limited, diagnose.SYNACKLoss), func(x *wild) bool {
			rate, burst := rate(x)
			x.near = append(x.near, &fakenet.Limiter{Rate: rate, Burst: burst, Match: fakenet.SYNACKs})
			return true
		}},
		{"rate limit on all packets", may(limited, diagnose.ForwardSYNLoss, diagnose.SYNACKLoss), func(x *wild) bool {
			rate, burst := rate(x)
			x.near = append(x.near, &fakenet.Limiter{Rate: rate, Burst: burst, Match: fakenet.Any})
			return true
		}},
		{"rate limit by the second", may(limited), func(x *wild) bool {
			l := &windows{most: int(skewed(x.r, 1, 300)), window: oneOf(x.r, time.Second, 10*time.Second, 100*time.Millisecond)}
			x.note("%d in %s", l.most, l.window)
			x.near = append(x.near, l)
			return true
		}},
		{"guardian that blocks", may(limited, diagnose.ACLDrop), func(x *wild) bool {
			g := &guardian{most: int(skewed(x.r, 3, 300)), window: skewedTime(x.r, time.Second, 60*time.Second), block: skewedTime(x.r, time.Second, 300*time.Second),
				everything: x.r.IntN(2) == 0}
			x.note("over %d in %s blocked for %s, everything %v", g.most, g.window, g.block, g.everything)
			x.near = append(x.near, g)
			return true
		}},
		{"so many connections a source", may(diagnose.ConntrackTableFull), func(x *wild) bool {
			c := &concurrent{most: int(skewed(x.r, 1, 200)), reset: x.r.IntN(3) == 0}
			x.note("%d, reset %v", c.most, c.reset)
			x.near = append(x.near, c)
			if c.reset {
				x.may = append(x.may, diagnose.PortClosed)
			}
			return true
		}},
		{"connection table full", may(diagnose.ConntrackTableFull), func(x *wild) bool {
			room := int(skewed(x.r, 1, 1000)) - 1
			x.note("room for %d", room)
			x.near = append(x.near, &fakenet.Conntrack{Table: fakenet.Table{Max: 65536, Others: 65536 - room}})
			return true
		}},
		{"connection table nearly full", may(diagnose.ConntrackTableFull, diagnose.ForwardSYNLoss), func(x *wild) bool {
			c := &fakenet.Conntrack{Table: fakenet.Table{Max: 65536, Others: 65536}}
			p := upTo(x.r, 0.1, 0.95)
			var vary func()
			vary = func() {
				c.Table.Others = 65536
				if x.r.Float64() < p {
					c.Table.Others = 32768
				}
				x.w.After(time.Duration(float64(skewedTime(x.r, time.Millisecond, 300*time.Millisecond))), vary)
			}
			vary()
			x.near = append(x.near, c)
			return true
		}},
		{"few SNAT ports", may(diagnose.SNATPortExhaustion, diagnose.TimeWaitCollision), func(x *wild) bool {
			ports := int(skewed(x.r, 2, 2000))
			s := &fakenet.SNAT{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 2, 255, 1})}, Ports: plan.PortRange{Lo: 40000, Hi: 40000 + uint16(ports-1)},
				Table: fakenet.Table{TimeWait: skewedTime(x.r, time.Second, 120*time.Second)}}
			x.note("%d ports, kept for %s", ports, s.Table.TimeWait)
			x.near = append(x.near, s)
			return true
		}},
	}
}
