// Package deploy holds no program, only what is shipped beside one (units, manifests, rules, dashboards) and the tests of these files
// against the tools that will read them. It never starts vipprobe; cmd/vipprobe's tests do, with these files.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// tool finds a program; in CI it must be there.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("SKIPPED: %s is not installed (Debian: %s)", name, pkg)
	}
	return path
}

// read returns a file's text.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says runs a program and returns what it says, which must be no complaint.
func says(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestRules: Prometheus takes the rules, and each alert fires where it should and only there.
func TestRules(t *testing.T) {
	promtool := tool(t, "promtool", "prometheus")
	says(t, promtool, "check", "rules", "prometheus/rules.yml")
	says(t, promtool, "test", "rules", "prometheus/rules_test.yml")
	tested := read(t, "prometheus/rules_test.yml")
	_, alerts, _ := strings.Cut(read(t, "prometheus/rules.yml"), "- alert: ")
	for alert := range strings.SplitSeq(alerts, "- alert: ") {
		name, text, _ := strings.Cut(alert, "\n")
		if !strings.Contains(tested, name) {
			t.Errorf("no test is about %s", name)
		}
		switch link := regexp.MustCompile(`runbook_url: .*`).FindString(text); {
		case name == "VipprobeDown": // who does not answer has no runbook either
		case link == "":
			t.Errorf("%s has no runbook", name)
		case strings.Contains(text, "$labels.verdict") && !strings.Contains(link, "/api/v1/verdicts"):
			t.Errorf("%s names a verdict, and its runbook is %s", name, link)
		}
	}
}

// TestNames: every metric that rules and dashboards ask for is one that the service exposes, and every verdict one that it names.
func TestNames(t *testing.T) {
	sources, err := filepath.Glob("../api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`"((?:vipprobe|probe)_[a-z0-9_]+)"`).FindAllStringSubmatch(read(t, name), -1) {
			declared[m[1]] = true
		}
	}
	verdict := regexp.MustCompile(`verdict!?=~?"([a-z_|]+)"`)
	metric := regexp.MustCompile(`(?:^|[^a-z_:.$])((?:vipprobe|probe)_[a-z0-9_]+)`)
	for _, name := range []string{"prometheus/rules.yml", "prometheus/rules_test.yml", "grafana/vipprobe.json"} {
		text := strings.ReplaceAll(read(t, name), `\"`, `"`)
		found := metric.FindAllStringSubmatch(text, -1)
		if len(found) < 5 {
			t.Errorf("%s asks for %d metrics only", name, len(found))
		}
		for _, m := range found {
			base := m[1]
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !declared[base] && !declared[m[1]] {
				t.Errorf("%s asks for %s, which nothing exposes", name, m[1])
			}
		}
		for _, m := range verdict.FindAllStringSubmatch(text, -1) {
			for v := range strings.SplitSeq(m[1], "|") {
				if !slices.Contains(diagnose.Verdicts(), diagnose.Verdict(v)) {
					t.Errorf("%s asks for the verdict %s, which there is not", name, v)
				}
			}
		}
	}
}
