package api

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/targets"
)

// TestWhatADiagnosisNamesLasts: what a diagnosis found stands in place of what a round could say, until a round is well.
func TestWhatADiagnosisNamesLasts(t *testing.T) {
	const name = "192.0.2.10:443"
	mod := prober.Module{Name: "syn", Kind: prober.KindSYN}
	m := NewMetrics(MetricsOptions{Detail: targets.DetailTarget})
	ill := stalledRound(name, mod)
	m.Observe("vips", "syn", nil, []prober.Round{ill})
	found := prober.Round{Target: name, Diagnosis: diagnose.Diagnosis{Causes: []diagnose.Cause{{Verdict: diagnose.TWRecyclePAWSDrop, Level: diagnose.Confirmed}}}}
	m.Diagnosed("vips", "syn", nil, name, []prober.Round{found})
	m.Observe("vips", "syn", nil, []prober.Round{ill})
	want := "diagnosis level=confirmed target=" + name + " verdict=" + string(diagnose.TWRecyclePAWSDrop) + " 1"
	named := func() (out []string) {
		for _, l := range exposed(t, m) {
			if l[:len("diagnosis")] == "diagnosis" {
				out = append(out, l)
			}
		}
		return out
	}
	if diff := cmp.Diff([]string{want}, named()); diff != "" {
		t.Errorf("after the diagnosis (-want +got):\n%s", diff)
	}
	m.Healthy("vips", "syn", nil, &prober.Healthy{Target: name, Addr: netip.MustParseAddrPort(name), Connections: 2, RTTs: []time.Duration{time.Millisecond, 2 * time.Millisecond}})
	if got := named(); len(got) != 0 {
		t.Errorf("after a healthy round: %v", got)
	}
	s := m.series[seriesKey{job: "vips", target: name}]
	if !s.success || s.median != .001 || s.worst != .002 || s.outcomes[1] < 2 {
		t.Errorf("%+v", s)
	}
}
