package prober

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// pinging is a burst of one raw SYN and n echo requests to each address. It ends when all is answered.
func pinging(n int, arms []plan.Arm, dsts ...netip.AddrPort) plan.Burst {
	b := to(patience, 1, arms, dsts...)
	for _, dst := range dsts {
		for range n {
			b.Pings = append(b.Pings, plan.Ping{Dst: dst.Addr()})
		}
	}
	return b
}

// A kernel answers our echo requests, over both families and in loopback, whatever its TCP does, and a burst waits for its answers.
func TestPingsAreAnswered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		dsts []string
	}{{"on the link", []string{serverV4, serverV6}}, {"on this host", []string{clientV4, "::1"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			r.start(t, EngineOptions{})
			var dsts []netip.AddrPort
			for _, d := range c.dsts {
				dsts = append(dsts, on(d, 81)) // nobody listens: the SYNs are settled at once
			}
			obs := r.burst(t, pinging(3, []plan.Arm{rawArm(plan.Single())}, dsts...))
			if len(obs.Pings) != 6 {
				t.Fatalf("%d pings, want 6", len(obs.Pings))
			}
			for i := range obs.Pings {
				p := &obs.Pings[i]
				a := p.Answer()
				if a == nil || len(p.Replies) != 1 || p.RTT() <= 0 || p.At.IsZero() || a.HopLimit != 64 || p.Dst != dsts[i/3].Addr() {
					t.Errorf("ping %d: %+v", i, p)
				}
				if !r.engine.host.SourcePorts.Contains(p.ID) {
					t.Errorf("identifier %d is outside of %s, which the capture sees", p.ID, r.engine.host.SourcePorts)
				}
			}
			if len(r.engine.pings) != 0 {
				t.Errorf("%d pings are still known after the burst", len(r.engine.pings))
			}
		})
	}
}

// Only what was sent comes back: a guess, another's reply, a changed one count for nothing, and are counted. The true reply comes right behind each, so
// that the burst ends when all was seen, on a busy machine too.
func TestRepliesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	elsewhere := map[bool]netip.Addr{true: addr("10.0.0.99"), false: addr("fd00::99")}
	for name, c := range map[string]struct {
		change func(*wire.Echo)
		stray  string // of the burst, or of the engine where nothing is known of it
		engine bool
	}{
		"another identifier":   {change: func(e *wire.Echo) { e.ID ^= 1 }, stray: "echo_of_others", engine: true},
		"another sequence":     {change: func(e *wire.Echo) { e.Seq++ }, stray: "echo_of_others", engine: true},
		"payload changed":      {change: func(e *wire.Echo) { e.Payload[3] ^= 0x10 }, stray: "echo_not_as_sent"},
		"payload cut":          {change: func(e *wire.Echo) { e.Payload = e.Payload[:15] }, stray: "echo_not_as_sent"},
		"payload missing":      {change: func(e *wire.Echo) { e.Payload = nil }, stray: "echo_not_as_sent"},
		"a request":            {change: func(e *wire.Echo) { e.Reply = false }, stray: "echo_seen_twice", engine: true},
		"to another of ours":   {change: func(e *wire.Echo) { e.Dst = elsewhere[e.Dst.Is4()] }, stray: "echo_between_others"},
		"from another address": {change: func(e *wire.Echo) { e.Src = elsewhere[e.Src.Is4()] }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			r.start(t, EngineOptions{})
			const truly = 33 // the hop limit of true replies
			p := r.pinged(t, answering(func(p *peer, syn *wire.Segment) { p.send(synAckTo(syn)) }), func(p *peer, e *wire.Echo) {
				if !e.Reply && (e.Dst == addr(ghostV4) || e.Dst == addr(ghostV6)) {
					p.reply(*e, c.change)
					p.reply(*e, func(e *wire.Echo) { e.HopLimit = truly })
				}
			})
			r.scouted(t, p)
			obs := r.burst(t, pinging(2, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80), on(ghostV6, 80)))
			for i := range obs.Pings {
				x := &obs.Pings[i]
				if ans := x.Answer(); ans == nil || ans.HopLimit != truly || (c.stray == "") != (len(x.Replies) == 2 && x.Replies[0].From == elsewhere[x.Dst.Is4()]) {
					t.Errorf("ping %d: %+v", i, x)
				}
			}
			got := obs.Strays[c.stray]
			if c.engine {
				r.engine.mu.Lock()
				got = r.engine.strays[c.stray]
				r.engine.mu.Unlock()
			}
			if c.stray != "" && got < 4 {
				t.Errorf("%d counted as %s, want 4: %v", got, c.stray, obs.Strays)
			}
		})
	}
}

// More replies than one are kept up to a bound, and counted past it; the first is the answer. The SYN is answered behind them, so that the burst ends when
// all were seen.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	var met int // of SYN and request
	var synack wire.Segment
	second := func(p *peer) {
		if met++; met == 2 {
			p.send(synack)
		}
	}
	p := r.pinged(t, answering(func(p *peer, syn *wire.Segment) {
		synack = synAckTo(syn)
		second(p)
	}), func(p *peer, e *wire.Echo) {
		for i := range 20 {
			p.reply(*e, func(x *wire.Echo) { x.HopLimit = uint8(40 + i) })
		}
		second(p)
	})
	r.scouted(t, p)
	obs := r.burst(t, pinging(1, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80)))
	if x := &obs.Pings[0]; len(x.Replies) > 4 || x.Answer() == nil || x.Answer().HopLimit != 40 || obs.Strays["ping_replies_over_limit"] == 0 {
		t.Errorf("%+v, strays %v", x, obs.Strays)
	}
}

// A ping goes with raw shots to its address, and says why it is not sent.
func TestPingsThatAreNotSent(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	kernel := pinging(1, []plan.Arm{kernelArm(plan.Linear(1000*ms, 4, 6))}, on(serverV4, 81))
	apart := pinging(1, []plan.Arm{rawArm(plan.Single())}, on(serverV4, 81))
	apart.Pings[0].Dst = addr(ghostV4)
	for name, b := range map[string]plan.Burst{"only kernel shots": kernel, "another address": apart} {
		obs := r.burst(t, b)
		if d := cmp.Diff([]observe.Ping{{Dst: b.Pings[0].Dst, Refused: pingAlone}}, obs.Pings, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestPingsArePaidFor(t *testing.T) {
	t.Parallel()
	r := network(t)
	l := roomy()
	l.PerTargetBurst = 10
	r.start(t, EngineOptions{Limits: l})
	b := pinging(9, []plan.Arm{rawArm(plan.Single())}, on(serverV4, 81))
	if _, err := r.try(t.Context(), request{burst: &b}); err != nil {
		t.Errorf("10 in all: %v", err)
	}
	b = pinging(10, []plan.Arm{rawArm(plan.Single())}, on(serverV4, 81))
	_, err := r.try(t.Context(), request{burst: &b})
	refusedBy(t, err, "per_target_rate")
}

// Unanswered pings are remembered as unanswered flows are: each costs the devices on its way an entry.
func TestUnansweredPingsAreCounted(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	silenced := func() int {
		r.engine.budget.mu.Lock()
		defer r.engine.budget.mu.Unlock()
		return r.engine.budget.silenced
	}
	r.burst(t, to(20*ms, 1, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80)))
	before := silenced()
	b := pinging(5, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80))
	b.Listen = 20 * ms
	r.burst(t, b)
	if got := silenced() - before; got != 6 {
		t.Errorf("%d flows are counted as unanswered, want 1 SYN and 5 pings", got)
	}
}
