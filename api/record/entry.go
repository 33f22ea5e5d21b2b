package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// entryOf is what is kept of a round: everything but the round itself and its frames.
func entryOf(r *prober.Round, job string, labels map[string]string, origin results.Origin) results.Entry {
	e := results.Entry{Round: results.Round{
		Key:    results.Key{Job: job, Module: r.Module, Target: r.Target},
		Labels: labels, Origin: origin, Member: r.Member, Started: r.Started, Duration: r.Duration, Success: r.Success && r.Err == nil, Why: r.Why,
		Headline: r.Diagnosis.Headline,
	}}
	if e.Started.IsZero() { // it never began
		e.Started = time.Now()
	}
	if r.Addr.IsValid() {
		e.Addr = r.Addr.String()
	}
	e.Figures.Rounds = 1
	if !e.Success {
		e.Figures.Failed = 1
	}
	if r.Err != nil {
		e.Error, e.ErrorKind, e.Figures.Errors = r.Err.Error(), string(view.KindOf(r.Err)), 1
		return e
	}
	for i := range r.Diagnosis.Causes {
		c := &r.Diagnosis.Causes[i]
		e.Causes = append(e.Causes, results.Cause{Verdict: string(c.Verdict), Level: c.Level.String()})
	}
	connections(r, &e)
	if len(r.Reasoning) > 0 { // experiments on what is ill already would pass for its everyday
		e.Points, e.Figures = nil, minute.Figures{}
	}
	return e
}

// healthyEntry is what is kept of a round in which every connection was accepted at once. When each began is not known, only that they did
// together.
func healthyEntry(h *prober.Healthy) results.Entry {
	e := results.Entry{Round: results.Round{Key: results.Key{Target: h.Target, Addr: h.Addr.String()}, Origin: results.Scheduled, Started: h.Started, Duration: h.Duration,
		Success: true, Attempts: h.Connections}}
	into := h.Started.Sub(h.Started.Truncate(time.Minute))
	e.Points = make([]minute.Point, h.Connections)
	for i := range e.Points {
		e.Points[i] = minute.Point{At: into, Outcome: observe.Accepted}
		if i < len(h.RTTs) {
			e.Points[i].Handshake = h.RTTs[i]
		}
		e.Figures.Note(&e.Points[i])
	}
	e.Figures.Rounds = 1
	return e
}

// connections are the round's points and figures.
func connections(r *prober.Round, e *results.Entry) {
	begin := e.Started.Truncate(time.Minute)
	attempts := r.Connections()
	e.Points = make([]minute.Point, 0, len(attempts))
	for _, a := range attempts {
		p := minute.Point{At: sent(a, r.Started).Sub(begin), Handshake: a.Handshake, Outcome: a.Outcome, Stalled: a.Stalled()}
		if p.Stalled {
			p.Lost = max(1, a.Lost, a.Retransmissions)
		}
		e.Points = append(e.Points, p)
		e.Figures.Note(&p)
		e.Figures.Retransmissions += uint64(max(0, a.Retransmissions))
	}
	slices.SortStableFunc(e.Points, func(a, b minute.Point) int { return int(a.At - b.At) })
	for i := range r.Observations {
		e.Figures.CaptureDrops += uint64(r.Observations[i].CaptureDrops)
	}
	e.Attempts, e.Stalled = int(e.Figures.Attempts), int(e.Figures.Stalled)
}

// sent is when an attempt's first SYN left, as far as that is known.
func sent(a *observe.Attempt, otherwise time.Time) time.Time {
	switch {
	case len(a.SYNs) > 0 && !a.SYNs[0].At.IsZero():
		return a.SYNs[0].At
	case a.Kernel != nil && !a.Kernel.Started.IsZero():
		return a.Kernel.Started
	}
	return otherwise
}

// remarkable reports whether a round is worth a row: it failed, stalled, or names a cause.
func remarkable(e *results.Entry) bool {
	return !e.Success || e.Stalled > 0 || slices.ContainsFunc(e.Causes, func(c results.Cause) bool { return c.Verdict != string(diagnose.Healthy) })
}

// errBound stops a capture that becomes too large.
var errBound = errors.New("more than is kept of one capture")

// bounded is a buffer that takes up to left octets.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errBound
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

// maxCapture bounds the capture of one round, in octets: some 40,000 frames without payload.
const maxCapture = 8 << 20

// whole is the round as JSON, and its frames where it recorded any. The round may be in other hands at the same time: what is numbered is a
// copy.
func whole(r *prober.Round, origin evidence.Origin) (content, frames []byte, err error) {
	own := *r
	own.Observations = slices.Clone(r.Observations)
	recorded := false
	for i := range own.Observations {
		if tape := own.Observations[i].Recorded; tape != nil {
			t := *tape
			t.Frames = slices.Clone(tape.Frames)
			own.Observations[i].Recorded, recorded = &t, recorded || len(t.Frames) > 0
		}
	}
	if recorded {
		stored := prober.Store([]prober.Round{own})
		evidence.Number(stored)
		b := &bounded{left: maxCapture}
		if err := evidence.WriteCapture(b, origin, stored); err != nil {
			return nil, nil, fmt.Errorf("capture of %s: %w", r.Target, err)
		}
		frames = b.Bytes()
	}
	content, err = json.Marshal(view.NewRound(&own))
	if err != nil {
		return nil, nil, fmt.Errorf("round of %s as JSON: %w", r.Target, err)
	}
	return content, frames, nil
}
