package topo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// envNS tells a re-executed process what it is for.
const envNS = "VIPPROBE_NS"

// The values of envNS.
const (
	nsProbe  = "probe"  // make a veth, set a sysctl, report, exit: the question of Supported
	nsInside = "inside" // an ordinary run of the program within the private namespaces
)

// exitUnsupported is the exit status of a process that could not set up its own namespaces (EX_UNAVAILABLE of sysexits.h).
const exitUnsupported = 69

// Reexec makes cmd start in user, network, PID and mount namespaces of its own, as uid 0 there, without any privilege here.
// When the thread that starts cmd ends, cmd and everything below it is killed: hold that thread (runtime.LockOSThread)
// until cmd.Wait has returned. The program that cmd runs must call MaybeChild first thing in main.
func Reexec(cmd *exec.Cmd) {
	ReexecPrivileged(cmd)
	// As root, too: inside, a mistake cannot reach the machine's own namespaces.
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	cmd.SysProcAttr.GidMappingsEnableSetgroups = false // an unprivileged gid map needs it: user_namespaces(7)
}

// ReexecPrivileged is Reexec for root without a user namespace: what needs the machine's own capabilities (BPF, limits that
// are one for all namespaces) works only so.
func ReexecPrivileged(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The PID namespace is what ends grandchildren as well: its first process takes all others along (pid_namespaces(7)).
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, envNS+"="+nsInside)
}

// Inside reports whether this process, or an ancestor of it, was started by Reexec.
func Inside() bool { return os.Getenv(envNS) == nsInside }

// Privileged reports whether this process holds its uid 0 in the machine's first user namespace.
func Privileged() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && os.Geteuid() == 0 && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}

// MaybeChild does what a process started by this package is for, and then exits; in any other process, and in one that
// runs inside its namespaces as usual, it returns. Call it first thing in main and in every TestMain that makes a Net.
func MaybeChild() {
	switch os.Getenv(envNS) {
	case nsProbe:
		if err := tryInside(); err != nil {
			fmt.Println(err)
			os.Exit(exitUnsupported)
		}
		os.Exit(0)
	case nsInside:
		if os.Getpid() == 1 {
			settle()
		}
	}
}

// settle gives the new PID namespace its own /proc, so that /proc/PID means what getpid says. Where the mount is refused (a
// container that masks parts of /proc: mount_namespaces(7)) the old one still answers /proc/self.
func settle() {
	keepNeighborStat()
	if unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") == nil {
		_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
}

// Enter runs the program inside private namespaces: outside it re-executes this very command line there and returns its
// exit status, inside it calls run. Where the machine does not allow it, it says why on stderr and calls run outside, so
// that tests can skip by name (see Inside).
func Enter(run func() int) int {
	MaybeChild()
	if Inside() {
		return run()
	}
	if err := Supported(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return run()
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	Reexec(cmd)
	code, err := Wait(cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// Wait starts cmd and waits for it on one thread, passes SIGTERM on (the terminal itself delivers SIGINT to both), and returns
// its exit status: 128+n where signal n ended it. The error says that it could not be started.
func Wait(cmd *exec.Cmd) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return exitUnsupported, fmt.Errorf("start %s in private namespaces: %w", cmd.Path, err)
	}
	done := make(chan struct{})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGTERM {
					_ = cmd.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	<-passed
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return exitUnsupported, fmt.Errorf("wait for %s: %w", cmd.Path, err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// tryInside does once what every Net needs: a link, and a sysctl of it.
func tryInside() error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make a veth: %w", err)
	}
	if err := writeSysctl("net.ipv4.neigh.v0.unres_qlen_bytes", "2496"); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a second network namespace: %w", err)
	}
	return nil
}
