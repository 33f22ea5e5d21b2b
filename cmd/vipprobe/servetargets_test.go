package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shownTargets is what /api/v1/targets says: group, role, target and state, a line each.
func (s *served) shownTargets() (string, error) {
	status, body := s.get("/api/v1/targets")
	var page struct {
		Targets []struct{ Group, Role, Target, State, Recent string }
	}
	if err := json.Unmarshal([]byte(body), &page); status != http.StatusOK || err != nil {
		return "", fmt.Errorf("%d %w %s", status, err, body)
	}
	var out []string
	for _, t := range page.Targets {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", t.Group, t.Role, t.Target, t.State)))
	}
	return strings.Join(out, "\n"), nil
}

// TestDiscoveredTargets: a file of targets is probed, with VIP and member together, and when it changes so does what is probed; the history of what stays
// stays. The configuration is read anew by itself once its file has changed, and a shard tells of its own targets only.
func TestDiscoveredTargets(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	port, _ := accepting(t, "0.0.0.0:0")
	list := filepath.Join(t.TempDir(), "pool.json")
	pool := func(members ...string) {
		text := `[{"targets": ["127.0.4.1:` + port + `"], "labels": {"vip": "web", "role": "vip"}}`
		for _, m := range members {
			text += `, {"targets": ["` + m + ":" + port + `"], "labels": {"vip": "web", "role": "member"}}`
		}
		if err := os.WriteFile(list+".new", []byte(text+"]"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	pool("127.0.4.2", "127.0.4.3")
	config := "allow: [127.0.4.0/24]\nmodules: {one: {prober: connect, burst: 1, timeout: 100ms}}\n" +
		"jobs: [{name: web, module: one, interval: 500ms, file_sd_configs: [{files: ['" + list + "'], refresh_interval: 1s}]%s}]\n"
	s := serveWith(t, "127.0.0.1:19121", fmt.Sprintf(config, ""), "--config.auto-reload-interval", "100ms", "--web.enable-pprof")
	shows := func(want ...string) {
		t.Helper()
		eventually(t, func() error {
			got, err := s.shownTargets()
			if err == nil && got != strings.ReplaceAll(strings.Join(want, "\n"), "PORT", port) {
				err = fmt.Errorf("targets:\n%s", got)
			}
			return err
		})
	}
	shows("web vip 127.0.4.1:PORT well", "web member 127.0.4.2:PORT well", "web member 127.0.4.3:PORT well")
	pool("127.0.4.2", "127.0.4.4")
	shows("web vip 127.0.4.1:PORT well", "web member 127.0.4.2:PORT well", "web member 127.0.4.4:PORT well")
	_, metrics := s.get("/metrics")
	for _, want := range []string{`vipprobe_discovery_targets{job_name="web"} 3`, `vipprobe_target_success{job_name="web",role="vip",target="127.0.4.1:` + port + `",vip="web"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if strings.Contains(metrics, `127.0.4.3:`) {
		t.Error("/metrics still has the member that has gone")
	}
	s.configure(fmt.Sprintf(config, ", relabel_configs: [{source_labels: [role], regex: vip, action: keep}]"))
	shows("web vip 127.0.4.1:PORT well")
	if status, _ := s.get("/debug/pprof/goroutine?debug=1"); status != http.StatusOK {
		t.Errorf("/debug/pprof: %d", status)
	}
	s.configure("jobs: [{}]\n")
	s.says("configuration not reloaded; the old one stays in force", 1)
	shows("web vip 127.0.4.1:PORT well")
}

// TestAShardTellsOfItsOwn: what another shard probes is not pending here.
func TestAShardTellsOfItsOwn(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	port, _ := accepting(t, "0.0.0.0:0")
	var all []string
	for i := range 12 {
		all = append(all, fmt.Sprintf("'127.0.5.%d:%s'", i+1, port))
	}
	config := "allow: [127.0.5.0/24]\njobs: [{name: web, interval: 10m, targets: [" + strings.Join(all, ", ") + "]}]\n"
	seen := map[string]int{}
	for i := range 2 {
		s := serveWith(t, fmt.Sprintf("127.0.0.1:%d", 19122+i), config, "--shard", fmt.Sprintf("%d/2", i))
		list, err := s.shownTargets()
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(list, "\n") {
			seen[strings.Fields(l)[0]]++
		}
	}
	if len(seen) != len(all) {
		t.Errorf("%d of %d targets are shown", len(seen), len(all))
	}
	for target, n := range seen {
		if n != 1 {
			t.Errorf("%s is shown by %d shards", target, n)
		}
	}
}
