package fakenet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ways finds the way to every destination of a burst, for raw shots with everything that they need to leave.
func (w *World) ways(r *run) {
	r.groups = map[netip.AddrPort]*group{}
	for i := range r.shots {
		shot := &r.burst.Shots[i]
		r.shots[i].raw = r.burst.Arms[shot.Arm].Via == plan.Raw
		g := r.groups[shot.Flow.Dst]
		if g == nil {
			g = &group{}
			r.groups[shot.Flow.Dst] = g
		}
		r.near[w.source(shot.Flow)], r.near[w.Client.NextHop(shot.Flow.Dst.Addr())] = true, true
		r.corr.Observation().NextHop = w.Client.NextHop(shot.Flow.Dst.Addr())
		if r.shots[i].raw && !g.raw {
			g.raw = true
			w.readyRaw(g, shot.Flow.Dst)
			r.corr.Observation().Parity = g.parity
		}
	}
}

// source is the address that a flow leaves from.
func (w *World) source(f wire.Flow) netip.Addr {
	if a := f.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
		return a
	}
	return w.Client.Source
}

// pathLife is how long the engine believes a path.
const pathLife = 10 * time.Second

// readyRaw looks whether raw shots may be sent towards dst, and to which MAC.
func (w *World) readyRaw(g *group, dst netip.AddrPort) {
	if w.Tap.Off {
		g.parity, g.why = observe.Parity{Why: "no capture"}, "raw shots need a capture: "+w.Tap.Why
		return
	}
	mac, err := w.resolve(w.Client.NextHop(dst.Addr()))
	if err != nil {
		g.parity, g.why = observe.Parity{Why: err.Error()}, err.Error()
		return
	}
	g.mac = mac
	g.parity = w.parity(dst)
	if g.parity.State == observe.ParityDiffers {
		g.why = "not_applicable: local path differs: " + g.parity.Why
	}
}

// parity is how the kernel's way out compares: as one ordinary connect shows it, or as it is known where there is no scout.
func (w *World) parity(dst netip.AddrPort) observe.Parity {
	c := &w.Client
	if !c.Scout {
		if c.LocalNAT.IsValid() {
			return differs(fmt.Sprintf("the kernel's SYN left for %s in place of %s: NAT on this host", c.LocalNAT, dst))
		}
		return observe.Parity{State: observe.ParitySame}
	}
	known, ok := c.scouted[dst.Addr()]
	if ok && w.now-known.at < pathLife {
		return known.parity
	}
	if c.scouted == nil {
		c.scouted = map[netip.Addr]scouted{}
	}
	at := w.now
	o := w.Run(plan.Burst{Label: "path parity", Kind: plan.KindParity, Listen: 300 * time.Millisecond,
		Arms:  []plan.Arm{{Name: "scout", Via: plan.Kernel, Script: plan.Script{Ladder: plan.Single(), Then: plan.Exchange{Close: plan.Abort}}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Dst: dst}}}})
	c.scouted[dst.Addr()] = scouted{o.Parity, at}
	return o.Parity
}

// scouted is what the engine's own connect showed, and when.
type scouted struct {
	parity observe.Parity
	at     time.Duration
}

// neighborSteps prepares the neighbour entries that the burst asks for.
func (w *World) neighborSteps(r *run) {
	obs := r.corr.Observation()
	failed := func(s plan.NeighborStep, why string) {
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("neighbour %s: %s", s.Addr, why))
	}
	for _, s := range r.burst.Prepare {
		hop := w.Client.NextHop(s.Addr)
		switch s.Action {
		case plan.Warm:
			if !w.warm(hop) {
				failed(s, "nobody answered")
			}
		case plan.Ask:
			if _, ok := w.askOnce(hop); !ok {
				failed(s, "nobody answered")
			}
		case plan.Forget:
			if !w.Client.MayForget {
				failed(s, "operation not permitted")
				continue
			}
			w.Client.Neighbors.forget(hop)
		case plan.NeighborUnknown, plan.Unused:
			failed(s, "no such step")
		}
	}
}

// warm has the kernel resolve a next hop and reports whether it is known then.
func (w *World) warm(a netip.Addr) bool {
	r := &w.Client.Neighbors
	if r.known(a) || r.Full {
		return r.known(a)
	}
	n := r.entry(a)
	if n.state != incomplete {
		r.resolve(n)
	}
	w.advance(w.now+4*time.Second, func() bool { return n.state != incomplete })
	return r.known(a)
}

// assign gives every shot its flow, or says why it will not be sent: where fresh ports do not suffice, none is.
func (w *World) assign(r *run) {
	for i := range r.shots {
		g := r.groups[r.burst.Shots[i].Flow.Dst]
		if r.shots[i].raw && g.why != "" {
			r.corr.NotSent(i, g.why)
			continue
		}
		f := r.burst.Shots[i].Flow
		again := r.burst.Shots[i].Again
		port, err := w.port(f, r.shots[i].raw, again)
		var few *plan.ErrPorts
		switch {
		case errors.As(err, &few):
			w.callOff(r, err)
			return
		case err != nil:
			r.corr.NotSent(i, err.Error())
			continue
		}
		w.bind(r, i, wire.Flow{Src: netip.AddrPortFrom(w.source(f), port), Dst: f.Dst}, g.mac, again)
	}
}

// callOff sends nothing of a burst: half of one would be another experiment. The engine returns an error where this is the outcome of all.
func (w *World) callOff(r *run, err error) {
	for i := range r.shots {
		r.corr.NotSent(i, err.Error())
		r.settle(&r.shots[i])
	}
}

// port is the source port of a flow: a fresh one, or the one that the plan names if it may be used.
func (w *World) port(f wire.Flow, raw, again bool) (uint16, error) {
	book := w.books[0]
	if raw {
		book = w.books[1]
	}
	src, asked := w.source(f), f.Src.Port()
	if asked == 0 {
		ports, err := book.Take(src, f.Dst, 1, w.Now())
		if err != nil {
			return 0, err
		}
		return ports[0], nil
	}
	if !w.Client.Ports.Contains(asked) {
		return 0, fmt.Errorf("source port %d is outside of %s, which the capture sees", asked, w.Client.Ports)
	}
	old := w.flows[wire.Flow{Src: netip.AddrPortFrom(src, asked), Dst: f.Dst}]
	if again {
		if old == nil || old.run != nil || !old.raw || w.now-old.buried >= plan.PortQuarantine {
			return 0, fmt.Errorf("no earlier flow of ours is known on source port %d", asked)
		}
		return asked, nil
	}
	if old != nil && (old.run != nil || old.raw && w.now-old.buried < plan.PortQuarantine) {
		return 0, errors.New("the source port is in use: by an earlier flow of ours")
	}
	w.books[0].Use(src, f.Dst, asked, w.Now())
	w.books[1].Use(src, f.Dst, asked, w.Now())
	return asked, nil
}

// bind gives shot i its flow.
func (w *World) bind(r *run, i int, f wire.Flow, mac wire.MAC, again bool) {
	r.corr.Bind(i, f)
	s := &r.shots[i]
	x := &flow{flow: f, out: f, run: r, shot: i, raw: s.raw, mac: mac}
	if n := w.Client.LocalNAT; n.IsValid() && !x.raw {
		x.out.Dst = n
	}
	old := w.flows[x.out]
	if old != nil && old.sock != nil {
		old.sock.state = sockClosed
	}
	w.flows[x.out] = x
	s.f, s.open = x, true
	r.open++
	if s.raw {
		x.iss = wire.Seq(w.rng.Uint32())
		if again {
			x.iss = old.iss
		}
		if anew := r.burst.Shots[i].ISS; anew != nil {
			x.iss = *anew
		}
		s.conn = handshake.New(&r.burst.Arms[r.burst.Shots[i].Arm].Script, x.iss)
		s.conn.Acknowledge(r.burst.Shots[i].Acks)
		r.corr.ISS(i, x.iss)
	}
}
