package neigh

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// inNamespace runs the calling test again in a child process with its own user and network namespace and reports false in
// the parent, which then has nothing left to do.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const mark = "NEIGH_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		linkUp(t, "lo")
		return true
	}
	if os.Getenv(mark) != "" {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is the thread's
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cannot(t, "make a user and network namespace: %v", err)
	}
	err := cmd.Wait()
	switch {
	case err != nil:
		t.Fatalf("in the namespace: %v\n%s", err, out.String())
	case strings.Contains(out.String(), "--- SKIP: "+t.Name()):
		cannot(t, "in the namespace:\n%s", out.String())
	case !strings.Contains(out.String(), "--- PASS: "+t.Name()):
		t.Fatalf("the test did not run in the namespace:\n%s", out.String())
	}
	t.Logf("%s", out.String())
	return false
}

// cannot skips, but fails where CI must be able to.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must be able to "+format, args...)
	}
	t.Skipf("SKIPPED, cannot "+format, args...)
}

func linkUp(t *testing.T, name string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		cannot(t, "set %s up: %v", name, err)
	}
}

func sysctl(t *testing.T, name string, value any) {
	t.Helper()
	path := "/proc/sys/net/" + strings.ReplaceAll(name, ".", "/")
	if err := os.WriteFile(path, fmt.Append(nil, value), 0); err != nil {
		t.Fatal(err)
	}
}

// pair is a veth pair between this namespace ("near": 10.9.0.1/24, fd09::1/64) and another ("far": .2, ::2).
type pair struct {
	t         *testing.T
	home, ns  netns.NsHandle
	near, far int // interface indices, each in its own namespace
	nearMAC   wire.MAC
	farMAC    wire.MAC
}

func newPair(t *testing.T) *pair {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New() // and this thread is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close(); _ = home.Close() })
	p := &pair{t: t, home: home, ns: ns}
	linkUp(t, "lo")
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "far"}, PeerName: "near", PeerNamespace: netlink.NsFd(home),
	}); err != nil {
		t.Fatal(err)
	}
	p.far, p.farMAC = address(t, "far", "10.9.0.2/24", "fd09::2/64")
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	p.near, p.nearMAC = address(t, "near", "10.9.0.1/24", "fd09::1/64")
	awaitLink(t, "near")
	p.there(func() { awaitLink(t, "far") })
	return p
}

// there runs f on a thread of the far namespace and waits for it.
func (p *pair) there(f func()) {
	p.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(p.ns)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
}

func address(t *testing.T, link string, prefixes ...string) (int, wire.MAC) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prefixes {
		a, err := netlink.ParseAddr(p)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = syscall.IFA_F_NODAD
		if err := netlink.AddrAdd(l, a); err != nil {
			t.Fatalf("add %s to %s: %v", p, link, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index, wire.MAC(l.Attrs().HardwareAddr)
}

// awaitLink waits until a device that has just got its carrier sends: until then its queue throws everything away
// (net/core/link_watch.c activates it later, under the lock that setting it up takes as well).
func awaitLink(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			linkUp(t, name)
			return
		}
	}
}
