package topo_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// envVictim makes this test binary build a network with a child process in it, say so, and wait to be killed.
const envVictim = "VIPPROBE_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(envVictim) != "" {
		topo.MaybeChild()
		os.Exit(victim())
	}
	os.Exit(topo.Enter(m.Run))
}

func victim() int {
	n := topo.New(context.Background())
	h := n.Host("h")
	h.Attach(n.Bridge("lan"), "10.0.0.1/24")
	// A child, and a grandchild that outlives it. Both are shells, which a fork alone makes: while a process execs its command line reads empty.
	cmd := h.Command(context.Background(), "sh", "-c", "(echo ready; while :; do sleep 987654; done) & sleep 987655; :")
	cmd.Stdout = os.Stdout
	if err := errors.Join(n.Err(), h.Start(cmd)); err != nil {
		fmt.Println(err)
		return 1
	}
	select {}
}

func TestNothingSurvivesSIGKILL(t *testing.T) {
	private(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	topo.Reexec(cmd)
	cmd.Env = append(cmd.Env, envVictim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the victim says %q, %v", line, err)
	}
	fds := theirs(t)
	if len(fds) < 2 {
		t.Fatalf("%d processes in the victim's network, want a child and a grandchild", len(fds))
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for _, fd := range fds {
		if n, err := unix.Poll([]unix.PollFd{fd}, 10_000); n != 1 {
			t.Errorf("a process of the network outlived its maker: %d, %v", n, err)
		}
		unix.Close(int(fd.Fd))
	}
}

// theirs finds the victim's processes in /proc, by what only their command lines hold.
func theirs(t *testing.T) []unix.PollFd {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var fds []unix.PollFd
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscan(d.Name(), &pid); err != nil {
			continue
		}
		if b, err := os.ReadFile("/proc/" + d.Name() + "/cmdline"); err == nil && strings.Contains(string(b), "98765") {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	return fds
}

func TestUnsupportedIsOneSentenceWithARemedy(t *testing.T) {
	if !topo.Inside() {
		t.Skip("only inside, where the answer is known")
	}
	if err := topo.Supported(); err != nil {
		t.Errorf("nested namespaces: %v", err)
	}
}
