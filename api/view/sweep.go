package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/sweep"
)

// SweepTarget is what one target of a sweep came to.
type SweepTarget struct {
	Target string `json:"target"`
	// Outcome is that of all its SYNs (accepted, refused, timed_out, unreachable, not_sent, local_drop), "mixed" where they differ, or "unknown"
	// where the capture lost frames or the sweep was cut short.
	Outcome string `json:"outcome"`
	// Stalled are those of the accepted that were answered only after their SYN had been sent again, or after a second and more.
	Stalled int `json:"stalled"`
	Shots   int `json:"shots"`
	SYNs    int `json:"syns"`
	// Counts are the shots by their outcome.
	Counts map[string]int `json:"counts,omitempty"`
	// MinNs and MaxNs are the shortest and the longest time from a first SYN to its answer.
	MinNs int64 `json:"min_ns,omitempty"`
	MaxNs int64 `json:"max_ns,omitempty"`
	// Reason says more where the outcome alone does not: an ICMP error's name, why nothing was sent.
	Reason string `json:"reason,omitempty"`
}

// The outcomes that are no single connection's.
const (
	outcomeMixed   = "mixed"
	outcomeUnknown = "unknown"
)

// NewSweepTarget converts a target whose probes are all over.
func NewSweepTarget(t *sweep.Target) SweepTarget {
	v := SweepTarget{Target: t.Dst.String(), Stalled: t.Stalled, Shots: t.Probes, SYNs: t.SYNs, MinNs: int64(t.Least), MaxNs: int64(t.Most),
		Reason: t.Why, Counts: map[string]int{}}
	for state, n := range t.By {
		if n > 0 {
			v.Counts[outcomeOf(sweep.State(state))] += n
		}
	}
	v.Outcome = outcomeMixed
	switch t.Outcome() {
	case sweep.OutcomeUnknown:
		v.Outcome = outcomeUnknown
	case sweep.Unsent:
		v.Outcome = observe.NotSent.String()
		if t.By[sweep.NotSent] == 0 {
			v.Outcome = observe.LocalDrop.String()
		}
	case sweep.Answers, sweep.Stalls, sweep.Refuses, sweep.Quiet, sweep.Unreached:
		for word := range v.Counts {
			v.Outcome = word
		}
	case sweep.Mixed:
	}
	return v
}

// outcomeOf is the word that a connection's outcome has on every face.
func outcomeOf(s sweep.State) string {
	switch s {
	case sweep.Accepted:
		return observe.Accepted.String()
	case sweep.Refused:
		return observe.Refused.String()
	case sweep.Unreachable:
		return observe.Unreachable.String()
	case sweep.NotSent:
		return observe.NotSent.String()
	case sweep.Silent:
		return observe.TimedOut.String()
	case sweep.Dropped:
		return observe.LocalDrop.String()
	case sweep.StateUnknown, sweep.Pending, sweep.Unseen:
	}
	return outcomeUnknown
}

// SweepSummary is what a sweep came to.
type SweepSummary struct {
	Started  *time.Time `json:"started,omitempty"` // absent where nothing was sent
	Finished *time.Time `json:"finished,omitempty"`
	Targets  int        `json:"targets"`
	SYNs     int        `json:"syns"`
	// Outcomes counts the targets by their outcome; those that stall are among the accepted.
	Outcomes map[string]int `json:"outcomes"`
	Stalled  int            `json:"stalled"`
	// Handshakes are those of connections that were accepted and did not stall.
	Handshakes *SweepTimes `json:"handshakes,omitempty"`
	// CaptureDrops are frames that the capture lost: targets without an answer at that time are unknown.
	CaptureDrops uint64            `json:"capture_drops"`
	Ignored      map[string]uint64 `json:"ignored,omitempty"` // frames that were no first answer, by what was done with them
	Interrupted  bool              `json:"interrupted"`
	Error        string            `json:"error,omitempty"` // why not all was sent
}

// SweepTimes are quantiles.
type SweepTimes struct {
	N     int   `json:"n"`
	MinNs int64 `json:"min_ns"`
	P50Ns int64 `json:"p50_ns"`
	P90Ns int64 `json:"p90_ns"`
	P99Ns int64 `json:"p99_ns"`
	MaxNs int64 `json:"max_ns"`
}

// NewSweepTimes converts quantiles; nil where there is nothing.
func NewSweepTimes(t sweep.Times) *SweepTimes {
	if t.Timed == 0 {
		return nil
	}
	return &SweepTimes{t.Timed, int64(t.Least), int64(t.P50), int64(t.P90), int64(t.P99), int64(t.Most)}
}

// NewSweepSummary converts what a sweep came to; r is nil where nothing was sent.
func NewSweepSummary(t *sweep.Tally, r *prober.SweepReport) SweepSummary {
	v := SweepSummary{Targets: t.Targets, SYNs: t.SYNs, Outcomes: map[string]int{}, Stalled: t.By[sweep.Stalls], Handshakes: NewSweepTimes(t.Times())}
	words := map[sweep.Outcome]string{sweep.Stalls: observe.Accepted.String(), sweep.Answers: observe.Accepted.String(), sweep.Mixed: outcomeMixed,
		sweep.Quiet: observe.TimedOut.String(), sweep.Unreached: observe.Unreachable.String(), sweep.Refuses: observe.Refused.String(),
		sweep.Unsent: observe.NotSent.String(), sweep.OutcomeUnknown: outcomeUnknown}
	for o, word := range words {
		if n := t.By[o]; n > 0 {
			v.Outcomes[word] += n
		}
	}
	if r != nil {
		v.Started, v.Finished, v.CaptureDrops, v.Ignored = when(r.Started), when(r.Finished), r.CaptureDrops, r.Ignored
	}
	return v
}
