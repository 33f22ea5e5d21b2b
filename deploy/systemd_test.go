package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestUnit: systemd has no complaint about the unit, and rates what is left to it at 2.5 or less (of 10; below that it says OK).
func TestUnit(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	unit := read(t, "systemd/vipprobe.service")
	// verify wants to find the program; any will do
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(unit, "/usr/bin/vipprobe", binary, 1)
	if changed == unit {
		t.Fatal("the unit does not start /usr/bin/vipprobe")
	}
	file := filepath.Join(t.TempDir(), "vipprobe.service")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := says(t, analyze, "verify", "--man=no", file); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out := says(t, analyze, "security", "--offline=true", "--no-pager", file)
	m := regexp.MustCompile(`Overall exposure level for vipprobe\.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security: %s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 2.5 {
		t.Errorf("the unit is rated %s, want 2.5 at most\n%s", m[1], out)
	}
}

// TestUnitLets: what the service needs is not taken away by the sandbox.
func TestUnitLets(t *testing.T) {
	settings := map[string][]string{}
	for line := range strings.Lines(read(t, "systemd/vipprobe.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = append(settings[key], strings.Fields(value)...)
		}
	}
	for key, want := range map[string]string{
		"RestrictAddressFamilies": "AF_INET AF_INET6 AF_PACKET AF_NETLINK AF_UNIX", "AmbientCapabilities": "CAP_NET_RAW",
		"CapabilityBoundingSet": "CAP_NET_RAW", "DynamicUser": "yes", "Type": "notify", "StateDirectory": "vipprobe",
	} {
		if got := strings.Join(settings[key], " "); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	for _, key := range []string{"PrivateNetwork", "PrivateUsers", "IPAddressDeny", "ProcSubset"} {
		if got := settings[key]; got != nil {
			t.Errorf("%s=%v takes away the host's network or its counters", key, got)
		}
	}
}
