package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func TestMain(m *testing.M) {
	runtime.LockOSThread() // topo takes the first thread's namespace for home
	if len(os.Args) > 1 && os.Args[1] == WorkerName {
		if err := Worker(context.Background(), os.Args[2:], os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(topo.Enter(m.Run))
}

func TestJobSurvivesItsCommandLine(t *testing.T) {
	want := job{what: "xdp", prefix: sunk, targets: 7, shots: 3, rate: 1e8, repeat: 2, wait: 1500 * time.Millisecond, tap: true}
	got, err := parseJob(want.args()[2:])
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVersionIn(t *testing.T) {
	for text, want := range map[string]string{
		"zmap 2.1.1\n": "2.1.1", "\nMasscan version 1.3.2 ( https://github.com )\n": "1.3.2", "hping3 version 3.0.0-alpha-2 ($Id)": "3.0.0-alpha-2",
		"tcpdump version 4.99.3\nlibpcap version 1.10.3": "4.99.3", "none": "of unknown version",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCPUName(t *testing.T) {
	if got := cpuName("processor\t: 0\nmodel name\t: A Fast CPU @ 3 GHz\nmodel name : another\n"); got != "A Fast CPU @ 3 GHz" {
		t.Errorf("%q", got)
	}
	if got := cpuName("BogoMIPS: 1"); got != runtime.GOARCH {
		t.Errorf("%q", got)
	}
}

func TestMatchedLinesOfAPeer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("#masscan\nopen tcp 80 10.64.0.1 1\nopen tcp 80 10.64.0.2 1\n# end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := matchApart.lines(file, "open tcp")(usage{cpu: matchSize * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	want := []measure{{matchApart.sent, "µs", 1}, {matchApart.seen, "%", 200. / matchSize}, {matchApart.matched, "µs", matchSize / 2}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(measure{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := matchApart.lines(file, "open tcp")(usage{}); err == nil {
		t.Error("the answers of the round before are still there")
	}
}

func TestCompareLeavesOutWhatIsAmbiguous(t *testing.T) {
	zero := time.Unix(0, 0)
	saw := map[handshakeKey]*exchange{
		{1, "a"}: {syn: zero, answer: zero.Add(1500), syns: 1},
		{2, "a"}: {syn: zero, answer: zero.Add(9e6), syns: 2},
		{3, "a"}: {syn: zero, syns: 1},
	}
	got, err := compare([]timed{{1, "a", 1000}, {2, "a", 1000}}, saw)
	if err != nil || got != 0.5 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := compare([]timed{{1, "a", 1000}, {2, "a", 1}, {3, "a", 1}}, saw); err == nil {
		t.Error("one of three is enough")
	}
}

func TestTargetWithoutPort(t *testing.T) {
	zero := time.Unix(0, 0)
	once := &exchange{syn: zero, answer: zero.Add(1500), syns: 1}
	saw := map[handshakeKey]*exchange{{1, "a"}: once, {1, "b"}: once, {2, "b"}: once}
	if got, err := compare([]timed{{0, "a", 1000}, {0, "b", 9000}}, saw); err != nil || got != 0.5 {
		t.Errorf("%v, %v: a target with two exchanges says nothing", got, err)
	}
}

func TestTimesThatPeersTell(t *testing.T) {
	for name, x := range map[string]struct{ out, want []timed }{
		"hping3": {hpingTimes("HPING 10.64.0.1 (eth0 10.64.0.1): S set\nlen=44 ip=10.64.0.1 ttl=64 DF id=0 sport=80 flags=SA seq=3 win=64240 rtt=0.5 ms\n" +
			"len=40 ip=10.64.0.1 ttl=64 DF id=0 sport=80 flags=RA seq=4 win=0 rtt=0.5 ms\n"), []timed{{20003, "10.64.0.1", 500 * time.Microsecond}}},
		"nping": {npingTimes("Statistics for host 10.64.0.0:\n |  Probes Sent: 1 | Rcvd: 1 | Lost: 0  (0.00%)\n |_ Max rtt: 0.539ms | Min rtt: 0.539ms | Avg rtt: 0.539ms\n" +
			"Statistics for host 10.64.0.1:\n |  Probes Sent: 1 | Rcvd: 0 | Lost: 1  (100.00%)\n |_ Max rtt: N/A | Min rtt: N/A | Avg rtt: N/A\n"),
			[]timed{{0, "10.64.0.0", 539 * time.Microsecond}}},
		"nmap": {nmapTimes("<address addr=\"10.64.0.0\" addrtype=\"ipv4\"/>\n<times srtt=\"54\" rttvar=\"5000\" to=\"100000\"/>\n"), []timed{{0, "10.64.0.0", 54 * time.Microsecond}}},
	} {
		if diff := cmp.Diff(x.want, x.out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A tiny run of ours, end to end: no peer is needed, and nothing of it is timed.
func TestASweepInTheRig(t *testing.T) {
	if !topo.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("private namespaces are not available")
		}
		t.Skip("SKIPPED: private namespaces are not available")
	}
	r, err := newRig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := &course{rig: r, dir: t.TempDir(), report: &figures.Report{Rounds: 1}, progress: &bytes.Buffer{}}
	c.one(t.Context(), 0, &contestant{name: ours, argv: func(*rig) []string {
		return job{what: "sweep", prefix: answered, targets: 500, shots: 2, rate: 1e5, repeat: 1, wait: 5 * time.Second, tap: true}.args()
	}, read: func(u usage) ([]measure, error) {
		var x tally
		if err := json.Unmarshal(u.out, &x); err != nil {
			return nil, err
		}
		return []measure{{"probes", "", float64(x.Probes)}, {"answered", "", float64(x.Answered)}}, nil
	}})
	if len(c.report.Failures) > 0 {
		t.Fatal(strings.Join(c.report.Failures, "; "))
	}
	for i, want := range []string{"probes", "answered"} {
		if row := c.report.Rows[i]; row.Figure != want || row.Values[0] != 1000 {
			t.Errorf("%+v", row)
		}
	}
}
