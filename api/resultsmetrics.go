package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/prober/results"
)

// resultsMetrics say how keeping results fares. What is dropped or thinned out is told here, never in silence.
type resultsMetrics struct {
	store *results.Store
	rec   *record.Recorder
}

// Describe makes it an unchecked collector.
func (resultsMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads the figures.
func (m resultsMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.store.Stats()
	emit := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		names, values := []string{}, []string{}
		for i := 0; i+1 < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
	}
	emit(prometheus.CounterValue, "vipprobe_results_taken_total", "Rounds and states of runs that were given to be kept and had room to wait.", float64(s.Added))
	emit(prometheus.CounterValue, "vipprobe_results_written_total", "Of these, what is kept.", float64(s.Written))
	emit(prometheus.CounterValue, "vipprobe_results_recovered_total", "Rounds and states of runs that a service which was killed had taken and not stored yet, and this one has stored.",
		float64(s.Recovered))
	const dropped = "What was given to be kept and is not: queue, more came than could be written; series, too many targets and addresses; error, it could not be written."
	for _, why := range results.Drops() {
		emit(prometheus.CounterValue, "vipprobe_results_dropped_total", dropped, float64(s.Dropped[why]), "reason", string(why))
	}
	const thinned = "Rounds that were worth a row and came too fast, so that they are kept in the history only (row), or are listed without all that was seen (detail)."
	for what, n := range m.rec.Thinned() {
		emit(prometheus.CounterValue, "vipprobe_results_thinned_total", thinned, float64(n), "what", string(what))
	}
	emit(prometheus.CounterValue, "vipprobe_results_batches_total", "Batches written.", float64(s.Batches))
	emit(prometheus.CounterValue, "vipprobe_results_batch_seconds_total", "Time that writing batches took.", s.BatchTime.Seconds())
	emit(prometheus.GaugeValue, "vipprobe_results_slowest_batch_seconds", "The longest time that a batch took to be written since the start.", s.Slowest.Seconds())
	emit(prometheus.CounterValue, "vipprobe_results_removed_rows_total", "Rows that age or size removed.", float64(s.Removed))
	emit(prometheus.GaugeValue, "vipprobe_results_queue_bytes", "What waits to be written.", float64(s.QueueBytes))
	emit(prometheus.GaugeValue, "vipprobe_results_size_bytes", "What is kept.", float64(s.Bytes))
}
