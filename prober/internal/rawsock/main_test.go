package rawsock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
)

// The tests run in a copy of their own binary that lives in a fresh user and network namespace: nothing they send, bind or
// configure touches the host's. insideEnv marks the copy; noNamespaceEnv carries why there could be none.
const (
	insideEnv      = "RAWSOCK_TEST_INSIDE"
	noNamespaceEnv = "RAWSOCK_TEST_NO_NAMESPACE"
)

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		if os.Getenv(noNamespaceEnv) == "" {
			if err := loopbackUp(); err != nil {
				fmt.Fprintln(os.Stderr, "set up namespace:", err)
				os.Exit(1)
			}
		}
		goleak.VerifyTestMain(m)
	}
	os.Exit(rerun())
}

func rerun() int {
	runtime.LockOSThread() // Pdeathsig fires when the thread that started the child ends
	attr := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	code, err := runCopy(attr, "")
	if err != nil && os.Getuid() == 0 {
		attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		code, err = runCopy(attr, "")
	}
	if err != nil {
		code, err = runCopy(&syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, err.Error())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests again:", err)
		return 1
	}
	return code
}

// runCopy runs the copy; the error says that it could not be started at all.
func runCopy(attr *syscall.SysProcAttr, noNamespace string) (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1", noNamespaceEnv+"="+noNamespace)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdin, os.Stdout, os.Stderr, attr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// needNamespace skips a test that sends, where there is no namespace of our own to send in. In CI that is a failure.
func needNamespace(t testing.TB) {
	t.Helper()
	if why := os.Getenv(noNamespaceEnv); why != "" {
		skip(t, "no network namespace of our own: "+why)
	}
}

func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("in CI nothing is skipped: " + why)
	}
	t.Skip("SKIPPED: " + why)
}
