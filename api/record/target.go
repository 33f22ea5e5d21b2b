package record

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

// Mark is one round in a target's recent history.
type Mark byte

// The marks: well, accepted with stalls, a cause was named, failed, nothing could be probed.
const (
	MarkWell    Mark = '.'
	MarkStalled Mark = 's'
	MarkNamed   Mark = 'd'
	MarkFailed  Mark = 'f'
	MarkError   Mark = 'e'
)

// recent is how many rounds a target's history has.
const recent = 60

// forgotten is when an address that was not probed any more, while others of its name were, is not shown any more.
const forgotten = time.Hour

type targetKey struct{ job, target, addr string }

// target is what is remembered of one address of a scheduled target.
type target struct {
	last  results.Round // without its labels' map being ours
	id    int64         // of the last round that has a row
	marks []Mark        // the oldest first
	sums  []tally       // of the rounds that have a mark
	p50   time.Duration // of the last round's handshakes; 0: none
	worst time.Duration

	diagnosis *results.Round // the last one that a round called for; nil: there was none

	kept        string // signature of the last row
	row, detail time.Time
}

// tally counts a round's connections, 65,535 at most.
type tally struct{ attempts, stalled uint16 }

func newTally(e *results.Entry) tally {
	return tally{uint16(min(e.Attempts, math.MaxUint16)), uint16(min(e.Stalled, math.MaxUint16))}
}

// Target is how one address of a scheduled target fares.
type Target struct {
	Last results.Round // the last round; its ID is that of the last one that has a row, 0: none has
	// Recent has a mark for each of the last rounds, the oldest first.
	Recent []Mark
	// Attempts and Stalled count the connections of these rounds.
	Attempts, Stalled int
	// Median and Worst are of the last round's handshakes; 0: there was none.
	Median, Worst time.Duration
	// Diagnosis is the last one that a round of it called for; nil: there was none.
	Diagnosis *results.Round
}

// of returns what is remembered of an entry's target. The caller holds the lock.
func (rec *Recorder) of(e *results.Entry) *target {
	k := targetKey{e.Job, e.Target, e.Addr}
	t := rec.targets[k]
	if t == nil {
		t = &target{}
		rec.targets[k] = t
	}
	return t
}

func mark(e *results.Entry) Mark {
	switch {
	case e.Error != "":
		return MarkError
	case !e.Success:
		return MarkFailed
	case e.Stalled > 0:
		return MarkStalled
	case remarkable(e):
		return MarkNamed
	}
	return MarkWell
}

func (rec *Recorder) note(e *results.Entry) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	t := rec.of(e)
	t.last = e.Round
	if e.ID != 0 {
		t.id = e.ID
	}
	if len(t.marks) >= recent {
		t.marks, t.sums = slices.Delete(t.marks, 0, 1), slices.Delete(t.sums, 0, 1)
	}
	t.marks, t.sums = append(t.marks, mark(e)), append(t.sums, newTally(e))
	t.p50, t.worst = 0, 0
	if d, ok := e.Figures.Handshakes.Quantile(0.5); ok {
		t.p50 = d
	}
	if d, ok := e.Figures.Handshakes.Quantile(1); ok {
		t.worst = d
	}
}

func (rec *Recorder) noteDiagnosis(e *results.Entry) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	t := rec.targets[targetKey{e.Job, e.Target, e.Addr}]
	if t == nil || e.Member {
		return
	}
	r := e.Round
	r.Detail, r.Capture = len(e.Content) > 0, len(e.Pcapng) > 0
	t.diagnosis = &r
}

// Targets lists the scheduled targets that were probed, by job, target and address.
func (rec *Recorder) Targets() []Target {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	newest := map[targetKey]time.Time{}
	for k, t := range rec.targets {
		if name := (targetKey{job: k.job, target: k.target}); t.last.Started.After(newest[name]) {
			newest[name] = t.last.Started
		}
	}
	out := make([]Target, 0, len(rec.targets))
	for k, t := range rec.targets {
		if newest[targetKey{job: k.job, target: k.target}].Sub(t.last.Started) > forgotten {
			delete(rec.targets, k)
			continue
		}
		x := Target{Last: t.last, Recent: slices.Clone(t.marks), Median: t.p50, Worst: t.worst, Diagnosis: t.diagnosis}
		x.Last.ID = t.id
		for _, sum := range t.sums {
			x.Attempts += int(sum.attempts)
			x.Stalled += int(sum.stalled)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Last.Job, b.Last.Job), cmp.Compare(a.Last.Target, b.Last.Target), cmp.Compare(a.Last.Addr, b.Last.Addr))
	})
	return out
}

// Retain forgets the targets that are no more; call it after a reload.
func (rec *Recorder) Retain(jobs []targets.Job) {
	keep := map[targetKey]bool{}
	for _, j := range jobs {
		for _, t := range j.Targets {
			keep[targetKey{job: j.Name, target: t}] = true
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for k := range rec.targets {
		if !keep[targetKey{job: k.job, target: k.target}] {
			delete(rec.targets, k)
		}
	}
}
