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

// run is one burst in execution, after the engine's own.
type run struct {
	burst *plan.Burst
	corr  *observe.Correlator
	shots []shot
	start time.Duration
	open  int
	socks int // kernel shots not reported yet
	// diverted is the first kernel SYN that left on another flow than the one asked for.
	diverted *wire.Flow
	drops    uint32
}

// shot is one planned handshake in execution.
type shot struct {
	f     *flow
	conn  handshake.Conn
	raw   bool
	open  bool
	timer time.Duration // when the pending timer event fires
	first time.Duration
}

// flow is what the vantage knows of one 4-tuple.
type flow struct {
	flow wire.Flow // as bound
	out  wire.Flow // as it leaves: another one under local NAT
	run  *run      // nil: its burst is over
	shot int
	raw  bool
	iss  wire.Seq
	sock *socket
}

// tomb is a raw flow that is kept so that a late SYN-ACK is still reset.
type tomb struct {
	flow wire.Flow
	at   time.Duration
}

const (
	rawCost    = time.Microsecond      // between two segments of one sendmmsg
	reaction   = 30 * time.Microsecond // from a segment on the tap to our answer to it
	settleTime = 6 * time.Millisecond
)

// Run executes a burst in virtual time and returns what it showed.
func (w *World) Run(b plan.Burst) observe.Observation {
	w.begin()
	if b.Kind == plan.KindSurvey {
		return w.survey(&b)
	}
	r := &run{burst: &b, corr: observe.NewCorrelator(&b), shots: make([]shot, len(b.Shots)), drops: w.Tap.drops}
	w.run, w.lastR = r, r
	obs := r.corr.Observation()
	obs.Captured = !w.Tap.Off
	if w.Tap.Off {
		obs.Unmeasured = append(obs.Unmeasured,
			fmt.Sprintf("no capture: %s; losses are counted by TCP_INFO alone, and raw shots are not sent", w.Tap.Why))
	}
	w.neighborSteps(r)
	w.assign(r)
	before := snapshot(w.Client.counters)
	obs.Started = w.Now()
	began := w.now
	w.execute(r)
	obs.Finished = w.Now()
	obs.CaptureDrops = w.Tap.drops - r.drops
	obs.SendLag = max(w.Tap.Lag, rawCost)
	if w.Tap.Step != 0 && began < w.Tap.StepAt && w.Tap.StepAt <= w.now {
		obs.ClockStep = w.Tap.Step
	}
	if !w.Tap.NoCounters {
		obs.Counters = delta(before, w.Client.counters)
	}
	out := r.corr.Finish()
	if out.Parity == (observe.Parity{}) {
		out.Parity = kernelParity(r, &out)
	}
	w.leave(r)
	return out
}

func snapshot(m map[string]int64) map[string]int64 {
	c := make(map[string]int64, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func delta(before, after map[string]int64) map[string]int64 {
	d := map[string]int64{}
	for k, v := range after {
		if v != before[k] {
			d[k] = v - before[k]
		}
	}
	return d
}

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
	if n := r.entry(a); n.state != incomplete {
		r.resolve(n)
	}
	n := r.entry(a)
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
	w.run, w.lastR = outer, outer
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

// execute fires the shots, waits until all are settled or listening is over, and then for the ring's last frames.
func (w *World) execute(r *run) {
	r.start = w.now
	deadline := r.start + r.burst.Span()
	var busy, ring time.Duration
	for i := range r.shots {
		s := &r.shots[i]
		if !s.open {
			continue
		}
		at := r.start + max(r.burst.Shots[i].Offset, 0)
		if s.raw {
			at = max(at, ring)
			ring = at + rawCost
			s.first = at
			w.arm(r, i, at)
			continue
		}
		at = max(at, busy)
		busy = at + w.Client.SocketCost
		r.socks++
		w.push(event{at: at, call: func() { w.connect(r, i) }})
	}
	done := func() bool { return r.open == 0 && !r.burst.Linger }
	w.advance(deadline, done)
	w.advance(deadline+time.Second, func() bool { return r.socks == 0 })
	w.stop(r)
	w.advance(w.now+settleTime, nil)
}

// settle notes that a shot needs nothing more.
func (r *run) settle(s *shot) {
	if s.open {
		s.open = false
		r.open--
	}
}

// stop ends every raw shot: what is open is reset.
func (w *World) stop(r *run) {
	for i := range r.shots {
		s := &r.shots[i]
		if s.f == nil || !s.raw {
			continue
		}
		for _, x := range s.conn.Stop(w.now-s.first, nil) {
			w.sendRaw(r, i, &x)
		}
		r.settle(s)
	}
}

// leave forgets the burst's flows; what was never answered is kept so that a late SYN-ACK is reset.
func (w *World) leave(r *run) {
	n := 0
	for n < len(w.tombs) && w.now-w.tombs[n].at >= plan.PortQuarantine {
		if f := w.flows[w.tombs[n].flow]; f != nil && f.run == nil {
			delete(w.flows, w.tombs[n].flow)
		}
		n++
	}
	w.tombs = w.tombs[n:]
	for i := range r.shots {
		f := r.shots[i].f
		if f == nil {
			continue
		}
		f.run = nil
		if f.raw {
			w.tombs = append(w.tombs, tomb{f.out, w.now})
		} else if f.sock == nil || f.sock.state == sockClosed {
			delete(w.flows, f.out)
		}
	}
	if w.run == r {
		w.run = nil
	}
	w.books[0].Sweep(w.Now())
	w.books[1].Sweep(w.Now())
}

// kernelParity judges the kernel shots as the engine does.
func kernelParity(r *run, obs *observe.Observation) observe.Parity {
	if !obs.Captured {
		return observe.Parity{Why: "no capture"}
	}
	if r.diverted != nil {
		return observe.Parity{State: observe.ParityDiffers, Why: fmt.Sprintf("the kernel's SYN left as %s: NAT on this host", *r.diverted)}
	}
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Via == plan.Kernel && len(a.SYNs) > 0 {
			return observe.Parity{State: observe.ParitySame}
		}
	}
	return observe.Parity{Why: "the kernel's own SYN was not seen leaving"}
}
