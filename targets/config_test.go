package targets

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("f.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEmptyFileHasTheDefaultModuleAndAllowsNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing yet\n", "---\n", "modules:\nallow:\njobs:\n"} {
		c := mustParse(t, text)
		m, err := c.Module(DefaultModule)
		if err != nil {
			t.Fatal(err)
		}
		want := prober.Module{Name: "connect", Kind: prober.KindConnect, Timeout: 9500 * time.Millisecond, Burst: 10, Count: 1, MaxStalled: -1, IPFallback: true}
		if diff := cmp.Diff(want, m, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("module (-want +got):\n%s", diff)
		}
		if err := c.Allow().Check("x", netip.MustParseAddr("192.0.2.1")); err == nil {
			t.Error("an empty configuration allows 192.0.2.1")
		}
		if diff := cmp.Diff(prober.DefaultLimits(), c.Limits()); diff != "" {
			t.Errorf("limits (-want +got):\n%s", diff)
		}
		if got := c.SourcePorts(); got != (plan.PortRange{Lo: 61000, Hi: 65535}) {
			t.Errorf("source ports %s", got)
		}
		if c.ProbeTimeoutOffset() != 500*time.Millisecond || c.MetricsDetail() != DetailTarget {
			t.Errorf("offset %s, detail %s", c.ProbeTimeoutOffset(), c.MetricsDetail())
		}
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

const everything = `
modules:
  connect: {prober: connect, burst: 32, max_stalled: 2}
  paws: &paws
    prober: syn
    timeout: 20s
    burst: 12
    count: 3
    pause: 250ms
    interface: eth0.100
    hop_limit: 5
    tos: 0x10
    preferred_ip_protocol: ip4
    ip_protocol_fallback: false
    source_ip_address: "::ffff:192.0.2.7"
    ladder: [0s, 1s, 3s]
    tsval: 4294967295
    tshz: 250
    mss: 1200
    handshake: true
  paws_bare:
    <<: *paws
    tsval: ~
    tshz: ~
    timestamps: false
    ladder: classic
allow: [192.0.2.0/24, "2001:db8::/32", 169.254.169.254, "::ffff:198.51.100.1"]
limits: {per_target_rate: 50.5, per_target_burst: 500, global_rate: 1000, global_burst: 1000, half_open: 8, unanswered: 100, arp_rate: 2}
source_ports: 40000-60000
probe_timeout_offset: 250ms
metrics_detail: backend
jobs:
- name: vips
  module: paws
  interval: 30s
  targets: ["192.0.2.10:443", "[2001:db8::10]:443", vip.example:5432]
  labels: {team: net, zone: "7"}
`

func TestEverythingIsRead(t *testing.T) {
	c := mustParse(t, everything)
	syn := prober.Module{
		Name: "paws", Kind: prober.KindSYN, Timeout: 20 * time.Second, Burst: 12, Count: 3, Pause: 250 * time.Millisecond, MaxStalled: -1,
		Source: netip.MustParseAddr("192.0.2.7"), Interface: "eth0.100", HopLimit: 5, ToS: 16, IPProtocol: "ip4",
		SYN: prober.SYNOptions{Ladder: plan.Custom(0, time.Second, 3*time.Second), TSval: 1<<32 - 1, HasTSval: true, TSHz: 250, MSS: 1200, Handshake: true},
	}
	bare := syn
	bare.Name = "paws_bare"
	classic := plan.Ladder{Name: "classic", At: []time.Duration{0, 3e9, 9e9, 21e9, 45e9, 93e9}}
	bare.SYN = prober.SYNOptions{Ladder: classic, TSHz: 1000, WithoutTimestamps: true, MSS: 1200, Handshake: true}
	for _, want := range []prober.Module{syn, bare} {
		got, err := c.Module(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("module %s (-want +got):\n%s", want.Name, diff)
		}
	}
	if m, _ := c.Module("connect"); m.Burst != 32 || m.MaxStalled != 2 {
		t.Errorf("the default module was not replaced: %+v", m)
	}
	wantLimits := prober.Limits{PerTargetRate: 50.5, PerTargetBurst: 500, GlobalRate: 1000, GlobalBurst: 1000, HalfOpen: 8, Unanswered: 100, ARPRate: 2}
	if diff := cmp.Diff(wantLimits, c.Limits()); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	wantJobs := []Job{{Name: "vips", Module: "paws", Interval: 30 * time.Second, Timeout: 20 * time.Second,
		Targets: []string{"192.0.2.10:443", "[2001:db8::10]:443", "vip.example:5432"}, Labels: map[string]string{"team": "net", "zone": "7"}, Diagnose: true}}
	if diff := cmp.Diff(wantJobs, c.Jobs()); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	if c.ProbeTimeoutOffset() != 250*time.Millisecond || c.MetricsDetail() != DetailBackend || c.SourcePorts().String() != "40000-60000" {
		t.Errorf("offset %s, detail %s, ports %s", c.ProbeTimeoutOffset(), c.MetricsDetail(), c.SourcePorts())
	}
}

func TestAllowListHolds(t *testing.T) {
	a := mustParse(t, everything).Allow()
	for addr, want := range map[string]bool{
		"192.0.2.255": true, "192.0.3.0": false, "2001:db8:ffff::1": true, "169.254.169.254": true, "169.254.169.253": false,
		"198.51.100.1": true, "::ffff:192.0.2.1": true,
	} {
		if err := a.Check("t", netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("%s: allowed is %v, want %v", addr, err == nil, want)
		}
	}
}

func TestWhatIsReturnedIsACopy(t *testing.T) {
	c := mustParse(t, everything)
	before := string(c.Redacted())
	c.Jobs()[0].Targets[0] = "x"
	c.Jobs()[0].Labels["team"] = "x"
	m, _ := c.Module("paws")
	m.SYN.Ladder.At[1] = time.Hour
	c.ModuleNames()[0] = "x"
	if diff := cmp.Diff(before, string(c.Redacted())); diff != "" {
		t.Errorf("a caller changed the configuration (-before +after):\n%s", diff)
	}
}

func TestBlackboxFileLoadsUnchanged(t *testing.T) {
	c, err := Load("testdata/blackbox.yml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Module("mail_starttls")
	if err != nil {
		t.Fatal(err)
	}
	if m.Timeout != 90*time.Second || m.TCP.TLS || m.TCP.TLSConfig.ServerName != "mail.example.org" || m.TCP.TLSConfig.MinVersion != tls.VersionTLS12 {
		t.Errorf("mail_starttls: %+v %+v", m, m.TCP)
	}
	wantSteps := []prober.QueryResponse{
		{Expect: "^220 ([^ ]+) ESMTP (.+)$"}, {Send: "EHLO prober\r"}, {Expect: "^250-STARTTLS"}, {Send: "STARTTLS\r"}, {Expect: "^220"},
		{StartTLS: true}, {Send: "EHLO prober\r"}, {Expect: "^250-AUTH"}, {Send: "QUIT\r"},
	}
	if diff := cmp.Diff(wantSteps, m.TCP.QueryResponse); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	v4, _ := c.Module("tcp_connect_v4")
	if v4.IPProtocol != "ip4" || v4.IPFallback || v4.Source != netip.MustParseAddr("127.0.0.1") || v4.Timeout != 5*time.Second {
		t.Errorf("tcp_connect_v4: %+v", v4)
	}
	plain, _ := c.Module("tcp_connect")
	if plain.Burst != 1 || !plain.IPFallback || plain.IPProtocol != "" || plain.Timeout != 120*time.Second || plain.TCP == nil {
		t.Errorf("tcp_connect: %+v", plain)
	}
}

// TestLabelsOfAMatch: blackbox_exporter's since 0.25, so not in the file that older ones are asked about.
func TestLabelsOfAMatch(t *testing.T) {
	c := mustParse(t, `
modules:
  ssh:
    prober: tcp
    tcp:
      query_response:
      - expect: "^SSH-2.0-([^ -]+)(?: (.*))?$"
        labels:
        - {name: ssh_version, value: "${1}"}
        - {name: ssh_comments, value: "${2}"}
`)
	m, err := c.Module("ssh")
	if err != nil {
		t.Fatal(err)
	}
	want := []prober.QueryLabel{{Name: "ssh_version", Value: "${1}"}, {Name: "ssh_comments", Value: "${2}"}}
	if diff := cmp.Diff(want, m.TCP.QueryResponse[0].Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// TestMissingCAFileFailsTheProbeNotTheFile: as in blackbox_exporter, so that one missing file does not stop all other modules.
func TestMissingCAFileFailsTheProbeNotTheFile(t *testing.T) {
	c, err := Load("testdata/blackbox.yml")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "modules.queue.tcp.tls_config: ") || !strings.Contains(w[0], "/nonexistent/CA_cert.crt") {
		t.Errorf("warnings %q", w)
	}
	_, err = c.Module("queue")
	te, ok := errors.AsType[*TLSError](err)
	if !ok || te.Module != "queue" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestBlackboxAgrees asks blackbox_exporter itself whether the file that we load is one of its own.
func TestBlackboxAgrees(t *testing.T) {
	const name = "prometheus-blackbox-exporter"
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("SKIPPED: %s is not installed; the file was not checked against it", name)
	}
	out, err := exec.Command(path, "--config.check", "--config.file=testdata/blackbox.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%s refuses the file: %v\n%s", name, err, out)
	}
}

func TestUnknownModule(t *testing.T) {
	_, err := mustParse(t, everything).Module("nope")
	if _, ok := errors.AsType[*UnknownModuleError](err); !ok {
		t.Fatalf("error %v", err)
	}
	if want := `unknown module "nope"; there are connect, neighbor, paws, paws_bare`; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
}

func TestTimeoutOfAJobWithoutOneIsItsInterval(t *testing.T) {
	c := mustParse(t, "jobs: [{name: a, interval: 5s, targets: []}]\n")
	if got := c.Jobs()[0].Timeout; got != 5*time.Second {
		t.Errorf("timeout %s, want 5s", got)
	}
}

func TestPortsSufficeAtTheEdge(t *testing.T) {
	// 2,268 ports in each half; 120 s ÷ 10 s and one more are 13 rounds: 174 connections fit, 175 do not
	for burst, fits := range map[string]bool{"174": true, "175": false} {
		_, err := Parse("f.yml", []byte("modules: {m: {prober: syn, burst: "+burst+"}}\njobs: [{name: a, module: m, interval: 10s, targets: []}]\n"))
		if (err == nil) != fits {
			t.Errorf("burst %s: %v", burst, err)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	_, err := Load("testdata/none.yml")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/none.yml") {
		t.Errorf("error %v", err)
	}
}

// TestKindsOfInvestigation: every configuration has paws and neighbor; neighbor-queue, which disturbs, only where a file defines it.
func TestKindsOfInvestigation(t *testing.T) {
	if diff := cmp.Diff([]string{"connect", "neighbor", "paws"}, mustParse(t, "").ModuleNames()); diff != "" {
		t.Errorf("built-in modules (-want +got):\n%s", diff)
	}
	c := mustParse(t, `
modules:
  paws: {prober: paws, timeout: 20s, burst: 6, source_ip_address: 192.0.2.7, preferred_ip_protocol: ip4}
  own: {prober: paws, prime: true, i_own_this_path: true}
  queue: {prober: neighbor-queue, interface: eth0, addresses: [192.0.2.77, "2001:db8::77"], arp_delay: 250ms, allow_router: true}
  health: {prober: check, delay_loop: 6s, connect_timeout: 3s, retry: 0, delay_before_retry: 3s, loops: 5, timeout: 50s}
`)
	for _, want := range []prober.Module{
		{Name: "paws", Kind: prober.KindPAWS, Timeout: 20 * time.Second, Burst: 6, Count: 1, MaxStalled: -1, IPFallback: true, IPProtocol: "ip4", Source: netip.MustParseAddr("192.0.2.7")},
		{Name: "own", Kind: prober.KindPAWS, Timeout: time.Minute, Burst: 10, Count: 1, MaxStalled: -1, IPFallback: true, PAWS: prober.PAWSOptions{Prime: true}},
		{Name: "queue", Kind: prober.KindNeighborQueue, Timeout: 20 * time.Second, Burst: 320, Count: 1, MaxStalled: -1, IPFallback: true, Interface: "eth0",
			NeighborQueue: prober.NeighborQueueOptions{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77")},
				Delay: 250 * time.Millisecond, Router: true}},
	} {
		got, err := c.Module(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("module %s (-want +got):\n%s", want.Name, diff)
		}
	}
	health, err := c.Module("health")
	if err != nil {
		t.Fatal(err)
	}
	want := prober.CheckOptions{NoRetry: true, Timing: experiment.CheckTiming{DelayLoop: 6 * time.Second, ConnectTimeout: 3 * time.Second,
		DelayBeforeRetry: 3 * time.Second, Loops: 5}}
	if diff := cmp.Diff(want, health.Check); diff != "" {
		t.Errorf("module health (-want +got):\n%s", diff)
	}
	again := mustParse(t, string(c.Redacted()))
	if diff := cmp.Diff(string(c.Redacted()), string(again.Redacted())); diff != "" {
		t.Errorf("read back it differs:\n%s", diff)
	}
}

// TestReadersCoverTheKinds: no kind of module is without a reader.
func TestReadersCoverTheKinds(t *testing.T) {
	var got []prober.Kind
	for _, r := range readers() {
		got = append(got, r.kind)
	}
	if diff := cmp.Diff(prober.Kinds(), got); diff != "" {
		t.Errorf("kinds (-prober +targets):\n%s", diff)
	}
}
