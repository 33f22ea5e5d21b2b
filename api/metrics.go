package api

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// MetricsOptions shape the service's own metrics.
type MetricsOptions struct {
	Version, Revision string
	// Detail is how much is kept of each target; "": targets.DetailTarget. SetDetail changes it.
	Detail targets.Detail
}

// Metrics are the service's own: what the scheduled rounds gave, how the schedule keeps time, what the requests were. It is one
// collector, whose size is bounded by the configuration: at most eight series a target, histograms only for each job and module.
// It is safe for concurrent use.
type Metrics struct {
	build          prometheus.Gauge
	reloaded       prometheus.Gauge
	reloadedAt     prometheus.Gauge
	handshake      *prometheus.HistogramVec
	neighbor       *prometheus.HistogramVec
	rounds         *prometheus.CounterVec
	lag            prometheus.Histogram
	skipped        *prometheus.CounterVec
	diagnoses      *prometheus.CounterVec
	drops          *captureMetrics
	requests       *prometheus.CounterVec
	unknownModules prometheus.Counter

	desc targetDescs
	mu   sync.Mutex
	// detail, series and jobs (the names seen) are guarded by mu.
	detail targets.Detail
	series map[seriesKey]*targetSeries
	jobs   map[string]bool
}

var (
	_ prometheus.Collector = (*Metrics)(nil)
	_ prober.Sink          = (*Metrics)(nil)
)

// NewMetrics makes the metrics of one process.
func NewMetrics(o MetricsOptions) *Metrics {
	if o.Detail == "" {
		o.Detail = targets.DetailTarget
	}
	m := &Metrics{
		build: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vipprobe_build_info", Help: "Always 1; the labels say what was built.",
			ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()},
		}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vipprobe_config_last_reload_successful", Help: "Whether the last attempt to load the configuration succeeded.",
		}),
		reloadedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vipprobe_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was loaded, in Unix time.",
		}),
		rounds:    counters("vipprobe_rounds_total", "Scheduled rounds by result: success, failure, or error where nothing could be probed.", "job_name", "module", "result"),
		skipped:   counters("vipprobe_schedule_skipped_rounds_total", "Scheduled rounds that were left out: running, the one before still ran; overload, it waited a whole interval for its turn, or its time was over before a packet could be sent; primed, a diagnosis primed the target and its probes are paused; budget, a limit did not permit it; ports, no source port was fresh; maintenance, it fell into a window.", "job_name", "reason"),
		diagnoses: counters("vipprobe_diagnoses_total", "Diagnoses that scheduled rounds called for.", "job_name", "module"),
		drops:     newCaptureMetrics(),
		requests:  counters("vipprobe_probe_requests_total", "Requests to /probe by the status they were answered with.", "code"),
		unknownModules: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vipprobe_module_unknown_total", Help: "Requests to /probe for a module that does not exist.",
		}),
		desc: newTargetDescs(), detail: o.Detail, series: map[seriesKey]*targetSeries{}, jobs: map[string]bool{},
	}
	m.newHistograms()
	m.build.Set(1)
	for _, code := range []string{"200", "400", "403", "429", "500", "503"} {
		m.requests.WithLabelValues(code)
	}
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (m *Metrics) newHistograms() {
	const (
		factor  = 1.1 // native buckets: 7 a doubling
		buckets = 160
		reset   = time.Hour
	)
	m.handshake = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "vipprobe_handshake_duration_seconds",
		Help:    "From the first SYN to the answer of accepted connections in scheduled rounds; the classic buckets bracket the stalls of 1, 2, 3 and 7 s.",
		Buckets: stallBuckets(), NativeHistogramBucketFactor: factor, NativeHistogramMaxBucketNumber: buckets, NativeHistogramMinResetDuration: reset,
	}, []string{"job_name", "module"})
	m.neighbor = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "vipprobe_neighbor_answer_seconds",
		Help:    "How long answers to this host's questions for link addresses took in scheduled rounds, from the first request; a kernel repeats it each second.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, .99, 1.99, 2.99}, NativeHistogramBucketFactor: factor,
		NativeHistogramMaxBucketNumber: buckets, NativeHistogramMinResetDuration: reset,
	}, []string{"job_name", "module"})
	m.lag = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vipprobe_schedule_lag_seconds", Help: "How much later than planned scheduled rounds began.",
		Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor: factor, NativeHistogramMaxBucketNumber: buckets, NativeHistogramMinResetDuration: reset,
	})
}

// Observe takes the rounds of one scheduled probe. Labels are the job's own.
func (m *Metrics) Observe(job, module string, labels map[string]string, rounds []prober.Round) {
	handshakes := m.handshake.WithLabelValues(job, module)
	for i := range rounds {
		r := &rounds[i]
		f := newFigures(prober.Module{Kind: r.Kind}, rounds[i:i+1], nil, r.Duration)
		for _, h := range f.handshakes {
			handshakes.Observe(h.Seconds())
		}
		for _, a := range f.answers {
			m.neighbor.WithLabelValues(job, module).Observe(a.Seconds())
		}
		m.drops.note(f.drops)
		m.rounds.WithLabelValues(job, module, resultOf(r)).Inc()
		again := slices.ContainsFunc(rounds[:i], func(x prober.Round) bool { return x.Target == r.Target })
		m.note(job, labels, r, f, again)
	}
}

// Healthy takes a scheduled round of which only its round trips were kept.
func (m *Metrics) Healthy(job, module string, labels map[string]string, h *prober.Healthy) {
	handshakes := m.handshake.WithLabelValues(job, module)
	for _, rtt := range h.RTTs {
		handshakes.Observe(rtt.Seconds())
	}
	m.rounds.WithLabelValues(job, module, "success").Inc()
	m.noteHealthy(job, labels, h)
}

// Diagnosed takes what a diagnosis found that a scheduled round called for.
func (m *Metrics) Diagnosed(job, module string, labels map[string]string, target string, found []prober.Round) {
	m.diagnoses.WithLabelValues(job, module).Inc()
	m.noteDiagnosis(job, labels, target, found)
}

func resultOf(r *prober.Round) string {
	switch {
	case r.Err != nil:
		return "error"
	case r.Success:
		return "success"
	}
	return "failure"
}

// Fail takes a scheduled probe that gave no round at all: what its target showed before says nothing of now.
func (m *Metrics) Fail(job, module, target string, labels map[string]string) {
	m.rounds.WithLabelValues(job, module, "error").Inc()
	m.fail(job, target, labels)
}

// Lag takes how much later than planned a scheduled round began.
func (m *Metrics) Lag(d time.Duration) { m.lag.Observe(max(0, d).Seconds()) }

// Skipped takes a scheduled round that was left out.
func (m *Metrics) Skipped(job string, why prober.Skip) {
	m.skipped.WithLabelValues(job, string(why)).Inc()
}

// Reloaded takes the result of loading the configuration, the first time included.
func (m *Metrics) Reloaded(at time.Time, err error) {
	m.reloaded.Set(truth(err == nil))
	if err == nil {
		m.reloadedAt.Set(float64(at.UnixNano()) / 1e9)
	}
}

// Describe makes Metrics an unchecked collector: the labels of the targets' series are those of their jobs.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect streams every series.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{
		m.build, m.reloaded, m.reloadedAt, m.handshake, m.neighbor, m.rounds, m.lag, m.skipped, m.diagnoses, m.drops, m.requests, m.unknownModules,
	} {
		c.Collect(ch)
	}
	m.collectTargets(ch)
}
