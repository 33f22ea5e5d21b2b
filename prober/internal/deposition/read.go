package deposition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// document is what a vipprobe serves at Path.
type document struct {
	Kernel    string            `json:"kernel"`
	Counters  map[string]int64  `json:"counters"`
	Settings  map[string]string `json:"settings"`
	Missing   []string          `json:"missing"`
	Listeners []struct {
		Address  netip.AddrPort `json:"address"`
		Queued   uint32         `json:"queued"`
		Backlog  uint32         `json:"backlog"`
		HalfOpen *uint32        `json:"half_open"`
	} `json:"listeners"`
}

// readDocument reads a vipprobe's answer. Fields of later versions are passed over.
func readDocument(body []byte) (Answer, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return Answer{}, err
	}
	if d.Counters == nil {
		return Answer{}, fmt.Errorf("it holds no counters")
	}
	a := Answer{Kernel: d.Kernel, Settings: d.Settings, Missing: d.Missing, Statement: observe.Statement{Counters: d.Counters}}
	for _, l := range d.Listeners {
		q := observe.ListenQueue{Addr: l.Address, Queued: l.Queued, Backlog: l.Backlog, Counted: l.HalfOpen != nil}
		if q.Counted {
			q.HalfOpen = *l.HalfOpen
		}
		a.Listeners = append(a.Listeners, q)
	}
	return a, nil
}

// readExposition reads a node_exporter's metrics in Prometheus' text format: node_netstat_SECTION_NAME is SECTION.NAME of /proc/net/netstat and
// snmp (collector/netstat_linux.go), node_softnet_dropped_total and _times_squeezed_total by CPU are summed, node_uname_info names the kernel.
func readExposition(body []byte) (Answer, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Statement: observe.Statement{Counters: map[string]int64{}}}
	for name, f := range families {
		switch {
		case name == "node_uname_info":
			a.Kernel = label(f, "release")
		case name == "node_softnet_dropped_total":
			a.Counters["softnet.dropped"] = sum(f)
		case name == "node_softnet_times_squeezed_total":
			a.Counters["softnet.time_squeeze"] = sum(f)
		case name == "node_arp_entries":
			a.Counters["arp_cache.entries"] = sum(f)
		case strings.HasPrefix(name, "node_sockstat_"):
			if section, key, ok := strings.Cut(strings.TrimPrefix(name, "node_sockstat_"), "_"); ok {
				a.Counters["sockstat."+section+"."+key] = sum(f)
			}
		case strings.HasPrefix(name, "node_netstat_"):
			if section, key, ok := strings.Cut(strings.TrimPrefix(name, "node_netstat_"), "_"); ok {
				a.Counters[section+"."+key] = sum(f)
			}
		}
	}
	if len(a.Counters) == 0 {
		return a, fmt.Errorf("it holds none of a node_exporter's network metrics")
	}
	return a, nil
}

// sum adds up a family's samples. Values that no counter has are left out.
func sum(f *dto.MetricFamily) (n int64) {
	for _, m := range f.GetMetric() {
		v := m.GetUntyped().GetValue() + m.GetCounter().GetValue() + m.GetGauge().GetValue()
		if math.Abs(v) < 1<<62 { // NaN and infinities are not
			n += int64(v)
		}
	}
	return n
}

func label(f *dto.MetricFamily, name string) string {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == name {
				return l.GetValue()
			}
		}
	}
	return ""
}
