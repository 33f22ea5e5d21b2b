package api

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/targets"
)

// TestShippedFiles: the example configuration loads without a warning, and Prometheus' part of it names our port.
func TestShippedFiles(t *testing.T) {
	c, err := targets.Load("../deploy/vipprobe.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings() {
		t.Error(w)
	}
	for _, name := range c.ModuleNames() {
		if _, err := c.Module(name); err != nil {
			t.Error(err)
		}
	}
	const file = "../deploy/prometheus/prometheus.yml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "127.0.0.1"+DefaultListen); n != 2 {
		t.Errorf("%s names our port %d times, want 2", file, n)
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("SKIPPED: promtool is not installed; prometheus.yml was not checked with it")
	}
	if out, err := exec.Command(path, "check", "config", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
