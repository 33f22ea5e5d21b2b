package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
	"github.com/vipprobe/vipprobe/targets"
)

var rolloutHosts = flag.Int("rollout.hosts", 1, "hosts of a rollout that are like the golden one, beside five that are not; 25 is the full size")

// slowTimer holds back the repeats of a SYN-ACK in the first two seconds and a half: what comes first then is what a timer of 3 s sends.
type slowTimer struct{ first map[wire.Flow]time.Time }

func (s *slowTimer) Pass(now time.Time, p wires.Packet) []wires.Departure {
	if seg := &p.Seg; seg.Flags.Has(wire.SYN | wire.ACK) {
		at, again := s.first[seg.Flow()]
		if !again {
			s.first[seg.Flow()] = now
		} else if now.Sub(at) < 2500*time.Millisecond {
			return nil
		}
	}
	return []wires.Departure{{Packet: p, At: now}}
}

// oddHosts are the five that differ, the check that each fails, and how it comes to be so.
var oddHosts = []struct {
	check string
	port  topo.Service
	wire  wires.Stage
	make  func(h *topo.Host, l *topo.Link)
}{
	{"remote_neighbor_queue >= 64", topo.Service{}, nil, func(_ *topo.Host, l *topo.Link) { l.Neighbor("ipv4", "unres_qlen_bytes", "2496") }},
	{"tw_recycle = off", topo.Service{}, &wires.Recycle{NoTS: wires.NoTSAccepted}, nil},
	{"listener_backlog >= 64", topo.Service{Backlog: 4}, nil, nil},
	{"timestamps = on", topo.Service{}, nil, func(h *topo.Host, _ *topo.Link) { h.Sysctl("net.ipv4.tcp_timestamps", "0") }},
	{"syn_ack_rto = 1s", topo.Service{}, &slowTimer{first: map[wire.Flow]time.Time{}}, nil},
}

// pool builds the hosts and writes the rollout file. It returns the client, and the check that each odd host must fail.
func pool(t *testing.T, file string) (*topo.Host, map[string]string) {
	t.Helper()
	n := topo.New(t.Context())
	t.Cleanup(n.Close)
	client := n.Host("client")
	client.Sysctl("net.ipv4.tcp_timestamps", "2")
	segment := n.Bridge("rack")
	client.Attach(segment, "10.9.0.1/24")
	want := map[string]string{}
	var lines []string
	for i := range *rolloutHosts + len(oddHosts) {
		host := n.Host(fmt.Sprintf("host%d", i))
		service := topo.Service{}
		addr := fmt.Sprintf("10.9.0.%d", 10+i)
		odd := i - *rolloutHosts
		var l *topo.Link
		if odd >= 0 && oddHosts[odd].wire != nil { // on a cable of its own
			addr = fmt.Sprintf("10.8.%d.2", i)
			var near *topo.Link
			l, near = wires.Cable(n, host, client, []wires.Stage{oddHosts[odd].wire}) // the host is the inside
			near.Addr(fmt.Sprintf("10.8.%d.1/24", i))
			l.Addr(addr + "/24")
		} else {
			l = host.Attach(segment, addr+"/24")
		}
		l.Neighbor("ipv4", "unres_qlen_bytes", "65536") // all hosts are one kernel here, and what may wait in it is shared
		if odd >= 0 {
			service = oddHosts[odd].port
			if oddHosts[odd].make != nil {
				oddHosts[odd].make(host, l)
			}
			want[addr+":80"] = oddHosts[odd].check
		}
		service.Port, service.Then = 80, topo.CloseFirst
		host.Serve(service)
		lines = append(lines, "  - "+addr+":80")
	}
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
	text := "candidates:\n" + strings.Join(lines, "\n") + "\nparallel: 12\nmeasure: {neighbor_queue: true, backlog: 128, i_own_this_path: true, prime_with: http, patience: 4s}\nchecks:\n" +
		"  - failure_ratio <= 0\n  - stall_ratio < 0.01\n  - p99 < 9s\n  - no finding >= confirmed local_arp_queue_overflow\n"
	for _, o := range oddHosts {
		text += "  - " + o.check + "\n"
	}
	// short queues leave many SYNs of the measurement unanswered, for which 30 hosts at once need room
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(file+".limits", []byte("limits: {unanswered: 50000}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return client, want
}

// A rollout of which five hosts differ: all five are found by the check that is theirs, no other host is blamed, and the run goes on where it ended.
func TestARollout(t *testing.T) {
	needNamespaces(t)
	dir := t.TempDir()
	file, state := filepath.Join(dir, "rollout.yml"), filepath.Join(dir, "state")
	client, want := pool(t, file)
	began := time.Now()
	validate := func(code int, args ...string) []byte {
		cmd := vipprobe(t, append([]string{"validate", "-f", file, "--state", state, "--config.file", file + ".limits"}, args...)...)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := client.Run(cmd); !errors.As(err, &exit) || exit.ExitCode() != code {
			t.Fatalf("%v, want exit %d: %s\n%s", err, code, stderr.String(), stdout.String())
		}
		return []byte(stdout.String())
	}
	var v view.Validation
	if err := json.Unmarshal(validate(exitFinding, "-o", "json"), &v); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d hosts in %s: %d passed, %d failed, %d unknown", len(v.Candidates), time.Since(began).Round(time.Second), v.Passed, v.Failed, v.Unknown)
	for _, c := range v.Candidates {
		var failed []string
		for _, x := range c.Checks {
			if x.State != "pass" {
				failed = append(failed, fmt.Sprintf("%s: %s, got %s: %s", x.Check, x.State, x.Got, x.Why))
			}
		}
		check, odd := want[c.Target]
		switch {
		case !odd && len(failed) > 0:
			t.Errorf("%s is like the others, and: %s", c.Target, strings.Join(failed, "; "))
		case odd && !slices.ContainsFunc(failed, func(s string) bool { return strings.HasPrefix(s, check+": fail") }):
			t.Errorf("%s fails %q, and: %s", c.Target, check, strings.Join(failed, "; "))
		}
		if c.Line == 0 {
			t.Errorf("%s stands at no line", c.Target)
		}
	}
	// what is finished is not measured again: only the file is read
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal(validate(exitFinding, "-o", "junit"), &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Tests != len(v.Candidates)*9 || suites.Failures < len(oddHosts) {
		t.Errorf("JUnit: %+v", suites)
	}
	if notes := string(validate(exitFinding, "-o", "github")); strings.Count(notes, "::error file=") < len(oddHosts) {
		t.Errorf("annotations:\n%s", notes)
	}
}

// TestPolicyHasBaseline: what was finished against a golden host is not taken for what another one would have given, though its file is called the
// same.
func TestPolicyHasBaseline(t *testing.T) {
	r := &targets.Rollout{Baseline: filepath.Join(t.TempDir(), "golden.json")}
	seen := map[string]bool{policyOf(r): true}
	for _, text := range []string{"one", "another"} {
		if err := os.WriteFile(r.Baseline, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		seen[policyOf(r)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d policies, want 3: of no file, and of two that differ", len(seen))
	}
}
