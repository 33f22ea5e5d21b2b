package fakenet

import (
	"fmt"
	"maps"
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
	ended int // raw connections that both sides have closed
	socks int // kernel shots not reported yet
	// diverted is the first kernel flow that left as another than the one asked for.
	diverted *flow
	near     map[netip.Addr]bool // addresses whose ARP frames concern the burst
	groups   map[netip.AddrPort]*group
}

// group is what is known of the way to one destination of a burst.
type group struct {
	raw    bool   // some of its shots are
	why    string // raw shots cannot be sent
	parity observe.Parity
	mac    wire.MAC
}

// shot is one planned handshake in execution.
type shot struct {
	f     *flow
	conn  handshake.Conn
	raw   bool
	open  bool
	ended bool          // counted in run.ended
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
	mac  wire.MAC // of the next hop, for a raw flow
	sock *socket
	// buried is when a raw flow's burst ended.
	buried time.Duration
}

// tomb is a raw flow that is kept so that a late SYN-ACK is still reset.
type tomb struct {
	flow wire.Flow
	at   time.Duration
}

const (
	rawCost    = time.Microsecond       // between two segments of one sendmmsg
	reaction   = 30 * time.Microsecond  // from a segment on the tap to our answer to it
	settleTime = 500 * time.Microsecond // until the ring has delivered what was captured
)

// Run executes a burst in virtual time and returns what it showed.
func (w *World) Run(b plan.Burst) observe.Observation {
	w.begin()
	if b.Kind == plan.KindSurvey {
		return w.survey(&b)
	}
	r := &run{burst: &b, corr: observe.NewCorrelator(&b), shots: make([]shot, len(b.Shots)), near: map[netip.Addr]bool{}}
	w.runs = append(w.runs, r)
	obs := r.corr.Observation()
	obs.Captured = !w.Tap.Off
	if w.Tap.Off {
		obs.Unmeasured = append(obs.Unmeasured,
			fmt.Sprintf("no capture: %s; losses are counted by TCP_INFO alone, and raw shots are not sent", w.Tap.Why))
	}
	w.borrow(r)
	w.ways(r)
	w.neighborSteps(r)
	w.assign(r)
	drops := w.Tap.drops
	before := maps.Clone(w.Client.counters)
	obs.Started = w.Now()
	began := w.now
	w.execute(r)
	obs.Finished = w.Now()
	obs.CaptureDrops = w.Tap.drops - drops
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

func delta(before, after map[string]int64) map[string]int64 {
	d := map[string]int64{}
	for k, v := range after {
		if v != before[k] {
			d[k] = v - before[k]
		}
	}
	return d
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
	w.pings(r)
	done := func() bool {
		return (r.open == 0 || r.burst.Enough > 0 && r.ended >= r.burst.Enough) && !r.burst.Linger
	}
	w.advance(deadline, done)
	if r.burst.Trail && r.open == 0 {
		w.advance(min(deadline, w.now+plan.TrailTime(w.now-r.start)), nil)
	}
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
		if f := w.flows[w.tombs[n].flow]; f != nil && f.run == nil && w.now-f.buried >= plan.PortQuarantine {
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
		f.run, f.buried = nil, w.now
		if f.raw && r.shots[i].conn.SYNs() > 0 {
			w.tombs = append(w.tombs, tomb{f.out, w.now})
		} else if f.raw || f.sock == nil || f.sock.state == sockClosed {
			delete(w.flows, f.out)
		}
	}
	w.runs = w.runs[:len(w.runs)-1]
	w.books[0].Sweep(w.Now())
	w.books[1].Sweep(w.Now())
}

// kernelParity judges the kernel shots as the engine does.
func kernelParity(r *run, obs *observe.Observation) observe.Parity {
	if !obs.Captured {
		return observe.Parity{Why: "no capture"}
	}
	if r.diverted != nil {
		return differs(fmt.Sprintf("the kernel's SYN left as %s in place of %s: NAT on this host", r.diverted.out, r.diverted.flow))
	}
	parity := observe.Parity{Why: "the kernel's own SYN was not seen leaving"}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		switch {
		case a.Via != plan.Kernel:
		case len(a.SYNs) > 0:
			parity = observe.Parity{State: observe.ParitySame}
		case (a.Outcome == observe.Accepted || a.Outcome == observe.Refused) && obs.CaptureDrops == 0:
			return differs("a kernel connect was answered, but no SYN of it was seen on its own port: NAT, a tunnel or IPsec on this host")
		}
	}
	return parity
}

func differs(why string) observe.Parity {
	return observe.Parity{State: observe.ParityDiffers, Why: why}
}
