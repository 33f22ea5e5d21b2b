package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/results"
)

// History is what became of a target's connections over time, by columns: the n-th values of the columns belong together. It is what a page
// draws, so what is not known is null in a column.
type History struct {
	Series  []HistorySeries `json:"series"`
	Buckets HistoryBuckets  `json:"buckets"`
	Points  HistoryPoints   `json:"points"`
}

// HistorySeries is what points belong to.
type HistorySeries struct {
	Job    string            `json:"job,omitempty"`
	Module string            `json:"module"`
	Target string            `json:"target"`
	Addr   string            `json:"addr,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// HistoryBuckets add up all series, a row for each step in which something was done.
type HistoryBuckets struct {
	StepSeconds     int64    `json:"step_s"`
	At              []int64  `json:"at_ms" doc:"when the step begins, ms since 1970"`
	Rounds          []uint64 `json:"rounds"`
	Failed          []uint64 `json:"failed" doc:"rounds without success"`
	Errors          []uint64 `json:"errors" doc:"of these, where nothing could be probed"`
	Attempts        []uint64 `json:"attempts"`
	Accepted        []uint64 `json:"accepted"`
	Stalled         []uint64 `json:"stalled"`
	Retransmissions []uint64 `json:"retransmissions"`
	CaptureDrops    []uint64 `json:"capture_drops"`
	MinUS           []*int64 `json:"min_us" doc:"handshakes of accepted connections, from the first SYN, µs; exact"`
	MedianUS        []*int64 `json:"median_us" doc:"within 3.2 %"`
	P90US           []*int64 `json:"p90_us" doc:"within 3.2 %"`
	P99US           []*int64 `json:"p99_us" doc:"within 3.2 %"`
	MaxUS           []*int64 `json:"max_us" doc:"exact"`
}

// HistoryPoints are single connections in order of time.
type HistoryPoints struct {
	More bool `json:"more" doc:"there were more connections in the time asked for: these are the newest"`
	// Names say what the numbers of Outcome mean.
	Names       []string `json:"outcomes" doc:"the names of the numbers in outcome"`
	At          []int64  `json:"at_ms" doc:"when the first SYN left, ms since 1970"`
	HandshakeUS []int64  `json:"handshake_us" doc:"from the first SYN to the answer, µs; 0: not known"`
	Outcome     []int    `json:"outcome" doc:"an index of outcomes"`
	Lost        []int    `json:"lost_syns" doc:"7: seven or more"`
	Stalled     []int    `json:"stalled" doc:"1: accepted only after a retransmission timeout"`
	Series      []int    `json:"series" doc:"an index of series"`
}

// NewHistory converts a history that was asked for with a step.
func NewHistory(h *results.History, step time.Duration) History {
	v := History{Series: make([]HistorySeries, 0, len(h.Series)), Buckets: newBuckets(h.Buckets, step), Points: newPoints(h)}
	for i := range h.Series {
		s := &h.Series[i]
		v.Series = append(v.Series, HistorySeries{Job: s.Job, Module: s.Module, Target: s.Target, Addr: s.Addr, Labels: s.Labels})
	}
	return v
}

func newBuckets(buckets []results.Bucket, step time.Duration) HistoryBuckets {
	n := len(buckets)
	v := HistoryBuckets{StepSeconds: int64(step / time.Second), At: make([]int64, n)}
	counts := []*[]uint64{&v.Rounds, &v.Failed, &v.Errors, &v.Attempts, &v.Accepted, &v.Stalled, &v.Retransmissions, &v.CaptureDrops}
	for _, c := range counts {
		*c = make([]uint64, n)
	}
	quantiles := map[float64]*[]*int64{0: &v.MinUS, 0.5: &v.MedianUS, 0.9: &v.P90US, 0.99: &v.P99US, 1: &v.MaxUS}
	for _, c := range quantiles {
		*c = make([]*int64, n)
	}
	for i := range buckets {
		f := &buckets[i].Figures
		v.At[i] = buckets[i].At.UnixMilli()
		for k, x := range []uint64{f.Rounds, f.Failed, f.Errors, f.Attempts, f.Outcomes[observe.Accepted], f.Stalled, f.Retransmissions, f.CaptureDrops} {
			(*counts[k])[i] = x
		}
		for q, c := range quantiles {
			if d, ok := f.Handshakes.Quantile(q); ok {
				us := d.Microseconds()
				(*c)[i] = &us
			}
		}
	}
	return v
}

func newPoints(h *results.History) HistoryPoints {
	n := len(h.Dots)
	v := HistoryPoints{More: h.More, At: make([]int64, n), HandshakeUS: make([]int64, n), Outcome: make([]int, n), Lost: make([]int, n), Stalled: make([]int, n),
		Series: make([]int, n), Names: []string{observe.OutcomeUnknown.String()}}
	for _, o := range observe.Outcomes() {
		v.Names = append(v.Names, o.String())
	}
	for i := range h.Dots {
		d := &h.Dots[i]
		v.At[i], v.HandshakeUS[i], v.Outcome[i], v.Lost[i], v.Series[i] = d.At.UnixMilli(), d.Handshake.Microseconds(), int(d.Outcome), d.Lost, d.Series
		if d.Stalled {
			v.Stalled[i] = 1
		}
	}
	return v
}
