package deposition

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLiveNodeExporter: what a real node_exporter tells by default is read: the counters that it has, and the kernel's release.
func TestLiveNodeExporter(t *testing.T) {
	where := nodeExporter(t)
	k, err := New("http://"+where+"/metrics", Credentials{}, []string{"TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.PAWSPassive"}, []uint16{80})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	got, err := k.Ask(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if want := unix.ByteSliceToString(u.Release[:]); got.Kernel != want {
		t.Errorf("kernel %q, want %q", got.Kernel, want)
	}
	for _, name := range []string{"TcpExt.ListenOverflows", "TcpExt.ListenDrops"} {
		if _, ok := got.Counters[name]; !ok {
			t.Errorf("it does not tell %s: %v", name, got.Counters)
		}
	}
	if _, ok := got.Counters["TcpExt.PAWSPassive"]; ok {
		t.Error("it tells PAWSPassive by default, which --collector.netstat.fields left out")
	}
}

// nodeExporter starts one on a port of its own and says where it listens.
func nodeExporter(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus-node-exporter is not installed")
		}
		t.Skip("SKIPPED: prometheus-node-exporter is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	cmd := exec.CommandContext(ctx, bin, "--web.listen-address=127.0.0.1:0", "--collector.disable-defaults", "--collector.netstat", "--collector.uname")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	listens := regexp.MustCompile(`address=(127\.0\.0\.1:\d+)`)
	lines := bufio.NewScanner(said)
	var all []string
	for lines.Scan() {
		if m := listens.FindStringSubmatch(lines.Text()); m != nil && !strings.HasSuffix(m[1], ":0") {
			return m[1]
		}
		all = append(all, lines.Text())
	}
	t.Fatalf("it does not listen:\n%s", strings.Join(all, "\n"))
	return ""
}
