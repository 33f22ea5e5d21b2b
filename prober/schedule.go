package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Job is a set of targets probed with one module on a schedule. Jobs of one name are parts of one job, whose targets differ in labels, group or
// members alone: their module and interval are the same.
type Job struct {
	Name     string
	Module   Module
	Interval time.Duration
	Targets  []string
	Labels   map[string]string
	// Maintenance are times in which nothing of the job is probed.
	Maintenance []Window
	// Group, where it is not empty, has the targets of the same group probed in the same second, whatever jobs they are in: a VIP and its members.
	// It holds for jobs whose intervals are multiples of each other.
	Group string
	// Members are the real servers behind each of the targets, which a diagnosis meets directly as well.
	Members []string
	// Diagnose has a target diagnosed at once when a round of its is not well: within a budget, and not again for ten minutes.
	Diagnose bool
}

// Sink takes what scheduled rounds gave. Its methods may be called at the same time from several goroutines.
type Sink interface {
	// Observe takes the rounds of one target.
	Observe(job, module string, labels map[string]string, rounds []Round)
	// Healthy takes a round of which nothing was kept but what it says.
	Healthy(job, module string, labels map[string]string, h *Healthy)
	// Diagnosed takes what a diagnosis found that a round called for; its frames are in it.
	Diagnosed(job, module string, labels map[string]string, target string, found []Round)
	// Fail notes a target that gave no round: its name did not resolve, or nothing could be probed at all.
	Fail(job, module, target string, labels map[string]string)
	// Lag is how late a round began.
	Lag(d time.Duration)
	// Skipped notes a round that was left out, and why.
	Skipped(job string, why Skip)
}

// Healthy is a scheduled round of raw SYNs whose every connection was accepted with the first answer to its first SYN.
type Healthy struct {
	Target      string
	Addr        netip.AddrPort
	Started     time.Time
	Duration    time.Duration
	Connections int
	// RTTs are the handshake round trips that were measured, sorted. They are valid during the call only.
	RTTs []time.Duration
}

// Skip says why a scheduled round was left out.
type Skip string

// SkipRunning: the round before it still ran. SkipOverload: it waited a whole interval for its turn, its time was over before a packet could be
// sent, or it was not well while this host itself lost frames, and more such rounds came than can be judged. SkipPrimed: probes of the target are paused after a prime (PausedError). SkipBudget: a limit did not permit it. SkipPorts: no source
// port was fresh. SkipMaintenance: it fell into a maintenance window.
const (
	SkipRunning     Skip = "running"
	SkipOverload    Skip = "overload"
	SkipPrimed      Skip = "primed"
	SkipBudget      Skip = "budget"
	SkipPorts       Skip = "ports"
	SkipMaintenance Skip = "maintenance"
)

// Skips lists every reason.
func Skips() []Skip {
	return []Skip{SkipRunning, SkipOverload, SkipPrimed, SkipBudget, SkipPorts, SkipMaintenance}
}

// inFlight bounds how many rounds of one goroutine each run at once.
const inFlight = 4096

// Schedule probes the jobs' targets until ctx ends, then waits for the rounds under way: NewSchedule with one set of jobs.
func (p *Prober) Schedule(ctx context.Context, jobs []Job, sink Sink) {
	s := p.NewSchedule(sink)
	s.Set(jobs)
	s.Run(ctx)
}

// Schedule probes the targets of jobs. When each target is due follows from the wall clock and a hash of its name alone: starts are spread
// evenly over the interval, and a schedule that is stopped and started again, on another machine even, goes on in step.
//
// Where more is due than can be done, what has been due longest goes first, so that no target starves; a target whose round has waited for
// a whole interval loses that one.
type Schedule struct {
	probe func(context.Context, string, Module) ([]Round, error)
	sink  Sink
	fast  fastPath   // nil: none
	asks  *inquiries // nil: no diagnoses
	slots chan struct{}
	wake  chan struct{}
	turns chan struct{}         // each turn of the loop gives one to who waits for it
	set   atomic.Pointer[[]Job] // to be put in force; nil: nothing new
	began time.Time

	// What follows is the loop's own.
	due    dueHeap
	known  map[targetKey]*dueTarget
	queue  []*dueTarget // due, and waiting for a slot; oldest first
	rounds sync.WaitGroup
	// within runs what a goroutine of the schedule does; nil: as it is. Tests put it into another network namespace.
	within func(func())
}

// spawn runs f in a goroutine that Run waits for.
func (s *Schedule) spawn(f func()) {
	s.rounds.Go(func() {
		if s.within != nil {
			s.within(f)
			return
		}
		f()
	})
}

// fastPath takes rounds that need no goroutine. It is used by the schedule's loop alone.
type fastPath interface {
	// admit says whether the path is for a target's rounds at all.
	admit(ctx context.Context, d *dueTarget) bool
	// begin begins a round that is due, or keeps it until it can. false: it is to be made the ordinary way.
	begin(d *dueTarget, now time.Time) bool
	// cycle moves what is under way and tells when it wants to be called again; zero: when something is begun.
	cycle(ctx context.Context, now time.Time) time.Time
	// changed is told that other jobs are about to be put in force, gone of a target that is no more or is probed with another module.
	changed()
	gone(d *dueTarget)
	// end waits for what is under way.
	end()
}

// NewSchedule makes a schedule of nothing: see Set and Run.
func (p *Prober) NewSchedule(sink Sink) *Schedule {
	s := newSchedule(p.Probe, sink, inFlight)
	s.fast, s.asks = newLight(p, s), newInquiries(p.Diagnose)
	return s
}

func newSchedule(probe func(context.Context, string, Module) ([]Round, error), sink Sink, slots int) *Schedule {
	return &Schedule{probe: probe, sink: sink, slots: make(chan struct{}, slots), wake: make(chan struct{}, 1), turns: make(chan struct{}),
		began: time.Now(), known: map[targetKey]*dueTarget{}}
}

// Set puts other jobs in force, at once where the schedule runs. Targets that stay keep their place: none of their rounds is lost or made
// twice; a change of module or labels holds from the next round on. Rounds under way of targets that are no more end untold.
func (s *Schedule) Set(jobs []Job) {
	s.set.Store(&jobs)
	s.kick()
}

func (s *Schedule) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// batch is how long the loop sleeps at least while the fast path has rounds under way, so that those which are due at almost the same time
// begin together.
const batch = 5 * time.Millisecond

// Run probes until ctx ends, then waits for the rounds under way. It is to be called once.
func (s *Schedule) Run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if s.fast != nil {
				s.fast.end()
			}
			s.rounds.Wait()
			return
		case <-t.C:
		case <-s.wake:
		case s.turns <- struct{}{}:
		}
		if jobs := s.set.Swap(nil); jobs != nil {
			s.change(ctx, *jobs, time.Now())
		}
		s.waiting(ctx)
		s.beginDue(ctx, time.Now())
		t.Reset(s.rest(ctx))
	}
}

// Turning returns nil as soon as the loop of Run is seen to turn, or ctx's error: then it hangs, has ended, or was never begun.
func (s *Schedule) Turning(ctx context.Context) error {
	select {
	case <-s.turns:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the schedule does not turn: %w", ctx.Err())
	}
}

// rest moves the fast path and returns how long the loop may sleep.
func (s *Schedule) rest(ctx context.Context) time.Duration {
	next, least := time.Hour, time.Duration(0)
	now := time.Now()
	if s.fast != nil {
		if at := s.fast.cycle(ctx, now); !at.IsZero() {
			next = at.Sub(now)
			least = min(next, batch)
		}
	}
	if len(s.due) > 0 {
		next = min(next, time.Until(s.due[0].d.at))
	}
	return max(next, least)
}

// beginDue begins the round of every target whose time has come, the longest due first.
func (s *Schedule) beginDue(ctx context.Context, now time.Time) {
	for upTo := now.Sub(s.began); len(s.due) > 0 && s.due[0].at <= upTo; {
		d := s.due[0].d
		d.since = d.at
		missed := int64(now.Sub(d.at) / d.job.Interval)
		for range missed {
			s.sink.Skipped(d.job.Name, SkipOverload)
		}
		d.since = d.at.Add(d.job.Interval * time.Duration(missed))
		d.at = d.since.Add(d.job.Interval)
		s.due.fix(s.began)
		s.start(ctx, d, now)
	}
}

// start begins a round, or says why not.
func (s *Schedule) start(ctx context.Context, d *dueTarget, now time.Time) {
	switch {
	case inWindow(d.job.Maintenance, now):
		s.sink.Skipped(d.job.Name, SkipMaintenance)
	case d.queued:
		s.sink.Skipped(d.job.Name, SkipOverload)
	case !d.running.CompareAndSwap(false, true):
		s.sink.Skipped(d.job.Name, SkipRunning)
	case d.fast && s.fast.begin(d, now):
	default:
		s.enqueue(ctx, d)
	}
}

// enqueue lets a round wait for a slot; it holds its target.
func (s *Schedule) enqueue(ctx context.Context, d *dueTarget) {
	d.queued = true
	s.queue = append(s.queue, d)
	s.waiting(ctx)
}

// waiting begins the rounds in the queue as far as slots are free.
func (s *Schedule) waiting(ctx context.Context) {
	for len(s.queue) > 0 {
		select {
		case s.slots <- struct{}{}:
		default:
			return
		}
		d := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		d.queued = false
		if d.gone.Load() {
			<-s.slots
			continue
		}
		s.sink.Lag(max(0, time.Since(d.since)))
		s.round(ctx, d, d.job)
	}
}

// round makes one round in a goroutine of its own, which has a slot.
func (s *Schedule) round(ctx context.Context, d *dueTarget, j *Job) {
	s.spawn(func() {
		defer func() {
			d.running.Store(false)
			<-s.slots
			s.kick()
		}()
		rounds, err := s.probe(ctx, d.target, j.Module)
		if ctx.Err() != nil || d.gone.Load() {
			return
		}
		if err != nil {
			s.sink.Fail(j.Name, j.Module.Name, d.target, j.Labels)
			return
		}
		if rounds = s.begun(j, rounds); len(rounds) > 0 {
			s.sink.Observe(j.Name, j.Module.Name, j.Labels, rounds)
			s.inquire(ctx, d, j, rounds)
		}
	})
}

// begun leaves out the rounds in which nothing could begin on this host's own account, and notes them: of addresses whose probes are paused, and those whose time
// was over before the first packet left, which says nothing of the target.
func (s *Schedule) begun(j *Job, rounds []Round) []Round {
	return slices.DeleteFunc(rounds, func(r Round) bool {
		_, paused := errors.AsType[*PausedError](r.Err)
		_, own := errors.AsType[*EnvironmentError](r.Err)
		late := own && len(r.Observations) == 0 && errors.Is(r.Err, context.DeadlineExceeded)
		switch {
		case paused:
			s.sink.Skipped(j.Name, SkipPrimed)
		case late:
			s.sink.Skipped(j.Name, SkipOverload)
		}
		return paused || late
	})
}
