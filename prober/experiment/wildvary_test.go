package experiment_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// vary draws what networks have in common with no fault: other kernels at both ends, members near and far, several addresses before and behind a SNAT, and
// servers that answer on one port alone. None of it may be named.
func (x *wild) vary() {
	r, c := rand.New(rand.NewPCG(x.seed, 0x7a11)), &x.w.Client
	if r.IntN(3) == 0 { // net.ipv4.tcp_syn_retries and tcp_syn_linear_timeouts
		n := between(r, 1, 6)
		c.Ladder = oneOf(r, plan.Exponential(time.Second, n), plan.Linear(time.Second, r.IntN(5), n))
		x.note("repeats %s", c.Ladder)
	}
	for range oneOf(r, 0, 0, 1, 3) {
		c.Others = append(c.Others, nextOf(append([]netip.Addr{c.Source}, c.Others...)))
	}
	x.halfOpen = oneOf(r, 16, 16, 16, 8, 4)
	if r.IntN(2) == 0 {
		k := oneOf(r, kernels()...)
		for _, h := range x.w.Hosts {
			k.runs(h)
		}
		x.note("servers run %s", k.name)
	}
	x.varyPool(r)
	x.varyEdge(r)
	x.six = r.IntN(4) == 0
}

func nextOf(all []netip.Addr) netip.Addr { return all[len(all)-1].Next() }

func (x *wild) varyPool(r *rand.Rand) {
	b := x.pool
	if b == nil {
		return
	}
	if b.SNAT != nil {
		for range r.IntN(4) {
			b.SNAT.Addrs = append(b.SNAT.Addrs, nextOf(b.SNAT.Addrs))
		}
	}
	if r.IntN(3) == 0 { // members of several sites
		for _, h := range x.w.Hosts {
			d := skewedTime(r, 10*time.Microsecond, 60*time.Millisecond)
			for _, m := range b.Members {
				if m.Host == h {
					m.Elements = append(m.Elements, &distance{each: d})
				}
			}
		}
		x.note("members at distances of their own")
	}
}

// varyEdge puts what guards many servers before them, and makes the ways there and back of unlike length.
func (x *wild) varyEdge(r *rand.Rand) {
	if r.IntN(4) == 0 {
		x.far = append(x.far, fakenet.Drop(func(_ fakenet.Hop, p *fakenet.Packet) bool {
			return p.Dir == fakenet.Out && p.ICMP == nil && p.Echo == nil && p.Seg.Dst.Port() != x.w.Target.Port()
		}))
		x.guarded = true
		x.note("other ports are silent")
	}
	if r.IntN(4) == 0 {
		x.far = append(x.far, &fakenet.Conntrack{})
		x.note("behind a stateful filter")
	}
	if r.IntN(4) == 0 {
		d, dir := skewedTime(r, 100*time.Microsecond, 100*time.Millisecond), oneOf(r, fakenet.Out, fakenet.Back)
		x.near = append(x.near, &distance{each: d, only: true, dir: dir})
		x.note("%s longer on one way", d)
	}
	for _, h := range x.w.Hosts {
		h.NoEcho = r.IntN(5) == 0
	}
}

// mayBeSix moves a network to IPv6, where none of its faults is made of IPv4 addresses.
func (x *wild) mayBeSix() {
	four := []string{"with a word", "says so", "shared with others", "another source", "pool empties", "few SNAT ports"}
	if !x.six || slices.ContainsFunc(x.names, func(n string) bool {
		return slices.ContainsFunc(four, func(f string) bool { return strings.Contains(n, f) })
	}) {
		return
	}
	x.w.IPv6()
	x.note("IPv6")
}

// distance adds to a way, and keeps the order.
type distance struct {
	each time.Duration
	only bool // for what goes dir alone
	dir  fakenet.Dir
}

// Take implements fakenet.Element.
func (d *distance) Take(h fakenet.Hop, p *fakenet.Packet) {
	if d.only && p.Dir != d.dir {
		h.Pass(p)
		return
	}
	h.PassAfter(d.each, p)
}

// phase is an element that is there from … until, and passes everything before and after.
type phase struct {
	from, until time.Duration
	of          fakenet.Element
}

// Take implements fakenet.Element.
func (f *phase) Take(h fakenet.Hop, p *fakenet.Packet) {
	if h.Now() >= f.from && h.Now() < f.until {
		f.of.Take(h, p)
		return
	}
	h.Pass(p)
}

// kernel is what a server's system makes of its answers.
type kernel struct {
	name string
	look fakenet.Look
	hz   uint32
	per  fakenet.Offset
	rto  time.Duration
}

// kernels are those of servers in the field.
func kernels() []kernel {
	return []kernel{
		{"Linux 2.6.32", fakenet.Look{HopLimit: 64, MSS: 1460, Scale: 7, Window: 14480}, 1000, fakenet.Global, 3 * time.Second},
		{"Linux 3.10", fakenet.Look{HopLimit: 64, MSS: 1460, Scale: 7, Window: 28960}, 1000, fakenet.Global, 0},
		{"Linux 4.4, HZ 250", fakenet.Look{HopLimit: 64, MSS: 1460, Scale: 7, Window: 28960}, 250, fakenet.Global, 0},
		{"Linux 6.12", fakenet.LinuxLook(), 1000, fakenet.PerFlow, 0},
		{"no timestamps", fakenet.Look{HopLimit: 128, MSS: 1460, Scale: 8, Window: 65535, NoTimestamps: true}, 1000, fakenet.Global, 0},
		{"jumbo frames", fakenet.Look{HopLimit: 64, MSS: 8960, Scale: 9, Window: 62640}, 1000, fakenet.PerHostPair, 0},
	}
}

func (k *kernel) runs(h *fakenet.Host) {
	h.Look, h.Clock.Hz, h.Clock.Per = k.look, k.hz, k.per
	for _, l := range h.Ports {
		l.RTO = k.rto
	}
}

func variedHazards() []hazard {
	limited, forward := diagnose.SYNRateLimited, diagnose.ForwardSYNLoss
	when := func(x *wild) (time.Duration, time.Duration) {
		at := lasting(x.r, 0, 30*time.Second)
		if x.r.IntN(2) == 0 {
			x.note("until %s", at)
			return 0, at
		}
		x.note("from %s", at)
		return at, time.Hour
	}
	return []hazard{
		{"members run several kernels", may(diagnose.BackendHeterogeneity, diagnose.MiddleboxTSStripped), func(x *wild) bool {
			return x.members(1, func(m *fakenet.Member) {
				k := oneOf(x.r, kernels()...)
				k.runs(m.Host)
			})
		}},
		{"members answer with cookies", may(diagnose.SYNCookiesActive), func(x *wild) bool {
			return x.members(1, func(m *fakenet.Member) { m.Host.Ports[80].Cookies = fakenet.CookiesAlways })
		}},
		{"rate limit begins or ends", may(limited, forward), func(x *wild) bool {
			from, until := when(x)
			l := &fakenet.Limiter{Rate: skewed(x.r, 0.5, 300), Burst: int(skewed(x.r, 1, 100)), PerSource: x.r.IntN(2) == 0}
			x.note("%.1f a second, burst %d", l.Rate, l.Burst)
			x.near = append(x.near, &phase{from, until, l})
			return true
		}},
		{"filter begins or ends", append(may(diagnose.ACLDrop), lossy()...), func(x *wild) bool {
			from, until := when(x)
			return x.drop(during(from, until, fakenet.Both(oneOf(x.r, fakenet.ToPorts(80), fakenet.SYNs), fakenet.Going(fakenet.Out))))
		}},
		{"large segments vanish from or until some time", may(diagnose.MTUBlackhole), func(x *wild) bool {
			from, until := when(x)
			return x.drop(during(from, until, fakenet.Larger(between(x.r, 100, 1499))))
		}},
		{"the way becomes longer or shorter", lossy(), func(x *wild) bool {
			d := skewedTime(x.r, 20*time.Microsecond, 200*time.Millisecond)
			at := lasting(x.r, 0, 30*time.Second)
			x.note("one way %s from %s on", d, at)
			x.w.After(at, func() { x.w.OneWay = d })
			return true
		}},
		{"buffers fill now and then", may(diagnose.SlowPathNotStall), func(x *wild) bool {
			on, off, d := skewedTime(x.r, 10*time.Millisecond, time.Second), skewedTime(x.r, 100*time.Millisecond, 10*time.Second), skewedTime(x.r, time.Millisecond, 600*time.Millisecond)
			x.note("%s longer for %s every %s", d, on, off)
			x.near = append(x.near, fakenet.Hold(d, spells(x.r, on, off, oneOf(x.r, fakenet.Any, fakenet.Going(fakenet.Out), fakenet.Going(fakenet.Back)))))
			return true
		}},
		{"unlike loss there and back", lossy(), func(x *wild) bool {
			p, q := skewed(x.r, 0.01, 0.3), skewed(x.r, 0.01, 0.3)
			x.note("loses %.3f there, %.3f back", p, q)
			x.near = append(x.near, fakenet.Drop(fakenet.Chance(p, fakenet.Going(fakenet.Out))), fakenet.Drop(fakenet.Chance(q, fakenet.Going(fakenet.Back))))
			return true
		}},
		{"others begin or end at an old server", may(diagnose.TWRecyclePAWSDropSNAT, diagnose.TWRecyclePAWSDrop, diagnose.ClientRandomTSVsRecycle), func(x *wild) bool {
			if x.server == nil {
				return false
			}
			x.oldServers(x.w.Client.Source, []*fakenet.Host{x.server})
			from, until := when(x)
			for _, p := range x.server.Recycle.Primers {
				if p.Since, p.Until = from, until; x.r.IntN(2) == 0 {
					p.Clock.Base = x.w.Client.Clock.At(0, wire.Flow{Src: addrPort(p.From, 0), Dst: x.w.Target}).Add(ahead(x.r))
				}
			}
			return true
		}},
	}
}
