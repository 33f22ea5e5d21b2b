package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nobody prepares vipprobe as an ordinary user, with a temporary directory of its own, which it returns.
func nobody(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	tmp := t.TempDir()
	for _, dir := range []string{tmp, filepath.Dir(tmp)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := vipprobe(t, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp, "HOME="+tmp)
	if mapped(t, 65534) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd, tmp
}

// mapped reports whether this user namespace has more users than the one who runs the tests, who is then an ordinary one himself.
func mapped(t *testing.T, id int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b))
	first, _ := strconv.Atoi(f[0])
	count, _ := strconv.Atoi(f[2])
	return len(f) == 3 && id >= first && id < first+count
}

// remains is all that a program could leave behind here: processes and their namespaces, links, routes, mounts, sockets, files.
func remains(t *testing.T, tmp string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pid := range processes(t) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		all[fmt.Sprintf("process %d", pid)] = string(comm)
		for _, ns := range []string{"net", "user", "pid", "mnt"} {
			link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
			all[link] = "namespace"
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		all["link "+l.Attrs().Name] = l.Type()
	}
	for _, f := range []string{"/proc/self/mountinfo", "/proc/net/route", "/proc/net/packet", "/proc/net/raw", "/proc/net/raw6", "/proc/net/tcp",
		"/proc/net/tcp6", "/proc/net/udp"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if f != "/proc/self/mountinfo" || !strings.Contains(line, " "+netnsDir+"/") { // this machine's, which vanish here when they are deleted there
				all[f] += line
			}
		}
	}
	for _, dir := range []string{tmp, netnsDir, "/var/run/netns"} {
		entries, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, e := range entries {
			all[e] = "file"
		}
	}
	return all
}

// processes are those in this PID namespace and below, without zombies.
func processes(t *testing.T) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended since
		}
		text := string(b)
		if _, rest, ok := strings.Cut(text[strings.LastIndexByte(text, ')'):], " "); ok && rest[0] != 'Z' {
			pid, _ := strconv.Atoi(strings.Fields(text)[0])
			out = append(out, pid)
		}
	}
	return out
}

// TestDemoAsNobody: an ordinary user sees the fault named, and nothing is left of it.
func TestDemoAsNobody(t *testing.T) {
	needNamespaces(t)
	cmd, tmp := nobody(t, "demo")
	before := remains(t, tmp)
	p := start(t, cmd)
	if code := p.exits(); code != exitPass {
		t.Fatalf("exit %d\n%s", code, p.text())
	}
	p.read.Wait()
	text := p.text()
	for _, want := range []string{"local_arp_queue_overflow (proven)", "more      vipprobe explain local_arp_queue_overflow", "do        raise net.ipv4.neigh",
		"s  first contact: first contact, as applications make it", "The cause that was named is the fault that was hidden."} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not say %q:\n%s", want, text)
		}
	}
	for l := range strings.SplitSeq(text, "\n") {
		if n := len([]rune(l)); n > lineWidth {
			t.Errorf("%d characters: %s", n, l)
		}
	}
	if diff := cmp.Diff(before, remains(t, tmp)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}

// TestDemoKilled: SIGKILL in the middle of it, and still nothing is left, since the kernel itself clears up.
func TestDemoKilled(t *testing.T) {
	needNamespaces(t)
	cmd, tmp := nobody(t, "demo")
	before := remains(t, tmp)
	p := start(t, cmd)
	p.says("first contact: ", 1) // the network stands, and the diagnosis is under way
	var ours []unix.PollFd
	for _, pid := range processes(t) {
		if _, known := before[fmt.Sprintf("process %d", pid)]; known {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		ours = append(ours, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if len(ours) < 3 {
		t.Errorf("the demo consists of %d processes, want itself, its network and the diagnosis", len(ours))
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if code := p.exits(); code != -1 {
		t.Fatalf("exit %d of a killed process", code)
	}
	for i := range ours { // each is readable when its process has ended (pidfd_open(2))
		if n, err := unix.Poll(ours[i:i+1], int(patience.Milliseconds())); err != nil || n != 1 {
			t.Fatalf("a process of the demo outlives it: %d, %v", n, err)
		}
	}
	eventually(t, func() error { // a socket of a dead namespace is closed by a worker of the kernel's, a moment later
		after := remains(t, tmp)
		if maps.Equal(before, after) {
			return nil
		}
		return fmt.Errorf("left behind (-before +after):\n%s", cmp.Diff(before, after))
	})
}

// TestDemoForbidden: where the kernel gives no user namespaces, the setting is named, and the line that changes it.
func TestDemoForbidden(t *testing.T) {
	needNamespaces(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The limit is that of a namespace of its own: nothing else is bound by it.
	cmd := exec.Command("unshare", "--user", "--map-root-user", "bash", "-c",
		`echo 0 > /proc/sys/user/max_user_namespaces && exec -a vipprobe "$0" demo 2>&1 >/dev/null`, exe)
	cmd.Env = outside()
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != exitEnvironment {
		t.Errorf("exit %d, want %d: %v", code, exitEnvironment, err)
	}
	want := []string{"vipprobe: ", "user.max_user_namespaces=0", "try: sudo sysctl -w user.max_user_namespaces="}
	text := string(out)
	missing := slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(text, w) })
	if missing || strings.Count(text, "\n") != 1 {
		t.Errorf("stderr %q, want one line with %q", text, want)
	}
}
