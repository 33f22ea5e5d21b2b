package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// WatchCollector shows a host's own counters as metrics. Its series are bounded: the counters that testimony knows, for each place, and
// at most as many peers as the watch names. Each collection takes a reading. It is safe for concurrent use where read is.
type WatchCollector struct {
	read                                      func() []watch.Reading
	up, counter, sockets, tracked             *prometheus.Desc
	trackedMost, connections, peer, standsOut *prometheus.Desc
}

var _ prometheus.Collector = (*WatchCollector)(nil)

// NewWatchCollector makes a collector that takes its readings from read.
func NewWatchCollector(read func() []watch.Reading) *WatchCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"place"}, labels...), nil)
	}
	return &WatchCollector{
		read:        read,
		up:          d("vipprobe_host_up", "Whether the place's counters could be read."),
		counter:     d("vipprobe_host_kernel_total", "The kernel's own counters, those that speak for or against a fault, by their name and what they are about.", "counter", "topic"),
		sockets:     d("vipprobe_host_sockets", "Sockets of the place by protocol and state, as /proc/net/sockstat has them.", "protocol", "state"),
		tracked:     d("vipprobe_host_conntrack_entries", "Connections that the place's NAT and filters keep track of."),
		trackedMost: d("vipprobe_host_conntrack_entries_limit", "The most that it may keep track of (nf_conntrack_max)."),
		connections: d("vipprobe_host_connections", "TCP connections of the place that can send data."),
		peer:        d("vipprobe_host_peer_retransmitted_segments_total", "Segments sent again to a peer since the watch began; of the peers with the most.", "peer"),
		standsOut:   d("vipprobe_host_peer_stands_out", "Whether a peer's connections repeat, or reorder, more than chance and the others explain.", "peer", "what"),
	}
}

// Describe sends what Collect may send.
func (c *WatchCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.counter, c.sockets, c.tracked, c.trackedMost, c.connections, c.peer, c.standsOut} {
		ch <- d
	}
}

// Collect takes a reading of each place and sends it.
func (c *WatchCollector) Collect(ch chan<- prometheus.Metric) {
	readings := c.read()
	counters := testimony.Counters()
	for i := range readings {
		c.place(ch, &readings[i], counters)
	}
}

func (c *WatchCollector) place(ch chan<- prometheus.Metric, r *watch.Reading, counters []testimony.Counter) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, append([]string{r.Place}, labels...)...)
	}
	if r.Err != nil {
		send(c.up, prometheus.GaugeValue, 0)
		return
	}
	send(c.up, prometheus.GaugeValue, 1)
	for i := range counters {
		if v, ok := r.Values[counters[i].Name]; ok {
			send(c.counter, prometheus.CounterValue, float64(uint64(v)), counters[i].Name, counters[i].Topic.String())
		}
	}
	for _, g := range r.Sockets() {
		send(c.sockets, prometheus.GaugeValue, float64(g.N), g.Protocol, g.State)
	}
	for name, desc := range map[string]*prometheus.Desc{"nf_conntrack.count": c.tracked, "nf_conntrack.max": c.trackedMost} {
		if v, ok := r.Values[name]; ok {
			send(desc, prometheus.GaugeValue, float64(v))
		}
	}
	if r.PeersWhole == nil {
		return
	}
	send(c.connections, prometheus.GaugeValue, float64(r.PeersWhole.Open))
	for i := range r.PeersWhole.Peers {
		p := &r.PeersWhole.Peers[i]
		send(c.peer, prometheus.CounterValue, float64(p.Retransmitted), p.Addr.String())
		send(c.standsOut, prometheus.GaugeValue, truth(p.Repeats.StandsOut), p.Addr.String(), "repeats")
		send(c.standsOut, prometheus.GaugeValue, truth(p.Reorders.StandsOut), p.Addr.String(), "reordering")
	}
}
