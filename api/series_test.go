package api

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/targets"
)

// value is what stands behind a series in exposition text, or "" where it is absent.
func value(text, series string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func scrape(t *testing.T, s *service, series string) string {
	t.Helper()
	return value(s.get("/metrics").Body.String(), series)
}

func stalledService(t *testing.T, tcp *prober.TCPResult) *service {
	return newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		r := stalledRound(target, m)
		if m.Kind == prober.KindTCP {
			r.TCP = tcp
		}
		return []prober.Round{r}, nil
	}}, nil)
}

// TestProbeSeries holds what a probe of every kind of connection shows, but for its own duration.
func TestProbeSeries(t *testing.T) {
	body := stalledService(t, nil).get("/probe?target=vip.example:443").Body.String()
	want := []string{
		"probe_success 0", "probe_dns_lookup_time_seconds 0.005", "probe_ip_protocol 4",
		`probe_tcp_connections{outcome="accepted"} 4`, `probe_tcp_connections{outcome="refused"} 1`, `probe_tcp_connections{outcome="reset"} 0`,
		`probe_tcp_connections{outcome="timed_out"} 1`, `probe_tcp_connections{outcome="unreachable"} 0`, `probe_tcp_connections{outcome="not_sent"} 0`,
		`probe_tcp_connections{outcome="local_drop"} 0`,
		"probe_tcp_syn_retransmits 9",
		`probe_tcp_stalled_connections{lost_syns="1"} 1`, `probe_tcp_stalled_connections{lost_syns="2"} 1`,
		`probe_tcp_stalled_connections{lost_syns="3"} 0`, `probe_tcp_stalled_connections{lost_syns="4+"} 1`,
		`probe_tcp_handshake_rtt_seconds{stat="min"} 0.001`, `probe_tcp_handshake_rtt_seconds{stat="median"} 0.002`,
		`probe_tcp_handshake_rtt_seconds{stat="p99"} 0.004`, `probe_tcp_handshake_rtt_seconds{stat="max"} 0.004`,
		`probe_tcp_duration_seconds{phase="resolve"} 0.005`, `probe_tcp_duration_seconds{phase="connect"} 15.004`, `probe_tcp_duration_seconds{phase="burst"} 0.015`,
		`probe_tcp_handshake_duration_seconds_bucket{le="0.99"} 1`, `probe_tcp_handshake_duration_seconds_bucket{le="1.175"} 2`,
		`probe_tcp_handshake_duration_seconds_bucket{le="2.99"} 2`, `probe_tcp_handshake_duration_seconds_bucket{le="3.425"} 3`,
		`probe_tcp_handshake_duration_seconds_bucket{le="15"} 3`, `probe_tcp_handshake_duration_seconds_bucket{le="+Inf"} 4`,
		"probe_tcp_handshake_duration_seconds_count 4",
		`probe_neighbor_state{state="resolved"} 1`, `probe_neighbor_state{state="unanswered"} 0`, `probe_neighbor_state{state="quiet"} 0`,
		`probe_diagnosis{verdict="local_arp_queue_overflow"} 1`, `probe_diagnosis{verdict="healthy"} 0`,
		`probe_diagnosis_level{level="proven"} 1`, `probe_diagnosis_level{level="suspected"} 0`,
		"probe_captured 1", "probe_capture_dropped_frames 3",
	}
	for _, w := range want {
		if !strings.Contains(body, w+"\n") {
			t.Errorf("want %s", w)
		}
	}
	for _, v := range diagnose.Verdicts() {
		if value(body, fmt.Sprintf("probe_diagnosis{verdict=%q}", v)) == "" {
			t.Errorf("verdict %s is not declared", v)
		}
	}
	if strings.Contains(body, "probe_failed_due_to_regex") {
		t.Error("a connect probe has a series of tcp")
	}
	if t.Failed() {
		t.Log(body)
	}
}

// TestQueueSeries: the length stands only where it is known, and one state is true.
func TestQueueSeries(t *testing.T) {
	for state, packets := range map[experiment.QueueState]string{experiment.QueueMeasured: "78", experiment.QueueAtLeast: "78", experiment.QueueRange: "",
		experiment.QueueInconclusive: "", experiment.QueueNotApplicable: ""} {
		s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
			r := round(target, m)
			r.Queue = &prober.NeighborQueue{QueueResult: experiment.QueueResult{State: state, Packets: 78, Confirmed: true}}
			return []prober.Round{r}, nil
		}}, nil)
		body := s.get("/probe?target=vip.example:443").Body.String()
		if got := value(body, "probe_neighbor_queue_packets"); got != packets {
			t.Errorf("%s: %q packets, want %q", state, got, packets)
		}
		for _, x := range experiment.QueueStates() {
			want := "0"
			if x == state {
				want = "1"
			}
			if got := value(body, fmt.Sprintf("probe_neighbor_queue_state{state=%q}", x)); got != want {
				t.Errorf("%s: state %s is %q", state, x, got)
			}
		}
		if problems, err := promlint.New(strings.NewReader(body)).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v, %v", problems, err)
		}
	}
	if body := stalledService(t, nil).get("/probe?target=vip.example:443").Body.String(); strings.Contains(body, "probe_neighbor_queue") {
		t.Error("a connect probe has a series of the neighbour queue")
	}
}

// TestUnknownTimesAreAbsent: a probe that saw no handshake says nothing of its duration, which is not 0.
func TestUnknownTimesAreAbsent(t *testing.T) {
	s := newService(t, &fake{answer: func(context.Context, string, prober.Module) ([]prober.Round, error) {
		return nil, &prober.ResolveError{Host: "vip.example", Err: context.DeadlineExceeded}
	}}, nil)
	body := s.get("/probe?target=vip.example:443").Body.String()
	for _, absent := range []string{"probe_tcp_handshake_rtt_seconds{", `phase="connect"`} {
		if strings.Contains(body, absent) {
			t.Errorf("%s is there", absent)
		}
	}
	for series, want := range map[string]string{
		"probe_ip_protocol": "0", "probe_ip_addr_hash": "0", `probe_tcp_connections{outcome="accepted"}`: "0",
		"probe_tcp_handshake_duration_seconds_count": "0", "probe_captured": "0", `probe_neighbor_state{state="unobserved"}`: "1",
	} {
		if got := value(body, series); got != want {
			t.Errorf("%s %s, want %s", series, got, want)
		}
	}
}

// TestAddressHash: the values of blackbox_exporter 0.23 for these addresses.
func TestAddressHash(t *testing.T) {
	for target, want := range map[string]string{"127.0.0.1:1": "3.668918509e+09", "[::1]:1": "1.751717746e+09", "[::ffff:127.0.0.1]:1": "3.668918509e+09"} {
		s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
			ep, err := prober.ParseEndpoint(target)
			r := healthyRound(target, m)
			r.Addr = addrPortOf(ep)
			return []prober.Round{r}, err
		}}, nil)
		if got := value(s.get("/probe?target="+target).Body.String(), "probe_ip_addr_hash"); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func fullTCP() *prober.TCPResult {
	return &prober.TCPResult{
		ExpectInfo: map[string]string{"ssh_version": "OpenSSH_9.2", "ssh_comments": "bad \xff byte"}, TLSVersion: "TLS 1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
		EarliestExpiry: time.Unix(1900000000, 0), LastChainExpiry: time.Unix(1900000001, 0),
		Fingerprint: "ab12", Issuer: "CN=ca", Subject: "CN=mail", SubjectAltNames: "mail.example.org", Serial: "1f",
	}
}

func TestSeriesOfTCP(t *testing.T) {
	body := stalledService(t, fullTCP()).get("/probe?target=vip.example:443&module=mail").Body.String()
	for _, want := range []string{
		"probe_failed_due_to_regex 0", "probe_ssl_earliest_cert_expiry 1.9e+09", "probe_ssl_last_chain_expiry_timestamp_seconds 1.900000001e+09",
		`probe_ssl_last_chain_info{fingerprint_sha256="ab12",issuer="CN=ca",serialnumber="1f",subject="CN=mail",subjectalternative="mail.example.org"} 1`,
		`probe_tls_version_info{version="TLS 1.3"} 1`, `probe_tls_cipher_info{cipher="TLS_AES_128_GCM_SHA256"} 1`,
		"probe_expect_info{ssh_comments=\"bad \uFFFD byte\",ssh_version=\"OpenSSH_9.2\"} 1",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("want %s in\n%s", want, body)
		}
	}
	body = stalledService(t, &prober.TCPResult{FailedDueToRegex: true}).get("/probe?target=vip.example:443&module=mail").Body.String()
	if !strings.Contains(body, "probe_failed_due_to_regex 1\n") || strings.Contains(body, "probe_ssl") || strings.Contains(body, "probe_tls") {
		t.Errorf("a plain failed dialogue shows\n%s", body)
	}
}

// observed is the service after scheduled rounds of every kind.
func observed(t *testing.T) *service {
	s := stalledService(t, fullTCP())
	m := prober.Module{Name: "connect", Kind: prober.KindConnect}
	s.metrics.Observe("vips", "connect", map[string]string{"team": "net"}, []prober.Round{stalledRound("192.0.2.10:443", m), healthyRound("192.0.2.11:443", m)})
	s.metrics.Observe("reals", "connect", nil, []prober.Round{{Target: "192.0.2.12:443", Err: &prober.EnvironmentError{Err: os.ErrPermission}}})
	s.metrics.Lag(3 * time.Millisecond)
	s.metrics.Skipped("vips", prober.SkipOverload)
	s.metrics.Reloaded(epoch, nil)
	return s
}

func TestServiceSeries(t *testing.T) {
	body := observed(t).get("/metrics").Body.String()
	for _, want := range []string{
		`vipprobe_connections_total{job_name="vips",outcome="accepted",target="192.0.2.10:443",team="net"} 4`,
		`vipprobe_connections_total{job_name="vips",outcome="refused",target="192.0.2.10:443",team="net"} 1`,
		`vipprobe_stalls_total{job_name="vips",target="192.0.2.10:443",team="net"} 3`,
		`vipprobe_stalls_total{job_name="vips",target="192.0.2.11:443",team="net"} 0`,
		`vipprobe_diagnosis{job_name="vips",level="proven",target="192.0.2.10:443",team="net",verdict="local_arp_queue_overflow"} 1`,
		`vipprobe_target_success{job_name="vips",target="192.0.2.10:443",team="net"} 0`,
		`vipprobe_target_success{job_name="vips",target="192.0.2.11:443",team="net"} 1`,
		`vipprobe_handshake_duration_seconds_bucket{job_name="vips",module="connect",le="1.175"} 4`,
		`vipprobe_handshake_duration_seconds_count{job_name="vips",module="connect"} 6`,
		`vipprobe_rounds_total{job_name="reals",module="connect",result="error"} 1`,
		`vipprobe_rounds_total{job_name="vips",module="connect",result="failure"} 1`,
		`vipprobe_rounds_total{job_name="vips",module="connect",result="success"} 1`,
		`vipprobe_schedule_skipped_rounds_total{job_name="vips",reason="overload"} 1`,
		"vipprobe_schedule_lag_seconds_count 1", "vipprobe_capture_dropped_frames_total 3",
		"vipprobe_config_last_reload_successful 1", "vipprobe_config_last_reload_success_timestamp_seconds 1.772366400e+09",
		`vipprobe_probe_requests_total{code="403"} 0`,
	} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, strings.Replace(want, "1.772366400e+09", "1.7723664e+09", 1)+"\n") {
			t.Errorf("want %s", want)
		}
	}
	if strings.Contains(body, `verdict="healthy"`) {
		t.Error("healthy is named as a verdict")
	}
	if t.Failed() {
		t.Log(body)
	}
}

// TestTargetsAreBounded: whatever happens to a target, it has at most eight series, and those that went are gone.
func TestTargetsAreBounded(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	r := stalledRound("192.0.2.10:443", prober.Module{})
	for range 7 {
		r.Diagnosis.Causes = append(r.Diagnosis.Causes, diagnose.Cause{Verdict: diagnose.ACLDrop, Level: diagnose.Suspected})
	}
	m.Observe("vips", "connect", nil, []prober.Round{r})
	count := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := 0
		for _, s := range m.series {
			n += len(s.append(nil, &m.desc))
		}
		return n
	}
	if n := count(); n != maxSeries {
		t.Errorf("%d series", n)
	}
	m.Retain([]targets.Job{{Name: "vips", Targets: []string{"192.0.2.10:443"}}})
	if n := count(); n != maxSeries {
		t.Errorf("%d series after a reload that keeps the target", n)
	}
	m.Retain([]targets.Job{{Name: "vips", Targets: []string{"192.0.2.11:443"}}})
	if n := count(); n != 0 {
		t.Errorf("%d series of a target that is gone", n)
	}
	m.Observe("vips", "connect", nil, []prober.Round{r})
	m.SetDetail(targets.DetailNone)
	m.Observe("vips", "connect", nil, []prober.Round{r})
	if n := count(); n != 0 {
		t.Errorf("%d series at detail none", n)
	}
	m.SetDetail(targets.DetailBackend)
	other := r
	other.Addr = addrPortOf(prober.Endpoint{Addr: r.Addr.Addr().Next(), Port: 443})
	m.Observe("vips", "connect", nil, []prober.Round{r, other})
	if len(m.series) != 2 {
		t.Errorf("%d addresses at detail backend, want 2", len(m.series))
	}
}

func expositions(t *testing.T) map[string]string {
	return map[string]string{
		"/metrics":   observed(t).get("/metrics").Body.String(),
		"a connect":  stalledService(t, nil).get("/probe?target=vip.example:443").Body.String(),
		"a tcp":      stalledService(t, fullTCP()).get("/probe?target=vip.example:443&module=mail").Body.String(),
		"no address": stalledService(t, nil).get("/probe?target=192.0.2.10:443&module=broken").Body.String(),
	}
}

func TestPromlint(t *testing.T) {
	for name, text := range expositions(t) {
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

func TestPromtool(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("SKIPPED: promtool is not installed; the metrics were not checked with it")
	}
	for name, text := range expositions(t) {
		cmd := exec.Command(path, "check", "metrics")
		cmd.Stdin = strings.NewReader(text)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if diff := cmp.Diff("", out.String()); err != nil || diff != "" {
			t.Errorf("%s: promtool: %v\n%s", name, err, out.String())
		}
	}
}

// TestPAWSSeries: what a paws probe measured, with a bounded set of labels; what was not found is absent.
func TestPAWSSeries(t *testing.T) {
	arms := []diagnose.Arm{{N: 8, Answered: 8}, {N: 8, Silent: 8}, {N: 8, Answered: 2, Silent: 6}, {N: 0}}
	ts := &diagnose.Timestamps{Arms: arms, Flows: 32, Poisoned: 8, Clean: 24, Remembered: 517740536, Known: true}
	s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		r := stalledRound(target, m)
		r.Timestamps = ts
		return []prober.Round{r}, nil
	}}, nil)
	body := s.get("/probe?target=vip.example:443&module=paws").Body.String()
	for series, want := range map[string]string{
		"probe_paws_remembered_tsval": "5.17740536e+08", `probe_paws_refused_ratio{arm="0"}`: "0", `probe_paws_refused_ratio{arm="1"}`: "1",
		`probe_paws_refused_ratio{arm="2"}`: "0.75", `probe_paws_refused_ratio{arm="3"}`: "", "probe_paws_poisoned_ratio": "0.25",
	} {
		if got := value(body, series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
	ts.Known, ts.Flows = false, 0
	body = s.get("/probe?target=vip.example:443&module=paws").Body.String()
	for _, series := range []string{"probe_paws_remembered_tsval", "probe_paws_poisoned_ratio"} {
		if got := value(body, series); got != "" {
			t.Errorf("%s is %q though it was not measured", series, got)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}
