package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// run is one burst in execution. From begin to leave its fields are guarded by the engine's lock, but for those that only the caller's
// goroutine touches: groups and cancel.
type run struct {
	slot     uint32
	burst    *plan.Burst
	corr     *observe.Correlator
	shots    []liveShot
	pings    []livePing
	open     int
	ended    int // raw connections that both sides have closed
	over     bool
	done     chan struct{} // closed when no shot is open, or enough have ended
	near     map[hopKey]nearness
	lent     netip.Addr    // the borrowed address; invalid: none
	first    int           // raw shots that have not sent anything yet
	begun    chan struct{} // closed when first is 0
	tape     *recorder     // nil: nothing is kept
	lag      time.Duration
	diverted []diversion
	aliases  []int32 // in the flow table: flows that local NAT made of ours
	traced   bool    // some shots have a data phase
	blind    error   // the capture failed under way
	broken   error   // ctx ended before listening did
	unread   uint64  // frames that the reader had not come to when the burst ended

	groups []*group
	cancel context.CancelCauseFunc
}

// group is the shots of a burst towards one destination from one source.
type group struct {
	dst   netip.AddrPort
	src   netip.Addr // invalid: what the request says
	shots []int
	raws  int
	path  *path
	raw   rawState
	err   error // no way there
}

// liveShot is one shot in execution.
type liveShot struct {
	rec   int32 // in the flow table, −1: none
	way   *way  // raw
	path  *path
	flow  wire.Flow
	want  *want // whose port it has; nil: none
	conn  handshake.Conn
	raw   bool
	open  bool
	ended bool      // counted in run.ended
	first time.Time // when its first SYN was due
	// next is when its timer in the heap fires, counted from first; valid where timed.
	next  time.Duration
	timed bool
	// trace keeps the segments of a data phase; nil: there is none.
	trace *trace
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
	record   Recording
	entries  bool                   // follow the kernel's neighbour entries
	check    func(netip.Addr) error // the allow list
	// lend permits bursts from a borrowed address; nil refuses them.
	lend *lending
}

// errClosed is why nothing runs any more.
var errClosed = errors.New("the prober is closed")

// timeOver is why an attempt has timed out before its burst's own time.
const timeOver = "no answer when the time of the round was over"

// run executes one burst and returns what it showed. An error means that nothing was sent: not allowed, no way there, no source ports,
// a limit that it would pass, ctx over before it began. A ctx that ends later gives the partial observation.
func (e *engine) run(ctx context.Context, q request) (observe.Observation, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newRun(q.burst, cancel)
	r.trace()
	r.tape = newRecorder(q.record)
	if err := e.begin(r); err != nil {
		return observe.Observation{}, err
	}
	defer e.running.Done()
	defer e.leave(r)
	if err := e.ways(ctx, q, r); err != nil {
		return observe.Observation{}, err
	}
	told := e.follow(q, r)
	defer told()
	release, err := e.budget.take(ctx, q.target, r.demand())
	if err != nil {
		return observe.Observation{}, err
	}
	failed := e.steps(ctx, q, r)
	if err := e.ready(ctx, q, r); err != nil {
		release(nil)
		return observe.Observation{}, err
	}
	answering, err := e.lend(ctx, q, r)
	if err != nil {
		release(nil)
		return observe.Observation{}, err
	}
	e.readyPings(r)
	q.counters = q.counters || r.traced
	before := e.snapshot(q, r.devices()...)
	started := time.Now()
	e.execute(ctx, r)
	finished := time.Now()
	conflict := answering.end()
	after := e.snapshot(q, r.devices()...)
	obs := e.finish(r, func(o *observe.Observation) {
		o.Started, o.Finished, o.ClockStep = started, finished, clockStep(started, finished)
		o.Unmeasured = append(o.Unmeasured, failed...)
		before.compare(&after, o)
	})
	release(obs.Attempts, obs.Pings...)
	obs.Recorded = r.tape.recording()
	return obs, conflict
}

func newRun(b *plan.Burst, cancel context.CancelCauseFunc) *run {
	r := &run{burst: b, corr: observe.NewCorrelator(b), shots: make([]liveShot, len(b.Shots)), done: make(chan struct{}),
		cancel: cancel, near: map[hopKey]nearness{}, begun: make(chan struct{})}
	if b.Borrow != nil {
		r.lent = b.Borrow.Addr.Unmap().WithZone("")
	}
	type pair struct {
		dst netip.AddrPort
		src netip.Addr
	}
	byPair := map[pair]*group{}
	for i := range b.Shots {
		r.shots[i].rec = -1
		r.shots[i].raw = b.Arms[b.Shots[i].Arm].Via == plan.Raw
		dst := b.Shots[i].Flow.Dst
		dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
		src := b.Shots[i].Flow.Src.Addr().Unmap()
		if src.IsValid() && src.IsUnspecified() {
			src = netip.Addr{}
		}
		g := byPair[pair{dst, src}]
		if g == nil {
			g = &group{dst: dst, src: src}
			byPair[pair{dst, src}] = g
			r.groups = append(r.groups, g)
		}
		g.shots = append(g.shots, i)
		if r.shots[i].raw {
			g.raws++
		}
	}
	return r
}

// script is what shot i follows.
func (r *run) script(i int) *plan.Script { return &r.burst.Arms[r.burst.Shots[i].Arm].Script }

// begin gives the run its slot.
func (e *engine) begin(r *run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
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

// finish takes the run off the capture and judges it.
func (e *engine) finish(r *run, fill func(*observe.Observation)) observe.Observation {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.detach(r)
	o := r.corr.Observation()
	fill(o)
	for k := range o.Transfers {
		r.shots[o.Transfers[k].Attempt].trace.into(&o.Transfers[k])
	}
	r.holed(o)
	o.Belated = e.overdue(r)
	o.CaptureDrops += uint32(min(r.unread, 1<<31))
	o.SendLag = r.lag
	o.Captured = e.noTap == nil && r.blind == nil
	if err := e.noTap; err != nil {
		o.Unmeasured = append(o.Unmeasured, fmt.Sprintf("no capture: %v; losses are counted by TCP_INFO alone, and raw shots are not sent", err))
	}
	switch {
	case r.blind != nil:
		r.corr.Cut(false, r.blind.Error())
	case errors.Is(r.broken, context.DeadlineExceeded):
		r.corr.Cut(true, timeOver)
	case r.broken != nil:
		r.corr.Cut(false, r.broken.Error())
	}
	out := r.corr.Finish()
	if out.Parity == (observe.Parity{}) {
		out.Parity = kernelParity(r, &out)
	}
	return out
}

// leave gives back what the run still has.
func (e *engine) leave(r *run) {
	e.mu.Lock()
	e.detach(r)
	e.mu.Unlock()
	for i := range r.shots {
		if s := &r.shots[i]; s.want != nil {
			e.ports.done(*s.want, s.flow.Src.Port())
		}
	}
}

// detach takes the run's flows out of the table; what sent a SYN stays as a tombstone for a late SYN-ACK. After that no frame reaches
// the run. The caller holds the lock.
func (e *engine) detach(r *run) {
	if e.runs[r.slot] != r {
		return
	}
	now := int64(time.Since(e.began))
	e.flows.sweep(now)
	for i := range r.shots {
		switch s := &r.shots[i]; {
		case s.rec < 0:
		case s.raw && (s.conn.SYNs() > 0 || r.burst.Shots[i].Again):
			e.flows.bury(s.rec, now+int64(plan.PortQuarantine))
		default:
			e.flows.remove(s.rec)
		}
	}
	for _, rec := range r.aliases {
		e.flows.remove(rec)
	}
	e.forgetPings(r)
	e.runs[r.slot] = nil
	e.free = append(e.free, r.slot)
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

// snapshotState is the state of the host's counters at one moment.
type snapshotState struct {
	counters hostproc.Counters
	err      error
	wanted   bool
	drops    uint64
}

// devices are those that the burst leaves by.
func (r *run) devices() []int {
	var out []int
	for _, g := range r.groups {
		if g.path != nil && !g.path.route.Local && !slices.Contains(out, g.path.route.IfIndex) {
			out = append(out, g.path.route.IfIndex)
		}
	}
	return out
}

func (e *engine) snapshot(q request, devices ...int) snapshotState {
	s := snapshotState{wanted: q.counters, drops: e.captureDrops()}
	if !q.counters {
		return s
	}
	if s.counters, s.err = hostproc.Read(); s.err == nil {
		s.counters.ReadDevices(devices)
	}
	return s
}

// compare fills in what the counters did between two moments.
func (s *snapshotState) compare(after *snapshotState, o *observe.Observation) {
	o.CaptureDrops = uint32(min(after.drops-s.drops, 1<<32-1))
	if !s.wanted {
		return
	}
	if err := errors.Join(s.err, after.err); err != nil {
		o.Unmeasured = append(o.Unmeasured, fmt.Sprintf("kernel counters: %v", err))
		return
	}
	o.Counters = hostproc.Delta(s.counters, after.counters)
	if worst := hostproc.Worst(s.counters, after.counters); worst.Dropped > 0 {
		o.Counters["softnet.worst_dropped"], o.Counters["softnet.worst_processed"] = int64(worst.Dropped), int64(worst.Processed)
	}
}

// captureDrops is how many frames the ring has lost since it was opened, frames that the kernel described wrongly included.
func (e *engine) captureDrops() uint64 {
	if e.tap == nil {
		return 0
	}
	st, err := e.tap.Stats()
	if err != nil {
		return e.drops.Load()
	}
	e.drops.Store(st.Drops + st.Bad)
	return st.Drops + st.Bad
}
