package fakenet

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// neighborSteps prepares the neighbour entries that the burst asks for.
func (w *World) neighborSteps(r *run) {
	for _, s := range r.burst.Prepare {
		hop := w.Client.NextHop(s.Addr)
		switch s.Action {
		case plan.Warm:
			w.warm(hop)
		case plan.Forget:
			if w.Client.MayForget {
				w.Client.Neighbors.forget(hop)
				continue
			}
			obs := r.corr.Observation()
			obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("forget %s: not granted", hop))
		case plan.NeighborUnknown:
		}
	}
}

// warm resolves a next hop before the burst and reports whether it is known then.
func (w *World) warm(a netip.Addr) bool {
	r := &w.Client.Neighbors
	if r.known(a) {
		return true
	}
	n := r.entry(a)
	if r.Full {
		return false
	}
	if n.state != incomplete {
		r.resolve(n)
	}
	w.advance(w.now+4*time.Second, func() bool { return n.state != incomplete })
	return r.known(a)
}

// assign gives every shot its flow, or says why it will not be sent.
func (w *World) assign(r *run) {
	type ready struct {
		parity observe.Parity
		why    string
	}
	checked := map[netip.AddrPort]ready{}
	for i := range r.shots {
		arm := &r.burst.Arms[r.burst.Shots[i].Arm]
		f := r.burst.Shots[i].Flow
		r.shots[i].raw = arm.Via == plan.Raw
		if r.shots[i].raw {
			c, ok := checked[f.Dst]
			if !ok {
				c.parity, c.why = w.readyRaw(f.Dst)
				checked[f.Dst] = c
			}
			r.corr.Observation().Parity = c.parity
			if c.why != "" {
				r.corr.NotSent(i, c.why)
				continue
			}
		}
		w.bind(r, i, f)
	}
}

// readyRaw looks whether raw shots may be sent towards dst; why is empty if so.
func (w *World) readyRaw(dst netip.AddrPort) (p observe.Parity, why string) {
	if w.Tap.Off {
		return observe.Parity{Why: "no capture"}, "raw shots need a capture: " + w.Tap.Why
	}
	if w.Client.Scout {
		w.scout(dst)
	}
	if n := w.Client.LocalNAT; n.IsValid() {
		p = observe.Parity{State: observe.ParityDiffers,
			Why: fmt.Sprintf("the kernel's SYN left for %s in place of %s: NAT on this host", n, dst)}
		return p, "not_applicable: local path differs: " + p.Why
	}
	hop := w.Client.NextHop(dst.Addr())
	if !w.warm(hop) {
		return observe.Parity{}, fmt.Sprintf("resolve next hop %s: no answer", hop)
	}
	return observe.Parity{State: observe.ParitySame}, ""
}

// pathLife is how long the engine believes a path.
const pathLife = 10 * time.Second

// scout makes one ordinary connect, in a burst of its own.
func (w *World) scout(dst netip.AddrPort) {
	c := &w.Client
	if last, ok := c.scouted[dst]; ok && w.now-last < pathLife {
		return
	}
	if c.scouted == nil {
		c.scouted = map[netip.AddrPort]time.Duration{}
	}
	outer := w.run
	w.Run(plan.Burst{Label: "path parity", Kind: plan.KindParity, Listen: 300 * time.Millisecond,
		Arms:  []plan.Arm{{Name: "scout", Via: plan.Kernel, Script: plan.Script{Ladder: plan.Single(), Then: plan.Exchange{Close: plan.Abort}}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Dst: dst}}}})
	c.scouted[dst] = w.now
	w.run = outer
}

// bind fixes shot i's flow.
func (w *World) bind(r *run, i int, f wire.Flow) {
	src := f.Src.Addr()
	if !src.IsValid() || src.IsUnspecified() {
		src = w.Client.Source
	}
	port, book := f.Src.Port(), w.books[0]
	if r.shots[i].raw {
		book = w.books[1]
	}
	if port != 0 {
		book.Use(src, f.Dst, port, w.Now())
	} else {
		ports, err := book.Take(src, f.Dst, 1, w.Now())
		if err != nil {
			r.corr.NotSent(i, err.Error())
			return
		}
		port = ports[0]
	}
	f.Src = netip.AddrPortFrom(src, port)
	r.corr.Bind(i, f)
	x := &flow{flow: f, out: f, run: r, shot: i, raw: r.shots[i].raw}
	if n := w.Client.LocalNAT; n.IsValid() && !x.raw {
		x.out.Dst = n
	}
	if old := w.flows[x.out]; old != nil && old.sock != nil {
		old.sock.state = sockClosed
	}
	w.flows[x.out] = x
	s := &r.shots[i]
	s.f, s.open = x, true
	r.open++
	if s.raw {
		x.iss = wire.Seq(w.rng.Uint32())
		s.conn = handshake.New(&r.burst.Arms[r.burst.Shots[i].Arm].Script, x.iss)
		r.corr.ISS(i, x.iss)
	}
}
