package prober

import (
	"context"
	"hash/fnv"
	"reflect"
	"sync/atomic"
	"time"
)

type targetKey struct{ job, target string }

// dueTarget is one target of one job. What is not atomic is the schedule's loop's own.
type dueTarget struct {
	job     *Job
	target  string
	at      time.Time // when the next round is due
	since   time.Time // when the round that begins now was
	running atomic.Bool
	queued  bool
	fast    bool // its rounds need no goroutine
	light   *lightTarget
	gone    atomic.Bool
}

// together is the time within which the targets of a group begin.
const together = 500 * time.Millisecond

// phase is when in the interval a target is due. Those of a group have the group's, apart by their names.
func phase(j *Job, target string) time.Duration {
	if j.Group == "" {
		return hashed(j.Name+"\x00"+target, j.Interval)
	}
	return (hashed("\x00"+j.Group, j.Interval) + hashed(target, min(together, j.Interval/2))) % j.Interval
}

// hashed is a time below most that follows from a text alone.
func hashed(text string, most time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // a hash takes everything
	return time.Duration(h.Sum64() % uint64(most))
}

// firstDue is the next time at which the target's phase comes round.
func firstDue(j *Job, target string, now time.Time) time.Time {
	interval := j.Interval
	phase := phase(j, target)
	into := time.Duration(uint64(now.UnixNano()) % uint64(interval))
	return now.Add((phase - into + interval) % interval)
}

// change puts other jobs in force.
func (s *Schedule) change(ctx context.Context, jobs []Job, now time.Time) {
	if s.fast != nil {
		s.fast.changed()
	}
	same := sameModules{}
	stays := make(map[targetKey]bool, len(s.known))
	for i := range jobs {
		j := &jobs[i]
		for _, t := range j.Targets {
			k := targetKey{j.Name, t}
			stays[k] = true
			s.put(k, j, now, same)
		}
	}
	kept := s.due[:0]
	for _, x := range s.due {
		k := targetKey{x.d.job.Name, x.d.target}
		if stays[k] {
			kept = append(kept, x)
			continue
		}
		s.forget(x.d)
		delete(s.known, k)
	}
	clear(s.due[len(kept):])
	s.due = kept
	s.due.order(s.began)
	if s.fast == nil {
		return
	}
	for i := range s.due {
		if d := s.due[i].d; d.light == nil {
			d.fast = s.fast.admit(ctx, d)
		}
	}
}

// put adds a target, or gives one that is there its job as it is now.
func (s *Schedule) put(k targetKey, j *Job, now time.Time, same sameModules) {
	d := s.known[k]
	if d == nil {
		d = &dueTarget{job: j, target: k.target, at: firstDue(j, k.target, now)}
		s.known[k] = d
		s.due = append(s.due, dueEntry{d: d})
		return
	}
	old := d.job
	d.job = j
	if old.Interval != j.Interval || old.Group != j.Group {
		// In step with its new phase, but not sooner after its last round than half of the new interval.
		from := now
		if !d.since.IsZero() {
			from = latest(now, d.since.Add(j.Interval/2))
		}
		d.at = firstDue(j, k.target, from)
	}
	if d.light != nil && !same.of(old, j) {
		s.fast.gone(d)
		d.light, d.fast = nil, false
	}
}

// sameModules remembers which jobs, by name, have the module and the interval that they had.
type sameModules map[string]bool

func (s sameModules) of(a, b *Job) bool {
	is, known := s[a.Name]
	if !known {
		is = a.Interval == b.Interval && reflect.DeepEqual(a.Module, b.Module)
		s[a.Name] = is
	}
	return is
}

func (s *Schedule) forget(d *dueTarget) {
	d.gone.Store(true)
	if d.light != nil {
		s.fast.gone(d)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// dueHeap has what is due first at its head; of the same time, by name, so that a schedule is the same each time. The times are in the heap itself, and
// each entry has four below it: to find the next of 100,000 targets touches a few lines of memory, not that of two targets on each level.
type dueHeap []dueEntry

type dueEntry struct {
	at time.Duration // since the schedule was made
	d  *dueTarget
}

// branches is how many entries each has below it.
const branches = 4

func (h dueHeap) before(i, j int) bool {
	if a, b := h[i].at, h[j].at; a != b {
		return a < b
	}
	return h[i].d.target < h[j].d.target
}

// order takes every target's time anew.
func (h dueHeap) order(began time.Time) {
	for i := range h {
		h[i].at = h[i].d.at.Sub(began)
	}
	for i := (len(h) - 2) / branches; i >= 0; i-- {
		h.down(i)
	}
}

// fix moves the first to where its new time belongs.
func (h dueHeap) fix(began time.Time) {
	h[0].at = h[0].d.at.Sub(began)
	h.down(0)
}

func (h dueHeap) down(i int) {
	for {
		least := i
		for k := branches*i + 1; k <= branches*(i+1) && k < len(h); k++ {
			if h.before(k, least) {
				least = k
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
