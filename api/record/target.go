package record

import (
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
		t = &target{last: results.Round{Key: e.Key, Labels: e.Labels, Started: e.Started}}
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

// Brief names one address of a scheduled target, and tells how its last round was.
type Brief struct {
	Job, Target, Addr string
	Labels            map[string]string
	Started           time.Time
	Mark              Mark // 0: its first round is not over
}

// chunk is how many targets are read in one go: rounds that are told meanwhile wait for no more than that.
const chunk = 256

// List lists the scheduled targets that were probed, in no order; of one target where it is named. An address that was not probed for long while others of
// its name were is forgotten.
func (rec *Recorder) List(name string) []Brief {
	rec.mu.Lock()
	list := make([]*target, 0, len(rec.targets))
	for k, t := range rec.targets {
		if name == "" || k.target == name {
			list = append(list, t)
		}
	}
	rec.mu.Unlock()
	out := make([]Brief, 0, len(list))
	newest := make(map[targetKey]time.Time, len(list))
	for part := range slices.Chunk(list, chunk) {
		rec.mu.Lock()
		for _, t := range part {
			b := Brief{Job: t.last.Job, Target: t.last.Target, Addr: t.last.Addr, Labels: t.last.Labels, Started: t.last.Started}
			if n := len(t.marks); n > 0 {
				b.Mark = t.marks[n-1]
			}
			out = append(out, b)
		}
		rec.mu.Unlock()
	}
	for i := range out {
		if name := (targetKey{job: out[i].Job, target: out[i].Target}); out[i].Started.After(newest[name]) {
			newest[name] = out[i].Started
		}
	}
	return slices.DeleteFunc(out, func(b Brief) bool {
		gone := newest[targetKey{job: b.Job, target: b.Target}].Sub(b.Started) > forgotten
		if gone {
			rec.forget(&b)
		}
		return gone
	})
}

// forget forgets an address, unless it was probed again.
func (rec *Recorder) forget(b *Brief) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	k := targetKey{b.Job, b.Target, b.Addr}
	if t := rec.targets[k]; t != nil && t.last.Started.Equal(b.Started) {
		delete(rec.targets, k)
	}
}

// Look tells how targets on a list fare. Those that are no more have the zero value.
func (rec *Recorder) Look(list []Brief) []Target {
	out := make([]Target, 0, len(list))
	for part := range slices.Chunk(list, chunk) {
		rec.mu.Lock()
		for i := range part {
			out = append(out, rec.targets[targetKey{part[i].Job, part[i].Target, part[i].Addr}].told())
		}
		rec.mu.Unlock()
	}
	return out
}

// told is the target as it is told; nil is none. The caller holds the lock.
func (t *target) told() Target {
	if t == nil {
		return Target{}
	}
	x := Target{Last: t.last, Recent: slices.Clone(t.marks), Median: t.p50, Worst: t.worst, Diagnosis: t.diagnosis}
	x.Last.ID = t.id
	for _, sum := range t.sums {
		x.Attempts += int(sum.attempts)
		x.Stalled += int(sum.stalled)
	}
	return x
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
