package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/targets/discovery"
)

// discoveryMetrics tell how targets are found. Their series are bounded by the jobs of the configuration.
type discoveryMetrics struct{ from *discovery.Discovery }

var _ prometheus.Collector = discoveryMetrics{}

func (discoveryMetrics) descs() (found, dropped, waiting, failures *prometheus.Desc) {
	d := prometheus.NewDesc
	return d("vipprobe_discovery_targets", "Targets of a job after relabelling, those of other shards included.", []string{"job_name"}, nil),
		d("vipprobe_discovery_dropped_targets", "What was found of a job and is not probed, and why.", []string{"job_name", "reason"}, nil),
		d("vipprobe_discovery_waiting_blocks", "Discovery blocks of a job that have found nothing yet since they began.", []string{"job_name"}, nil),
		d("vipprobe_discovery_failures_total", "What a job's discovery could not read or ask, by mechanism.", []string{"job_name", "mechanism"}, nil)
}

// Describe implements prometheus.Collector.
func (m discoveryMetrics) Describe(ch chan<- *prometheus.Desc) {
	found, dropped, waiting, failures := m.descs()
	for _, d := range []*prometheus.Desc{found, dropped, waiting, failures} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m discoveryMetrics) Collect(ch chan<- prometheus.Metric) {
	found, dropped, waiting, failures := m.descs()
	for _, c := range m.from.Counts() {
		gauge := func(d *prometheus.Desc, n int, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), append([]string{c.Job}, labels...)...)
		}
		gauge(found, c.Targets)
		gauge(waiting, c.Waiting)
		for _, r := range discovery.Reasons() {
			gauge(dropped, c.Dropped[r], string(r))
		}
		for mechanism, n := range c.Failures {
			ch <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(n), c.Job, mechanism)
		}
	}
}
