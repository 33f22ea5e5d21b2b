package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// TestMain is three programs: the tests outside, the same tests inside namespaces of their own, where nothing reaches this machine, and
// vipprobe itself, when called by that name.
func TestMain(m *testing.M) {
	topo.MaybeChild()
	if filepath.Base(os.Args[0]) != "vipprobe" {
		if !topo.Inside() && topo.Supported() == nil {
			os.Exit(reenter())
		}
		if topo.Inside() {
			flag.Parse()
			// one after the other: the programs that they start take source ports from one range
			if err := errors.Join(furnish(), flag.Set("test.parallel", "1")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	testscript.Main(m, map[string]func(){"vipprobe": func() { os.Exit(run()) }})
}

// reenter runs this very command line inside private namespaces. As root all users are mapped, so that tests can be somebody else there.
func reenter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	topo.Reexec(cmd)
	if os.Geteuid() == 0 {
		all := []syscall.SysProcIDMap{{Size: 1 << 16}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.GidMappingsEnableSetgroups = all, all, true
	}
	code, err := topo.Wait(cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// needNamespaces skips a test where this machine has no private namespaces, which is a failure in CI.
func needNamespaces(t *testing.T) {
	t.Helper()
	if topo.Inside() {
		return
	}
	err := topo.Supported()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skipf("SKIPPED: %v", err)
}

// outside is the environment of a program that is not to know that it runs inside a test's namespaces.
func outside() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "VIPPROBE_NS=") {
			env = append(env, e)
		}
	}
	return env
}

// furnish makes the network that the scripts find: loopback; up0 with documentation addresses and nobody behind it; down0, which is
// down; a few names; no route to anywhere else, and nobody to ask for other names.
func furnish() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for name, addrs := range map[string][]string{"up": {"192.0.2.1/24", "2001:db8::1/64"}, "down": {"203.0.113.1/24"}} {
		if err := link(name, addrs, name == "up"); err != nil {
			return fmt.Errorf("link %s0: %w", name, err)
		}
	}
	names := "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 three.test\n127.0.0.2 three.test\n::1 three.test\n127.0.0.1 four.test\n" +
		"169.254.169.254 metadata.test\n198.51.100.7 far.test\n"
	return errors.Join(replace("/etc/hosts", names), replace("/etc/resolv.conf", "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"), cover(netnsDir))
}

// netnsDir is where ip-netns(8) keeps its namespaces: this machine's come and go while tests look for what a program leaves there.
const netnsDir = "/run/netns"

// cover lays an empty directory over one of the machine's, if it has it, in this mount namespace alone.
func cover(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("mount a tmpfs over %s: %w", dir, err)
	}
	return nil
}

func link(name string, addrs []string, up bool) error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name + "0"}, PeerName: name + "1"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	for _, a := range addrs {
		ip, ipNet, err := net.ParseCIDR(a)
		if err != nil {
			return err
		}
		ipNet.IP = ip
		if err := netlink.AddrAdd(veth, &netlink.Addr{IPNet: ipNet, Flags: unix.IFA_F_NODAD}); err != nil {
			return err
		}
	}
	if !up {
		return nil
	}
	peer, err := netlink.LinkByName(name + "1")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(veth), netlink.LinkSetUp(peer))
}

// replace lays a file of ours over one of the machine's, in this mount namespace alone.
func replace(path, text string) error {
	f, err := os.CreateTemp("", "vipprobe")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // the mount keeps it
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := unix.Mount(f.Name(), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("lay a file over %s: %w", path, err)
	}
	return nil
}
