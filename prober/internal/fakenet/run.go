package fakenet

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
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
	drops    uint32              // of the tap when it began
	before   map[string]int64    // the client's counters then
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
	data  observe.Holed // where its data has a hole in front
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
	return w.RunTogether(b)[0]
}

// RunTogether executes bursts that begin at the same time, in virtual time, and returns what each showed. More than one must be of raw shots.
func (w *World) RunTogether(bursts ...plan.Burst) []observe.Observation {
	w.begin()
	if bursts[0].Kind == plan.KindSurvey {
		return []observe.Observation{w.survey(&bursts[0])}
	}
	runs := make([]*run, len(bursts))
	for i := range bursts {
		runs[i] = w.prepare(&bursts[i])
	}
	w.softnet()
	for _, r := range runs {
		r.drops, r.before = w.Tap.drops, maps.Clone(w.Client.counters)
		r.corr.Observation().Started = w.Now()
		w.launch(r)
	}
	out := make([]observe.Observation, len(runs))
	for range runs {
		next := w.wait(runs)
		out[next] = w.conclude(runs[next])
		runs[next] = nil
	}
	return out
}

// prepare finds the ways and ports of a burst.
func (w *World) prepare(b *plan.Burst) *run {
	r := &run{burst: b, corr: observe.NewCorrelator(b), shots: make([]shot, len(b.Shots)), near: map[netip.Addr]bool{}}
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
	return r
}

// wait lets time pass until the first of the runs is over.
func (w *World) wait(runs []*run) int {
	first := -1
	for i, r := range runs {
		if r != nil && (first < 0 || r.start+r.burst.Span() < runs[first].start+runs[first].burst.Span()) {
			first = i
		}
	}
	over := func() int { return slices.IndexFunc(runs, func(r *run) bool { return r != nil && r.settled() }) }
	w.advance(runs[first].start+runs[first].burst.Span(), func() bool { return over() >= 0 })
	if i := over(); i >= 0 {
		return i
	}
	return first
}

// conclude ends a run and judges it.
func (w *World) conclude(r *run) observe.Observation {
	obs := r.corr.Observation()
	w.finish(r)
	obs.Finished = w.Now()
	w.overdue(r, obs)
	obs.CaptureDrops = w.Tap.drops - r.drops
	obs.SendLag = max(w.Tap.Lag, rawCost)
	if w.Tap.Step != 0 && r.start < w.Tap.StepAt && w.Tap.StepAt <= w.now {
		obs.ClockStep = w.Tap.Step
	}
	w.softnet()
	if !w.Tap.NoCounters {
		obs.Counters = delta(r.before, w.Client.counters)
	}
	r.traced(obs)
	out := r.corr.Finish()
	if out.Parity == (observe.Parity{}) {
		out.Parity = kernelParity(r, &out)
	}
	w.leave(r)
	return out
}

// overdue gives an observation what came too late for earlier bursts to its destinations.
func (w *World) overdue(r *run, obs *observe.Observation) {
	w.belated = slices.DeleteFunc(w.belated, func(b observe.Belated) bool {
		ours := slices.ContainsFunc(r.burst.Shots, func(s plan.Shot) bool { return s.Flow.Dst == b.Flow.Dst })
		if ours {
			obs.Belated = append(obs.Belated, b)
		}
		return ours
	})
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

// launch fires the shots, each at its time.
func (w *World) launch(r *run) {
	r.start = w.now
	var busy, ring time.Duration
	for i := range r.shots {
		s := &r.shots[i]
		if !s.open {
			continue
		}
		at := r.start + max(r.burst.Shots[i].Offset, 0)
		if w.Starved != nil {
			at = max(at, w.Starved(at))
		}
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
}

// settled reports whether nothing is left to wait for.
func (r *run) settled() bool {
	return (r.open == 0 || r.burst.Enough > 0 && r.ended >= r.burst.Enough) && !r.burst.Linger
}

// finish listens on where the burst asks for it, ends what is open, and waits for the ring's last frames.
func (w *World) finish(r *run) {
	deadline := r.start + r.burst.Span()
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
	w.runs = slices.DeleteFunc(w.runs, func(x *run) bool { return x == r })
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
