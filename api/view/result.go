package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/results"
)

// Result is a round as it is listed.
type Result struct {
	ID         int64             `json:"id" doc:"grows with time"`
	Origin     string            `json:"origin" enum:"schedule,diagnosis,probe,run" doc:"on whose behalf the round was made"`
	Run        string            `json:"run,omitempty" doc:"the run that it belongs to"`
	Job        string            `json:"job,omitempty"`
	Module     string            `json:"module"`
	Target     string            `json:"target"`
	Addr       string            `json:"addr,omitempty" doc:"as probed"`
	Member     bool              `json:"member,omitempty" doc:"of a real server behind the run's target"`
	Labels     map[string]string `json:"labels,omitempty"`
	Started    time.Time         `json:"started"`
	DurationNS int64             `json:"duration_ns"`
	Success    bool              `json:"success"`
	Why        string            `json:"why,omitempty"`
	Error      string            `json:"error,omitempty" doc:"why nothing could be probed"`
	ErrorKind  ErrorKind         `json:"error_kind,omitempty"`
	Headline   string            `json:"headline,omitempty"`
	Causes     []Named           `json:"causes" doc:"the firmest first"`
	Attempts   int               `json:"attempts"`
	Stalled    int               `json:"stalled"`
	Detail     bool              `json:"detail" doc:"whether all that was seen is kept"`
	Capture    bool              `json:"capture" doc:"whether its frames are kept"`
}

// NewResult converts a listed round.
func NewResult(r *results.Round) Result {
	v := Result{ID: r.ID, Origin: string(r.Origin), Run: r.Run, Job: r.Job, Module: r.Module, Target: r.Target, Addr: r.Addr, Member: r.Member, Labels: r.Labels,
		Started: r.Started.UTC(), DurationNS: int64(r.Duration), Success: r.Success, Why: r.Why, Error: r.Error, ErrorKind: ErrorKind(r.ErrorKind), Headline: r.Headline,
		Causes: make([]Named, 0, len(r.Causes)), Attempts: r.Attempts, Stalled: r.Stalled, Detail: r.Detail, Capture: r.Capture}
	for _, c := range r.Causes {
		v.Causes = append(v.Causes, Named(c))
	}
	return v
}

// Results is one page of rounds, the newest first.
type Results struct {
	Results []Result `json:"results"`
	Next    string   `json:"next,omitempty" doc:"the cursor of the next page; absent: there is none"`
}
