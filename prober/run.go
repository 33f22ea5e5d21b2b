package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// run is one burst in execution.
type run struct {
	slot     uint32
	burst    *plan.Burst
	corr     *observe.Correlator
	shots    []liveShot
	start    time.Time
	open     int
	done     chan struct{} // closed when no shot is open
	cancel   context.CancelFunc
	near     map[netip.Addr]bool // addresses whose ARP and ND frames concern the burst
	lag      time.Duration
	diverted []diversion
}

// liveShot is one shot in execution.
type liveShot struct {
	rec   int32 // in the flow table, −1: none
	path  *path
	conn  handshake.Conn
	raw   bool
	open  bool
	first time.Time // when its first SYN was due
	// last is the newest frame seen each way, so that a device stacked on another does not show it twice.
	last [2]sighting
}

type sighting struct {
	sum     uint32
	ifindex int32
	at      int64
}

// request is a burst with what the engine needs beside the plan.
type request struct {
	target   string
	burst    *plan.Burst
	source   netip.Addr // invalid: the route's own
	iface    string
	counters bool
	check    func(netip.Addr) error // the allow list
}

// Run executes one burst and returns what it showed. An error means that nothing was sent.
func (e *engine) run(ctx context.Context, q request) (observe.Observation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{burst: q.burst, corr: observe.NewCorrelator(q.burst), shots: make([]liveShot, len(q.burst.Shots)),
		done: make(chan struct{}), cancel: cancel, near: map[netip.Addr]bool{}}
	if err := e.begin(r); err != nil {
		return observe.Observation{}, err
	}
	defer e.running.Done()
	defer e.leave(r)
	release, err := e.budget.take(ctx, q)
	if err != nil {
		return observe.Observation{}, err
	}
	defer release()
	obs := r.corr.Observation()
	if err := e.prepare(ctx, q, r); err != nil {
		return observe.Observation{}, err
	}
	tapErr := e.capturing()
	obs.Captured = tapErr == nil
	if tapErr != nil {
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("no capture: %v; losses are counted by TCP_INFO alone, and raw shots are not sent", tapErr))
	}
	before := e.snapshot(q)
	obs.Started = time.Now()
	e.execute(ctx, r)
	e.mu.Lock()
	defer e.mu.Unlock()
	obs.Finished = time.Now()
	obs.SendLag = r.lag
	obs.ClockStep = clockStep(obs.Started, obs.Finished)
	before.finish(e, obs)
	out := r.corr.Finish()
	if out.Parity == (observe.Parity{}) {
		out.Parity = kernelParity(r, &out)
	}
	e.budget.settle(out.Attempts)
	return out, nil
}

// clockStep compares the wall clock's advance with the monotonic clock's; less than a millisecond, or 500 ppm as NTP may slew, is none.
func clockStep(from, to time.Time) time.Duration {
	mono := to.Sub(from)
	wall := to.Round(0).Sub(from.Round(0))
	step := wall - mono
	if step.Abs() <= time.Millisecond+mono/2000 {
		return 0
	}
	return step
}

// before is the state of the host's counters when a burst began.
type snapshotState struct {
	counters hostproc.Counters
	err      error
	wanted   bool
	drops    uint32
}

func (e *engine) snapshot(q request) snapshotState {
	s := snapshotState{wanted: q.counters, drops: e.captureDrops()}
	if q.counters {
		s.counters, s.err = hostproc.Read()
	}
	return s
}

func (s *snapshotState) finish(e *engine, obs *observe.Observation) {
	obs.CaptureDrops = e.captureDrops() - s.drops
	if !s.wanted {
		return
	}
	after, err := hostproc.Read()
	if err = errors.Join(s.err, err); err != nil {
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("kernel counters: %v", err))
		return
	}
	obs.Counters = hostproc.Delta(s.counters, after)
}

func (e *engine) captureDrops() uint32 {
	if e.tap == nil {
		return 0
	}
	if st, err := e.tap.Stats(); err == nil {
		e.drops.Store(uint32(st.Drops))
	}
	return e.drops.Load()
}

// begin gives the run its slot.
func (e *engine) begin(r *run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("the prober is closed")
	}
	if n := len(e.free); n > 0 {
		r.slot = e.free[n-1]
		e.free = e.free[:n-1]
		e.runs[r.slot] = r
	} else {
		r.slot = uint32(len(e.runs))
		e.runs = append(e.runs, r)
	}
	e.running.Add(1)
	return nil
}

// leave takes the run's flows out of the table. What was never answered stays as a tombstone for a late SYN-ACK.
func (e *engine) leave(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := int64(time.Since(e.began))
	e.flows.sweep(now)
	for i := range r.shots {
		s := &r.shots[i]
		if s.rec < 0 {
			continue
		}
		if s.raw {
			e.flows.bury(s.rec, now+int64(plan.PortQuarantine))
		} else {
			e.flows.remove(s.rec)
		}
	}
	e.kports.Sweep(time.Now())
	e.rports.Sweep(time.Now())
	e.runs[r.slot] = nil
	e.free = append(e.free, r.slot)
}

// prepare finds the way, the source ports and the flows of every shot.
func (e *engine) prepare(ctx context.Context, q request, r *run) error {
	for i := range r.shots {
		r.shots[i].rec = -1
	}
	groups := map[netip.AddrPort][]int{}
	var order []netip.AddrPort
	for i := range r.burst.Shots {
		dst := r.burst.Shots[i].Flow.Dst
		if _, ok := groups[dst]; !ok {
			order = append(order, dst)
		}
		groups[dst] = append(groups[dst], i)
	}
	for _, dst := range order {
		if err := q.check(dst.Addr()); err != nil {
			return err
		}
		p, err := e.paths.route(dst.Addr(), q.source, q.iface, e.opts.AllowForeignSource)
		if err != nil {
			return &EnvironmentError{Target: q.target, Err: err}
		}
		e.mu.Lock()
		r.near[p.route.Src], r.near[p.route.NextHop()] = true, true
		e.mu.Unlock()
		if err := e.assign(ctx, q, r, p, dst, groups[dst]); err != nil {
			return err
		}
	}
	return nil
}

// assign gives the shots towards one destination their source ports and puts the raw ones into the flow table.
func (e *engine) assign(ctx context.Context, q request, r *run, p *path, dst netip.AddrPort, shots []int) error {
	raws := 0
	for _, i := range shots {
		s := &r.shots[i]
		s.path = p
		s.raw = r.burst.Arms[r.burst.Shots[i].Arm].Via == plan.Raw
		if s.raw {
			raws++
		}
	}
	parity := observe.Parity{}
	if raws > 0 {
		parity = e.readyRaw(ctx, q, p, dst)
		r.corr.Observation().Parity = parity
	}
	for _, i := range shots {
		s, shot := &r.shots[i], &r.burst.Shots[i]
		if s.raw && (parity.State == observe.ParityDiffers || p.rawErr != nil) {
			e.refuse(r, i, whyNotRaw(parity, p))
			continue
		}
		port, err := e.port(p.route.Src, dst, shot.Flow.Src.Port(), s.raw)
		if err != nil {
			e.refuse(r, i, err.Error())
			continue
		}
		e.open(r, i, wire.Flow{Src: netip.AddrPortFrom(p.route.Src, port), Dst: dst})
	}
	return nil
}

// refuse notes that shot i will not be sent.
func (e *engine) refuse(r *run, i int, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.corr.NotSent(i, why)
}

// open readies shot i on its flow; a raw one enters the flow table and so gets its ISS.
func (e *engine) open(r *run, i int, flow wire.Flow) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &r.shots[i]
	r.corr.Bind(i, flow)
	s.open = true
	r.open++
	if !s.raw {
		return
	}
	rec, iss := e.flows.add(flow, r.slot, uint32(i), true)
	s.rec = rec
	s.conn = handshake.New(&r.burst.Arms[r.burst.Shots[i].Arm].Script, iss)
	r.corr.ISS(i, iss)
}

func whyNotRaw(parity observe.Parity, p *path) string {
	if parity.State == observe.ParityDiffers {
		return "not_applicable: local path differs: " + parity.Why
	}
	return p.rawErr.Error()
}

// execute fires the shots and waits until all are settled, listening is over, or ctx ends.
func (e *engine) execute(ctx context.Context, r *run) {
	span := r.burst.Span()
	r.start = time.Now()
	deadline := r.start.Add(span)
	var conns []kdial.Conn
	e.mu.Lock()
	for i := range r.shots {
		s := &r.shots[i]
		if !s.open {
			continue
		}
		offset := r.burst.Shots[i].Offset
		if s.raw {
			s.first = r.start.Add(offset)
			e.timers.push(timer{at: s.first, run: r, shot: int32(i)})
			continue
		}
		conns = append(conns, e.connect(r, i, offset))
	}
	if r.open == 0 {
		close(r.done)
	}
	e.mu.Unlock()
	e.kick()
	if len(conns) > 0 {
		e.dial(ctx, r, conns)
	}
	e.wait(ctx, r, deadline)
}

// connect is the kernel's part of shot i.
func (e *engine) connect(r *run, i int, offset time.Duration) kdial.Conn {
	s, shot := &r.shots[i], &r.burst.Shots[i]
	script := &r.burst.Arms[shot.Arm].Script
	flow := r.corr.Observation().Attempts[i].Flow
	src := netip.AddrPortFrom(netip.Addr{}, flow.Src.Port())
	if s.path.bound {
		src = flow.Src
	}
	return kdial.Conn{Index: i, Src: src, Dst: flow.Dst, Offset: offset, Close: script.Then.Close,
		HopLimit: script.HopLimit, ToS: script.ToS, Interface: s.path.iface}
}

func (e *engine) dial(ctx context.Context, r *run, conns []kdial.Conn) {
	started := func(i int, local netip.AddrPort, _ time.Time) {
		e.mu.Lock()
		defer e.mu.Unlock()
		flow := r.corr.Observation().Attempts[i].Flow
		addr := local.Addr().Unmap()
		if addr.IsUnspecified() || !addr.IsValid() {
			addr = flow.Src.Addr()
		}
		flow.Src = netip.AddrPortFrom(addr, local.Port())
		r.corr.Bind(i, flow)
		r.shots[i].rec, _ = e.flows.add(flow, r.slot, uint32(i), false)
	}
	done := func(res kdial.Result) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if res.Outcome == observe.NotSent {
			r.corr.NotSent(res.Index, res.Reason)
		}
		r.corr.Kernel(res.Index, res.View, res.Outcome, res.Reason)
		r.settle(&r.shots[res.Index])
	}
	if err := e.dialer.Run(ctx, conns, r.burst.Listen, started, done); err != nil && ctx.Err() == nil {
		e.mu.Lock()
		obs := r.corr.Observation()
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("the connect loop ended early: %v", err))
		for i := range r.shots {
			if s := &r.shots[i]; s.open && !s.raw {
				r.corr.NotSent(i, err.Error())
				r.settle(s)
			}
		}
		e.mu.Unlock()
	}
}

// settle notes that a shot needs nothing more. The caller holds the engine's lock.
func (r *run) settle(s *liveShot) {
	if !s.open {
		return
	}
	s.open = false
	r.open--
	if r.open == 0 {
		close(r.done)
	}
}

// wait lets the burst run out, then resets what is still open and lets the ring deliver its last frames.
func (e *engine) wait(ctx context.Context, r *run, deadline time.Time) {
	done := r.done
	if r.burst.Linger {
		done = nil
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-ctx.Done():
	}
	e.stop(r)
	if e.capturing() != nil {
		return
	}
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	<-settle.C
}
