package prober

import (
	"container/heap"
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Job is a set of targets probed with one module on a schedule.
type Job struct {
	Name     string
	Module   Module
	Interval time.Duration
	Targets  []string
	Labels   map[string]string
}

// Sink takes what scheduled rounds gave. Its methods may be called at the same time from several goroutines.
type Sink interface {
	// Observe takes the rounds of one target.
	Observe(job, module string, labels map[string]string, rounds []Round)
	// Fail notes a target that gave no round: its name did not resolve, or nothing could be probed at all.
	Fail(job, module, target string, labels map[string]string)
	// Lag is how late a round began.
	Lag(d time.Duration)
	// Skipped notes a round that was left out, and why.
	Skipped(job string, why Skip)
}

// Skip says why a scheduled round was left out.
type Skip string

// SkipRunning: the round before it still ran. SkipOverload: too many others did. SkipPrimed: probes of the target are paused after a prime
// (PausedError).
const (
	SkipRunning  Skip = "running"
	SkipOverload Skip = "overload"
	SkipPrimed   Skip = "primed"
)

// Skips lists every reason.
func Skips() []Skip { return []Skip{SkipRunning, SkipOverload, SkipPrimed} }

// inFlight bounds how many scheduled rounds run at once.
const inFlight = 4096

// Schedule probes the jobs' targets until ctx ends, then waits for the rounds under way. When each target is due follows from the wall
// clock and a hash of its name alone: starts are spread evenly over the interval, and a schedule that is stopped and started
// again, on another machine even, goes on in step.
func (p *Prober) Schedule(ctx context.Context, jobs []Job, sink Sink) {
	newScheduler(p.Probe, sink, inFlight).schedule(ctx, jobs)
}

// schedule puts every target of the jobs into the heap and runs until ctx ends and the last round is over.
func (s *scheduler) schedule(ctx context.Context, jobs []Job) {
	now := time.Now()
	for i := range jobs {
		j := &jobs[i]
		for _, t := range j.Targets {
			s.due = append(s.due, &dueTarget{job: j, target: t, at: firstDue(j.Name, t, j.Interval, now)})
		}
	}
	heap.Init(&s.due)
	s.run(ctx)
	s.rounds.Wait()
}

// firstDue is the next time at which the target's phase comes round.
func firstDue(job, target string, interval time.Duration, now time.Time) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(job + "\x00" + target)) // a hash takes everything
	phase := time.Duration(h.Sum64() % uint64(interval))
	into := time.Duration(uint64(now.UnixNano()) % uint64(interval))
	return now.Add((phase - into + interval) % interval)
}

type dueTarget struct {
	job    *Job
	target string
	at     time.Time
	mu     sync.Mutex // held while a round runs
}

type dueHeap []*dueTarget

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	d, _ := x.(*dueTarget) // container/heap hands on what schedule gave it
	*h = append(*h, d)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	n := len(old) - 1
	d := old[n]
	old[n] = nil
	*h = old[:n]
	return d
}

// scheduler is one run of Schedule.
type scheduler struct {
	probe  func(context.Context, string, Module) ([]Round, error)
	sink   Sink
	due    dueHeap
	slots  chan struct{}
	rounds sync.WaitGroup
}

func newScheduler(probe func(context.Context, string, Module) ([]Round, error), sink Sink, slots int) *scheduler {
	return &scheduler{probe: probe, sink: sink, slots: make(chan struct{}, slots)}
}

func (s *scheduler) run(ctx context.Context) {
	if len(s.due) == 0 {
		<-ctx.Done()
		return
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		for !s.due[0].at.After(now) {
			d := s.due[0]
			s.sink.Lag(now.Sub(d.at))
			s.start(ctx, d)
			missed := int64(now.Sub(d.at) / d.job.Interval)
			d.at = d.at.Add(d.job.Interval * time.Duration(1+missed))
			heap.Fix(&s.due, 0)
		}
		t.Reset(time.Until(s.due[0].at))
	}
}

// start begins a round unless the target's last one, or too many others, still run.
func (s *scheduler) start(ctx context.Context, d *dueTarget) {
	if !d.mu.TryLock() {
		s.sink.Skipped(d.job.Name, SkipRunning)
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		d.mu.Unlock()
		s.sink.Skipped(d.job.Name, SkipOverload)
		return
	}
	s.rounds.Go(func() {
		defer func() {
			<-s.slots
			d.mu.Unlock()
		}()
		rounds, err := s.probe(ctx, d.target, d.job.Module)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.sink.Fail(d.job.Name, d.job.Module.Name, d.target, d.job.Labels)
			return
		}
		if rounds = s.unpaused(d, rounds); len(rounds) > 0 {
			s.sink.Observe(d.job.Name, d.job.Module.Name, d.job.Labels, rounds)
		}
	})
}

// unpaused leaves out the rounds of addresses whose probes are paused, and notes them.
func (s *scheduler) unpaused(d *dueTarget, rounds []Round) []Round {
	return slices.DeleteFunc(rounds, func(r Round) bool {
		_, paused := errors.AsType[*PausedError](r.Err)
		if paused {
			s.sink.Skipped(d.job.Name, SkipPrimed)
		}
		return paused
	})
}
