package record

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/results"
)

// What is kept of a target that goes on being ill. A change is always kept; rounds alike as often as rowEvery, with all that was seen as
// often as detailEvery. All targets together have detailRate such rounds a second, which cost about a millisecond each.
const (
	rowEvery    = 10 * time.Second
	detailEvery = time.Minute
	detailRate  = 20
	detailBurst = 200
)

// Thinned says what was left out of a round that was worth a row. Its connections are kept all the same.
type Thinned string

// ThinnedRow: rounds alike came faster than they are listed. ThinnedDetail: it is listed, without all that was seen of it.
const (
	ThinnedRow    Thinned = "row"
	ThinnedDetail Thinned = "detail"
)

// Recorder takes rounds. It is safe for concurrent use.
type Recorder struct {
	store   *results.Store
	origin  evidence.Origin
	onError func(error)
	details *rate.Limiter

	mu      sync.Mutex
	targets map[targetKey]*target
	thinned map[Thinned]uint64
}

var _ prober.Sink = (*Recorder)(nil)

// New makes a Recorder that adds to a store. The origin is written into captures; onError is told of what cannot be encoded.
func New(store *results.Store, origin evidence.Origin, onError func(error)) *Recorder {
	return &Recorder{store: store, origin: origin, onError: onError, details: rate.NewLimiter(detailRate, detailBurst),
		targets: map[targetKey]*target{}, thinned: map[Thinned]uint64{}}
}

// Observe takes the rounds of one scheduled target.
func (rec *Recorder) Observe(job, module string, labels map[string]string, rounds []prober.Round) {
	for i := range rounds {
		r := &rounds[i]
		e := entryOf(r, job, labels, results.Scheduled)
		e.Module = module
		var detail bool
		e.Keep, detail = rec.worth(&e)
		if detail {
			rec.attach(&e, r)
		}
		id, ok := rec.store.Add(e)
		if ok {
			e.ID = id
		}
		rec.note(&e)
	}
}

// Healthy takes a scheduled round of which nothing was kept but what it says.
func (rec *Recorder) Healthy(job, module string, labels map[string]string, h *prober.Healthy) {
	e := healthyEntry(h)
	e.Job, e.Module, e.Labels = job, module, labels
	rec.store.Add(e)
	rec.note(&e)
}

// Diagnosed takes what a diagnosis found that a scheduled round called for, whole.
func (rec *Recorder) Diagnosed(job, module string, labels map[string]string, _ string, found []prober.Round) {
	for i := range found {
		e := entryOf(&found[i], job, labels, results.Diagnosed)
		e.Module, e.Keep = module, true
		rec.attach(&e, &found[i])
		if id, ok := rec.store.Add(e); ok {
			e.ID = id
			rec.noteDiagnosis(&e)
		}
	}
}

// Fail takes a scheduled target that gave no round.
func (rec *Recorder) Fail(job, module, target string, labels map[string]string) {
	e := results.Entry{Round: results.Round{Key: results.Key{Job: job, Module: module, Target: target}, Labels: labels, Origin: results.Scheduled, Started: time.Now(),
		Why: "nothing could be probed: its name has no address, or this machine denies it"}}
	e.Error, e.ErrorKind = e.Why, "failed"
	e.Figures.Rounds, e.Figures.Failed, e.Figures.Errors = 1, 1, 1
	e.Keep, _ = rec.worth(&e)
	if id, ok := rec.store.Add(e); ok {
		e.ID = id
	}
	rec.note(&e)
}

// Lag implements prober.Sink: it is the metrics' business.
func (rec *Recorder) Lag(time.Duration) {}

// Skipped implements prober.Sink: it is the metrics' business.
func (rec *Recorder) Skipped(string, prober.Skip) {}

// Probed takes the rounds of a request to /probe.
func (rec *Recorder) Probed(rounds []prober.Round) {
	for i := range rounds {
		e := entryOf(&rounds[i], "", nil, results.Probed)
		if e.Keep = remarkable(&e) && e.Error == ""; e.Keep && rec.details.Allow() {
			rec.attach(&e, &rounds[i])
		}
		rec.store.Add(e)
	}
}

// Asked takes the rounds of a run, all with everything that was seen.
func (rec *Recorder) Asked(run string, rounds []prober.Round) {
	for i := range rounds {
		e := entryOf(&rounds[i], "", nil, results.Asked)
		e.Run, e.Keep = run, true
		rec.attach(&e, &rounds[i])
		rec.store.Add(e)
	}
}

func (rec *Recorder) attach(e *results.Entry, r *prober.Round) {
	var err error
	if e.Content, e.Pcapng, err = whole(r, rec.origin); err != nil {
		rec.onError(err)
	}
}

// worth decides whether a round has a row, and whether with all that was seen.
func (rec *Recorder) worth(e *results.Entry) (row, detail bool) {
	if !remarkable(e) {
		return false, false
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	t := rec.of(e)
	now, like := e.Started, signature(e)
	changed := like != t.kept
	switch {
	case changed || now.Sub(t.row) >= rowEvery:
		t.kept, t.row, row = like, now, true
	default:
		rec.thinned[ThinnedRow]++
		return false, false
	}
	if e.Error != "" { // there is nothing more to tell
		return row, false
	}
	if (changed || now.Sub(t.detail) >= detailEvery) && rec.details.Allow() {
		t.detail = now
		return true, true
	}
	rec.thinned[ThinnedDetail]++
	return true, false
}

// signature is what rounds alike have in common.
func signature(e *results.Entry) string {
	parts := []string{e.ErrorKind, strconv.FormatBool(e.Success), strconv.FormatBool(e.Stalled > 0)}
	for _, c := range e.Causes {
		parts = append(parts, c.Verdict+" "+c.Level)
	}
	return strings.Join(parts, "|")
}

// Thinned counts what was left out.
func (rec *Recorder) Thinned() map[Thinned]uint64 {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return map[Thinned]uint64{ThinnedRow: rec.thinned[ThinnedRow], ThinnedDetail: rec.thinned[ThinnedDetail]}
}
