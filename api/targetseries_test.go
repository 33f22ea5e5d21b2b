package api

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// exposed is what m says of its targets: series and value, a line each, sorted.
func exposed(t *testing.T, m *Metrics) []string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "vipprobe_target_") && f.GetName() != "vipprobe_diagnosis" {
			continue
		}
		for _, x := range f.GetMetric() {
			var l []string
			for _, p := range x.GetLabel() {
				if p.GetName() != "job_name" {
					l = append(l, p.GetName()+"="+p.GetValue())
				}
			}
			out = append(out, strings.TrimPrefix(f.GetName(), "vipprobe_")+" "+strings.Join(l, " ")+" "+map[float64]string{0: "0", 1: "1"}[x.GetGauge().GetValue()])
		}
	}
	return out
}

// TestTargetThatStopsResolving: a success of before, a verdict of before and a round trip of before end with the first round that gave
// nothing.
func TestTargetThatStopsResolving(t *testing.T) {
	const name = "vip.example:443"
	m := prober.Module{Name: "connect", Kind: prober.KindConnect}
	healthy, stalled := healthyRound(name, m), stalledRound(name, m)
	healthy.Addr, stalled.Addr = netip.MustParseAddrPort("192.0.2.10:443"), netip.MustParseAddrPort("192.0.2.11:443")
	for _, c := range []struct {
		story  string
		detail targets.Detail
		before []prober.Round
		want   []string
	}{
		{"after a success", targets.DetailTarget, []prober.Round{healthy}, []string{"target_success target=vip.example:443 0"}},
		{"after a verdict", targets.DetailTarget, []prober.Round{stalled}, []string{"target_success target=vip.example:443 0"}},
		{"at both addresses", targets.DetailBackend, []prober.Round{healthy, stalled}, []string{
			"target_success address=192.0.2.10 target=vip.example:443 0", "target_success address=192.0.2.11 target=vip.example:443 0"}},
		{"from the start", targets.DetailTarget, nil, []string{"target_success target=vip.example:443 0"}},
		{"nothing kept", targets.DetailNone, []prober.Round{healthy}, nil},
	} {
		t.Run(c.story, func(t *testing.T) {
			x := NewMetrics(MetricsOptions{Detail: c.detail})
			x.Observe("vips", "connect", nil, c.before)
			x.Observe("vips", "connect", nil, []prober.Round{healthyRound("other.example:443", m)})
			other := len(exposed(t, x)) - len(exposed(t, without(c.detail, c.before)))
			x.Fail("vips", "connect", name, nil)
			var got []string
			for _, l := range exposed(t, x) {
				if strings.Contains(l, name) {
					got = append(got, l)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("series of the target (-want +got):\n%s", diff)
			}
			if all := len(exposed(t, x)); all-len(got) != other {
				t.Errorf("the other target has %d series, had %d", all-len(got), other)
			}
		})
	}
}

func without(d targets.Detail, rounds []prober.Round) *Metrics {
	x := NewMetrics(MetricsOptions{Detail: d})
	x.Observe("vips", "connect", nil, rounds)
	return x
}

// TestTargetOfSeveralAddresses: a name succeeds when all its addresses do, whichever comes last; the next round begins anew.
func TestTargetOfSeveralAddresses(t *testing.T) {
	m := prober.Module{Name: "connect", Kind: prober.KindConnect}
	good, bad := healthyRound("vip.example:443", m), stalledRound("vip.example:443", m)
	for _, c := range []struct {
		story  string
		rounds [][]prober.Round
		want   string
	}{
		{"the second fails", [][]prober.Round{{good, bad}}, "0"},
		{"the first fails", [][]prober.Round{{bad, good}}, "0"},
		{"it was mended", [][]prober.Round{{bad, good}, {good, good}}, "1"},
	} {
		t.Run(c.story, func(t *testing.T) {
			x := NewMetrics(MetricsOptions{})
			for _, r := range c.rounds {
				x.Observe("vips", "connect", nil, r)
			}
			want := "target_success target=vip.example:443 " + c.want
			if got := exposed(t, x); !strings.Contains(strings.Join(got, "\n"), want) {
				t.Errorf("want %s in %q", want, got)
			}
		})
	}
}
