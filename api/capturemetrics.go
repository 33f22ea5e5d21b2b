package api

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/prober"
)

// captureMetrics say how the capture fares: from the capture itself where it is known. Rounds tell what it lost while they lasted, which is the same
// frames again and again where they last at the same time.
type captureMetrics struct {
	frames, lost, inFlight *prometheus.Desc
	noted                  atomic.Uint64 // where there is no capture to ask
	capture                atomic.Pointer[func() prober.Capture]
}

func newCaptureMetrics() *captureMetrics {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &captureMetrics{
		frames:   d("vipprobe_capture_frames_total", "Frames that came to the capture, those that it lost included."),
		lost:     d("vipprobe_capture_dropped_frames_total", "Frames that the capture lost, its ring being full: rounds of that time judge no loss."),
		inFlight: d("vipprobe_schedule_syns_in_flight", "SYNs of scheduled rounds that may be answered yet."),
	}
}

// SetCapture has the capture's own figures told.
func (m *Metrics) SetCapture(capture func() prober.Capture) { m.drops.capture.Store(&capture) }

// note takes what the capture lost during a round.
func (c *captureMetrics) note(drops uint64) { c.noted.Add(drops) }

// Describe makes it an unchecked collector.
func (c *captureMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect tells the capture's figures, or else what rounds told.
func (c *captureMetrics) Collect(ch chan<- prometheus.Metric) {
	f := c.capture.Load()
	if f == nil {
		ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(c.noted.Load()))
		return
	}
	now := (*f)()
	ch <- prometheus.MustNewConstMetric(c.frames, prometheus.CounterValue, float64(now.Frames))
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(now.Drops))
	ch <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(now.InFlight))
}
