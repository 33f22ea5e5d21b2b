package view

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Document is the result of one command: the rounds of all targets, and the targets that could not be probed at all.
type Document struct {
	Rounds []Round       `json:"rounds"`
	Errors []TargetError `json:"errors,omitempty"`
}

// TargetError is a target that gave no round, in one sentence.
type TargetError struct {
	Target string `json:"target"`
	Error  string `json:"error"`
}

// Round is one run of a module against one address. Durations are whole nanoseconds, times RFC 3339 with nanoseconds.
type Round struct {
	Target       string        `json:"target"`
	Addr         string        `json:"addr"`
	Module       string        `json:"module"`
	Kind         string        `json:"kind"`
	Started      time.Time     `json:"started"`
	DurationNS   int64         `json:"duration_ns"`
	LookupNS     int64         `json:"lookup_ns,omitempty"`
	Kernel       string        `json:"kernel"`
	Ladder       Ladder        `json:"ladder"`
	Success      bool          `json:"success"`
	Why          string        `json:"why,omitempty"`
	Error        string        `json:"error,omitempty"`
	Summary      Summary       `json:"summary"`
	Diagnosis    *Diagnosis    `json:"diagnosis,omitempty"`
	Observations []Observation `json:"observations"`
}

// Ladder is the retransmission ladder in force on the prober's machine.
type Ladder struct {
	Name string  `json:"name"`
	AtNS []int64 `json:"at_ns"`
}

// Summary counts a round's attempts; the RTT figures are absent where none is known.
type Summary struct {
	Attempts        int            `json:"attempts"`
	Outcomes        map[string]int `json:"outcomes"`
	Stalled         int            `json:"stalled"`
	StalledBy       map[int]int    `json:"stalled_by_repeats,omitempty"`
	Retransmissions int            `json:"retransmissions"`
	RTTMinNS        *int64         `json:"rtt_min_ns,omitempty"`
	RTTMedianNS     *int64         `json:"rtt_median_ns,omitempty"`
	RTTP99NS        *int64         `json:"rtt_p99_ns,omitempty"`
	RTTMaxNS        *int64         `json:"rtt_max_ns,omitempty"`
}

// Diagnosis is what was concluded from a round.
type Diagnosis struct {
	Headline string    `json:"headline"`
	Causes   []Finding `json:"causes"`
	Notes    []Finding `json:"notes,omitempty"`
}

// Finding is one named cause or note.
type Finding struct {
	Verdict  string   `json:"verdict"`
	Level    string   `json:"level"`
	Summary  string   `json:"summary"`
	Evidence []string `json:"evidence,omitempty"`
	Disproof string   `json:"disproof,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
	P        *float64 `json:"p,omitempty"`
	Settle   string   `json:"settle,omitempty"`
}

// NewDocument converts rounds in their order.
func NewDocument(rounds []prober.Round, errs []TargetError) Document {
	d := Document{Rounds: make([]Round, 0, len(rounds)), Errors: errs}
	for i := range rounds {
		d.Rounds = append(d.Rounds, NewRound(&rounds[i]))
	}
	return d
}

// NewRound converts one round.
func NewRound(r *prober.Round) Round {
	v := Round{
		Target: r.Target, Addr: r.Addr.String(), Module: r.Module, Kind: string(r.Kind), Started: r.Started.UTC(),
		DurationNS: int64(r.Duration), LookupNS: int64(r.Lookup), Kernel: r.Kernel, Ladder: newLadder(r.Ladder),
		Success: r.Success, Why: r.Why, Summary: newSummary(prober.Summarize(r.Attempts())),
		Observations: make([]Observation, 0, len(r.Observations)),
	}
	if r.Err != nil {
		v.Error = r.Err.Error()
		return v
	}
	d := newDiagnosis(&r.Diagnosis)
	v.Diagnosis = &d
	for i := range r.Observations {
		v.Observations = append(v.Observations, newObservation(&r.Observations[i]))
	}
	return v
}

func newLadder(l plan.Ladder) Ladder {
	v := Ladder{Name: l.Name, AtNS: make([]int64, 0, len(l.At))}
	for _, t := range l.At {
		v.AtNS = append(v.AtNS, int64(t))
	}
	return v
}

func newSummary(s prober.Summary) Summary {
	v := Summary{Attempts: s.Attempts, Outcomes: map[string]int{}, Stalled: s.Stalled, StalledBy: s.StalledBy, Retransmissions: s.Retransmissions}
	for o, n := range s.Outcomes {
		v.Outcomes[o.String()] = n
	}
	if n := len(s.RTTs); n > 0 {
		v.RTTMinNS, v.RTTMaxNS = ns(s.RTTs[0]), ns(s.RTTs[n-1])
		v.RTTMedianNS, v.RTTP99NS = ns(s.RTTs[n/2]), ns(s.RTTs[min(n-1, n*99/100)])
	}
	return v
}

func ns(d time.Duration) *int64 {
	n := int64(d)
	return &n
}

func newDiagnosis(d *diagnose.Diagnosis) Diagnosis {
	v := Diagnosis{Headline: d.Headline, Causes: []Finding{}}
	for i := range d.Causes {
		v.Causes = append(v.Causes, newFinding(&d.Causes[i]))
	}
	for i := range d.Notes {
		v.Notes = append(v.Notes, newFinding(&d.Notes[i]))
	}
	return v
}

func newFinding(f *diagnose.Finding) Finding {
	v := Finding{Verdict: string(f.Verdict), Level: f.Level.String(), Summary: f.Summary, Evidence: f.Evidence,
		Disproof: f.Disproof, Remedy: f.Remedy, Settle: f.Settle}
	if f.P > 0 {
		p := f.P
		v.P = &p
	}
	return v
}

// WriteJSON writes v as indented JSON.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// WriteLine writes v as one line of JSON.
func WriteLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON line: %w", err)
	}
	return nil
}
