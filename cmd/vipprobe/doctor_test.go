package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// doctorNames are the checks in their order: programs read them.
var doctorNames = []string{
	"kernel", "cap_net_raw", "cap_net_admin", "capture_ring", "source_ports", "connects", "port_hold", "open_files", "syn_ladder",
	"tcp_timestamps", "neighbor_queue_ipv4", "neighbor_queue_ipv6", "neighbor_table_ipv4", "neighbor_table_ipv6", "conntrack",
	"user_namespaces",
}

// examine runs a command line in a shell with the program as $0, in a network namespace of its own, and returns what it said and its exit.
func examine(t *testing.T, script string) (string, int) {
	t.Helper()
	needNamespaces(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "bash", "-c", script, exe)
	cmd.Env = outside()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// checked decodes the JSON form by name, and holds the names against the list.
func checked(t *testing.T, out string) map[string]checkView {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	var doc doctorView
	if err := dec.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var names []string
	byName := map[string]checkView{}
	for _, c := range doc.Checks {
		names = append(names, c.Name)
		byName[c.Name] = c
	}
	if d := cmp.Diff(doctorNames, names); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	return byName
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	out, code := examine(t, `exec -a vipprobe "$0" doctor -o json`)
	if code != exitPass {
		t.Errorf("exit %d, want %d", code, exitPass)
	}
	for name, c := range checked(t, out) {
		if c.State == "fail" || c.State == "unknown" {
			t.Errorf("%s: %s, %s", name, c.State, c.Detail)
		}
	}
}

// TestDoctorTable: a check a line, none wider than the others' output, and hints only below what they are for.
func TestDoctorTable(t *testing.T) {
	t.Parallel()
	out, _ := examine(t, `exec -a vipprobe "$0" doctor`)
	var names []string
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > lineWidth || strings.HasSuffix(line, " ") {
			t.Errorf("too wide, or spaces at its end: %q", line)
		}
		if f := strings.Fields(line); !strings.HasPrefix(line, " ") && len(f) > 1 {
			names = append(names, f[1])
		}
	}
	if d := cmp.Diff(doctorNames, names); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

// TestDoctorWithoutCapabilities: connects still work, so nothing fails.
func TestDoctorWithoutCapabilities(t *testing.T) {
	t.Parallel()
	out, code := examine(t, `exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs bash -c 'exec -a vipprobe "$0" doctor -o json' "$0"`)
	if code != exitPass {
		t.Errorf("exit %d, want %d", code, exitPass)
	}
	all := checked(t, out)
	for _, name := range []string{"cap_net_raw", "capture_ring"} {
		if c := all[name]; c.State != "warn" || c.Hint == "" {
			t.Errorf("%s: %+v, want warn and a hint", name, c)
		}
	}
	for _, name := range []string{"cap_net_admin", "connects", "port_hold"} {
		if c := all[name]; c.State != "ok" {
			t.Errorf("%s: %+v, want ok", name, c)
		}
	}
}

// TestDoctorFails: without source ports there is nothing to probe from.
func TestDoctorFails(t *testing.T) {
	t.Parallel()
	out, code := examine(t, `echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range && exec -a vipprobe "$0" doctor -o json`)
	if code != exitEnvironment {
		t.Errorf("exit %d, want %d", code, exitEnvironment)
	}
	for name, c := range checked(t, out) {
		if (c.State == "fail") != (name == "source_ports") {
			t.Errorf("%s: %s, %s", name, c.State, c.Detail)
		}
	}
}

func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"doctor", "now"}, {"doctor", "-o", "yaml"}} {
		var stdout, stderr strings.Builder
		if code := execute(t.Context(), args, &stdout, &stderr); code != exitUsage || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, code, stdout.String(), stderr.String())
		}
	}
}

func TestJudgeNamespaces(t *testing.T) {
	t.Parallel()
	setting := &topo.Unsupported{Cause: fs.ErrPermission, Why: "a setting", Fix: "sudo sysctl -w user.max_user_namespaces=15000"}
	profile := &topo.Unsupported{Cause: fs.ErrPermission, Why: "a profile", Fix: "sudo vipprobe doctor"}
	for _, c := range []struct {
		err        error
		want       prober.CheckState
		text, hint string
	}{
		{nil, prober.CheckOK, "demo and lab", ""},
		{setting, prober.CheckWarn, "permission denied; a setting", setting.Fix},
		{profile, prober.CheckWarn, "permission denied; a profile", "sudo vipprobe demo"},
	} {
		got := judgeNamespaces(c.err)
		if got.State != c.want || got.Hint != c.hint || !strings.Contains(got.Detail, c.text) {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
}
