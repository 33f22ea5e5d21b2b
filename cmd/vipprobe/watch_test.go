package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/peers"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// incident is incident 002 as its server saw it: each SYN that was dropped had an older timestamp.
func incident() (first, second watch.Reading) {
	at := time.Date(2026, 3, 4, 15, 4, 5, 0, time.UTC)
	interval := map[string]int64{"TcpExt.PAWSPassive": 24, "TcpExt.ListenDrops": 24, "TcpExt.TWKilled": 31, "Tcp.PassiveOpens": 120, "Tcp.InSegs": 1400}
	whole := map[string]int64{
		"TcpExt.PAWSPassive": 293, "TcpExt.ListenDrops": 293, "TcpExt.TWKilled": 310, "Tcp.PassiveOpens": 1180, "Tcp.InSegs": 14210,
		"TcpExt.TCPLossProbes": 3, "arp_cache.unresolved_discards": 2, "TcpExt.SomethingNew": 9,
	}
	first = watch.Reading{Place: "pid 4711", Kernel: "3.10.0", At: at, Values: map[string]int64{"Tcp.InSegs": 1}}
	second = watch.Reading{
		Place: "pid 4711", Kernel: "3.10.0", At: at.Add(12 * time.Second), Span: time.Second, Since: 12 * time.Second,
		Interval: interval, Whole: whole, Missing: []string{"stat/ndisc_cache: no such file or directory"},
	}
	return first, second
}

func retransmitting() *peers.Report {
	r := &peers.Report{
		Churn: peers.Churn{Open: 25000, New: 12, Ended: 9}, Alpha: peers.Alpha, Others: 37,
		Total: peers.Figures{Connections: 25000, Segments: 1200000, Retransmitted: 10030, Repeating: 812},
	}
	for i, addr := range []string{"192.0.2.17", "2001:db8:10::1234:5678", "198.51.100.9"} {
		p := peers.Peer{Addr: netip.MustParseAddr(addr), Share: 0.45 / float64(i+1), Figures: peers.Figures{
			Connections: 200 - 60*i, Repeating: 180 - 60*i, Segments: 90000, Retransmitted: uint64(4500 / (i + 1)), Reorderings: uint64(3000 / (i*i + 1)), Distance: uint32(24 - i),
		}}
		p.Repeats, p.Reorders = peers.Test{P: 1e-30, StandsOut: i < 2}, peers.Test{P: 3e-7, StandsOut: i == 0}
		if i == 2 {
			p.Repeats, p.Reorders = peers.Test{P: 0.3}, peers.Test{P: 1}
		}
		r.Peers = append(r.Peers, p)
	}
	return r
}

// watchStories are what a watching person may be shown, by the name of the golden file.
func watchStories() map[string]func(*printer) error {
	show := func(p *printer, s *watchSink, readings ...[]watch.Reading) error {
		s.p, s.flags.output = p, "table"
		for _, r := range readings {
			if err := s.interval(r); err != nil {
				return err
			}
		}
		return s.finish(s.last)
	}
	first, second := incident()
	other := second
	other.Place, other.Whole = "/proc/4712/ns/net", map[string]int64{"Tcp.RetransSegs": 120, "TcpExt.TCPFastRetrans": 110, "arp_cache.unresolved_discards": 2, "Tcp.PassiveOpens": 1100}
	other.Interval = map[string]int64{"Tcp.RetransSegs": 12, "TcpExt.TCPFastRetrans": 11, "Tcp.PassiveOpens": 100}
	crowd := second
	crowd.Place, crowd.Peers, crowd.PeersWhole = watch.Host, retransmitting(), retransmitting()
	crowd.Interval = map[string]int64{"Tcp.RetransSegs": 12030, "TcpExt.TCPFastRetrans": 9000, "TcpExt.TCPDSACKRecv": 5000, "TcpExt.TCPSACKReorder": 3000, "Tcp.OutSegs": 1190000}
	crowd.Whole = crowd.Interval
	quiet := second
	quiet.Interval, quiet.Whole = map[string]int64{}, map[string]int64{}
	lost := second
	lost.Err, lost.Reset = errors.New("read kernel counters below /proc/4711: netstat: no such process"), []string{"TcpExt.ListenDrops"}
	settings := []map[string]string{
		{"net.ipv4.tcp_reordering": "6", "net.ipv4.tcp_congestion_control": "bbr", "net.ipv4.tcp_fack": "1", "net.ipv4.tcp_tw_recycle": "1"},
		{"net.ipv4.tcp_reordering": "3", "net.ipv4.tcp_congestion_control": "cubic", "net.ipv4.tcp_fack": "0"},
	}
	return map[string]func(*printer) error{
		"watch": func(p *printer) error {
			return show(p, &watchSink{flags: &watchFlags{all: true}}, []watch.Reading{first}, []watch.Reading{second}, []watch.Reading{second})
		},
		"watch-screen": func(p *printer) error {
			q := &watchSink{flags: &watchFlags{}, live: true}
			p.watchScreen(q, []watch.Reading{second})
			p.f("\n")
			return p.err
		},
		"watch-narrow": func(p *printer) error {
			p.width = 72
			return show(p, &watchSink{flags: &watchFlags{}}, []watch.Reading{first}, []watch.Reading{crowd})
		},
		"watch-peers": func(p *printer) error {
			return show(p, &watchSink{flags: &watchFlags{}}, []watch.Reading{first}, []watch.Reading{crowd})
		},
		"watch-nothing": func(p *printer) error {
			return errors.Join(show(p, &watchSink{flags: &watchFlags{}}, []watch.Reading{first}, []watch.Reading{quiet}),
				show(p, &watchSink{flags: &watchFlags{}}, []watch.Reading{first}, []watch.Reading{lost}))
		},
		"watch-compare": func(p *printer) error {
			return show(p, &watchSink{flags: &watchFlags{compare: true}, settings: settings}, []watch.Reading{first, other}, []watch.Reading{second, other})
		},
	}
}

func TestCutToScreen(t *testing.T) {
	text := strings.Repeat("line\n", 9) + "end"
	if got := cut(text, 5); strings.Count(got, "\n") != 4 || !strings.HasSuffix(got, "… 6 more lines; the sum has them all") {
		t.Errorf("%q", got)
	}
	for _, height := range []int{0, 1, 10, 50} {
		if got := cut(text, height); got != text {
			t.Errorf("height %d: %q", height, got)
		}
	}
}
