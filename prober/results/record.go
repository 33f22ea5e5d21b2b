package results

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// Key is what a series belongs to: the connections of one module, on behalf of one job, to one address of a target.
type Key struct {
	Job    string // empty: not scheduled
	Module string
	Target string // as asked for
	Addr   string // as probed, ADDR:PORT; empty where none was
}

// Origin is on whose behalf a round was made.
type Origin string

// The origins: a job's schedule, a diagnosis that a scheduled round called for, a request to /probe, a run that was asked for through the API.
const (
	Scheduled Origin = "schedule"
	Diagnosed Origin = "diagnosis"
	Probed    Origin = "probe"
	Asked     Origin = "run"
)

// Cause is a verdict that a round names, with its level.
type Cause struct{ Verdict, Level string }

// Round is a round as it is listed.
type Round struct {
	// ID grows with the time at which rounds are added, is never given twice, and fits a float64.
	ID int64
	Key
	Labels   map[string]string
	Origin   Origin
	Run      string // the run that it belongs to; empty: none
	Member   bool   // of a real server behind the target of its run
	Started  time.Time
	Duration time.Duration
	Success  bool
	Why      string
	// Error says why nothing could be probed, ErrorKind which kind of reason that is.
	Error, ErrorKind  string
	Headline          string
	Causes            []Cause // the firmest first
	Attempts, Stalled int
	// Detail and Capture tell whether these are kept.
	Detail, Capture bool
}

// Entry is what Add takes. The store keeps the slices and maps: they must not be changed any more.
type Entry struct {
	Round
	Figures minute.Figures
	// Points are in order of time, their At since the begin of the minute in which Round.Started lies.
	Points []minute.Point
	// Keep makes a row of the round; else it lives on in points and figures only.
	Keep bool
	// Content is the whole round as JSON, Pcapng its frames; nil: not kept. Both are kept with a row only.
	Content, Pcapng []byte
}

// size is about what an entry takes in memory, in octets.
func (e *Entry) size() int64 {
	return 512 + int64(len(e.Points))*40 + int64(len(e.Content)+len(e.Pcapng)+len(e.Why)+len(e.Error)+len(e.Headline))
}

// State is how far a run has come.
type State string

// The states. Interrupted: the service ended while it ran.
const (
	Running     State = "running"
	Done        State = "done"
	Cancelled   State = "cancelled"
	Interrupted State = "interrupted"
)

// States lists every state.
func States() []State { return []State{Running, Done, Cancelled, Interrupted} }

// Run is a probe or diagnosis that was asked for.
type Run struct {
	ID       string
	Created  time.Time
	Finished time.Time // zero: not yet
	State    State
	// Request is what was asked for, as JSON.
	Request []byte
	// Of is the run whose rounds these are, where both asked the same at once; empty: its own.
	Of string
	// IdempotencyKey is the caller's own name of the request; empty: none.
	IdempotencyKey string
	// Error says why there are no rounds, ErrorKind which kind of reason that is.
	Error, ErrorKind string
}

// RoundsOf is the run that the rounds are listed under.
func (r *Run) RoundsOf() string {
	if r.Of != "" {
		return r.Of
	}
	return r.ID
}
