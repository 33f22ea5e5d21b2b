package main

import (
	"bytes"
	"context"
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// exported is what a scrape told, by name.
type exported map[string]*dto.MetricFamily

// metrics asks for all metrics.
func (rd *reader) metrics(ctx context.Context) (exported, error) {
	var b bytes.Buffer
	if err := rd.ask(ctx, "/metrics", nil, &b); err != nil {
		return nil, err
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(&b)
}

// sums adds a family's values up by a label; "": all are one.
func (e exported) sums(name, label string) map[string]float64 {
	out := map[string]float64{}
	f := e[name]
	if f == nil {
		return out
	}
	for _, m := range f.GetMetric() {
		key := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				key = l.GetValue()
			}
		}
		out[key] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return out
}

func (e exported) sum(name string) float64 { return e.sums(name, "")[""] }

// grown is by how much the sums grew, those that did not left out.
func grown(before, after map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, v := range after {
		if d := v - before[k]; d > 0 {
			out[k] = d
		}
	}
	return out
}

// tell puts what the service exported about the span into its row.
func (s *served) tell(before, after exported) {
	rise := func(name string) float64 { return after.sum(name) - before.sum(name) }
	s.Rounds = grown(before.sums("vipprobe_rounds_total", "result"), after.sums("vipprobe_rounds_total", "result"))
	s.Skipped = grown(before.sums("vipprobe_schedule_skipped_rounds_total", "reason"), after.sums("vipprobe_schedule_skipped_rounds_total", "reason"))
	s.Drops = rise("vipprobe_capture_dropped_frames_total")
	s.Local = after.sums("vipprobe_diagnosis", "verdict")["prober_local_drop"]
	s.Taken, s.Written, s.Dropped = rise("vipprobe_results_taken_total"), rise("vipprobe_results_written_total"), rise("vipprobe_results_dropped_total")
	s.SlowestBatch = time.Duration(after.sum("vipprobe_results_slowest_batch_seconds") * float64(time.Second))
	s.Lag = lagOf(before["vipprobe_schedule_lag_seconds"], after["vipprobe_schedule_lag_seconds"])
}

// lagged are quantiles of the schedule's lag: the upper edges of the buckets that they lie in, the last of which has none.
type lagged struct{ P50, P99, Most time.Duration }

func lagOf(before, after *dto.MetricFamily) (l lagged) {
	if after == nil || len(after.GetMetric()) == 0 {
		return l
	}
	earlier := map[float64]uint64{}
	if before != nil {
		for _, b := range before.GetMetric()[0].GetHistogram().GetBucket() {
			earlier[b.GetUpperBound()] = b.GetCumulativeCount()
		}
	}
	buckets := after.GetMetric()[0].GetHistogram().GetBucket()
	if len(buckets) == 0 {
		return l
	}
	last := buckets[len(buckets)-1]
	all := last.GetCumulativeCount() - earlier[last.GetUpperBound()]
	edge := func(q float64) time.Duration {
		rank := uint64(math.Ceil(q * float64(all)))
		for _, b := range buckets {
			if b.GetCumulativeCount()-earlier[b.GetUpperBound()] >= rank && !math.IsInf(b.GetUpperBound(), 1) {
				return time.Duration(b.GetUpperBound() * float64(time.Second))
			}
		}
		return math.MaxInt64
	}
	if all == 0 {
		return l
	}
	return lagged{edge(.5), edge(.99), edge(1)}
}
