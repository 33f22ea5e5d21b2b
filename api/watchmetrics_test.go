package api

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"github.com/vipprobe/vipprobe/prober/peers"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// TestWatchMetrics holds what a scrape of a watched host shows: counters as they stand, unknown ones left out, peers by what they had sent
// again, and a place that cannot be read as down.
func TestWatchMetrics(t *testing.T) {
	report := &peers.Report{Churn: peers.Churn{Open: 7}, Peers: []peers.Peer{
		{Addr: netip.MustParseAddr("2001:db8::1"), Figures: peers.Figures{Retransmitted: 90}, Repeats: peers.Test{StandsOut: true}},
	}}
	readings := []watch.Reading{
		{Place: "host", PeersWhole: report, Values: map[string]int64{
			"TcpExt.ListenDrops": 12, "TcpExt.PAWSPassive": 0, "TcpExt.NotKnownHere": 5, "sockstat.TCP.tw": 3, "sockstat.TCP.mem": 9,
			"nf_conntrack.count": 4, "nf_conntrack.max": 100, "Tcp.OutSegs": -616, // 2⁶⁴−616
		}},
		{Place: "pid 4711", Err: errors.New("it has ended")},
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewWatchCollector(func() []watch.Reading { return readings }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	for series, want := range map[string]string{
		`vipprobe_host_up{place="host"}`: "1", `vipprobe_host_up{place="pid 4711"}`: "0",
		`vipprobe_host_kernel_total{counter="TcpExt.ListenDrops",place="host",topic="listeners"}`:     "12",
		`vipprobe_host_kernel_total{counter="TcpExt.PAWSPassive",place="host",topic="timestamps"}`:    "0",
		`vipprobe_host_kernel_total{counter="TcpExt.NotKnownHere",place="host",topic="unknown"}`:      "",
		`vipprobe_host_kernel_total{counter="Tcp.OutSegs",place="host",topic="traffic"}`:              "1.8446744073709552e+19",
		`vipprobe_host_sockets{place="host",protocol="TCP",state="tw"}`:                               "3",
		`vipprobe_host_sockets{place="host",protocol="TCP",state="mem"}`:                              "",
		`vipprobe_host_conntrack_entries{place="host"}`:                                               "4",
		`vipprobe_host_conntrack_entries_limit{place="host"}`:                                         "100",
		`vipprobe_host_connections{place="host"}`:                                                     "7",
		`vipprobe_host_peer_retransmitted_segments_total{peer="2001:db8::1",place="host"}`:            "90",
		`vipprobe_host_peer_stands_out{peer="2001:db8::1",place="host",what="repeats"}`:               "1",
		`vipprobe_host_peer_stands_out{peer="2001:db8::1",place="host",what="reordering"}`:            "0",
		`vipprobe_host_kernel_total{counter="TcpExt.ListenDrops",place="pid 4711",topic="listeners"}`: "",
	} {
		if got := value(b.String(), series); got != want {
			t.Errorf("%s = %q, want %q", series, got, want)
		}
	}
	problems, err := promlint.New(strings.NewReader(b.String())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}
