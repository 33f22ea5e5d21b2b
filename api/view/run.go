package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/results"
)

// Run is a probe or diagnosis that was asked for.
type Run struct {
	ID       string     `json:"id"`
	State    string     `json:"state" enum:"running,done,cancelled,interrupted" doc:"interrupted: the service ended while it ran"`
	Created  time.Time  `json:"created"`
	Finished *time.Time `json:"finished,omitempty"`
	Request  RunRequest `json:"request"`
	// RoundsOf is another run, which asked the same at the same time: the rounds are listed under it.
	RoundsOf  string    `json:"rounds_of,omitempty" doc:"the run that asked the same at the same time, under which the rounds are listed"`
	Error     string    `json:"error,omitempty" doc:"why there are no rounds"`
	ErrorKind ErrorKind `json:"error_kind,omitempty"`
}

// RunRequest is what a run is asked to do. The last group can hurt the target or others, and needs an authenticated caller.
type RunRequest struct {
	Kind       string   `json:"kind" enum:"probe,diagnose" doc:"probe: one round of a module; diagnose: experiments until a cause is named or ruled out"`
	Target     string   `json:"target" minLength:"1" maxLength:"300" example:"192.0.2.10:443" doc:"HOST:PORT, ADDR:PORT or [ADDR]:PORT; it must be on the configuration's allow: list"`
	Module     string   `json:"module,omitempty" maxLength:"200" doc:"of the configuration; default: connect"`
	Members    []string `json:"members,omitempty" maxItems:"64" doc:"diagnose: real servers behind the target, HOST:PORT, met directly as well and compared"`
	MaxSeconds float64  `json:"max_seconds,omitempty" minimum:"1" maximum:"600" doc:"diagnose: time for it all; default: 60"`
	MaxSYNs    int      `json:"max_syns,omitempty" minimum:"1" maximum:"100000" doc:"diagnose: most SYNs to each address; default: no bound but limits:"`
	Contrast   string   `json:"contrast,omitempty" maxLength:"100" example:"192.0.2.10:80" doc:"diagnose: another service to compare the target with, ADDR:PORT"`

	Hold           int  `json:"hold,omitempty" minimum:"1" maximum:"1000" doc:"diagnose, authenticated: hold so many connections open at once"`
	Backlog        int  `json:"backlog,omitempty" minimum:"1" maximum:"1000" doc:"diagnose, authenticated: leave so many requests half-open, within limits.half_open"`
	LateReset      bool `json:"late_reset,omitempty" doc:"diagnose, authenticated: wait 22 s for what resets connections that are never answered"`
	ForgetNeighbor bool `json:"forget_neighbor,omitempty" doc:"diagnose, authenticated: delete this host's neighbour entry of the next hop first"`
	OwnPath        bool `json:"i_own_this_path,omitempty" doc:"diagnose, authenticated: nobody else reaches the target from this address; permits priming it with a timestamp"`
}

// Runs is one page of runs, the newest first.
type Runs struct {
	Runs []Run  `json:"runs"`
	Next string `json:"next,omitempty" doc:"the cursor of the next page; absent: there is none"`
}

// NewRun converts a run whose request was read already.
func NewRun(r *results.Run, asked RunRequest) Run {
	v := Run{ID: r.ID, State: string(r.State), Created: r.Created.UTC(), Finished: when(r.Finished), Request: asked, RoundsOf: r.Of, Error: r.Error,
		ErrorKind: ErrorKind(r.ErrorKind)}
	return v
}

// Progress is one burst of a diagnosis that is about to begin.
type Progress struct {
	Addr    string `json:"addr"`
	Label   string `json:"label"`
	Why     string `json:"why" doc:"the question that it answers"`
	Shots   int    `json:"shots"`
	SpentNS int64  `json:"spent_ns" doc:"since the diagnosis of this address began"`
	MostNS  int64  `json:"most_ns" doc:"that the burst can take"`
}

// NewProgress converts it.
func NewProgress(p prober.Progress) Progress {
	return Progress{Addr: endpoint(p.Addr), Label: p.Label, Why: p.Why, Shots: p.Shots, SpentNS: int64(p.Spent), MostNS: int64(p.Most)}
}

// Waiting says that a run is still under way.
type Waiting struct {
	WaitedNS int64 `json:"waited_ns" doc:"since the stream began"`
}
