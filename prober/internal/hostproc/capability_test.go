package hostproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tryVeth makes this test binary the command that UserNamespaces runs.
const tryVeth = "try-veth"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == tryVeth {
		if err := TryVeth(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCapabilitiesGolden(t *testing.T) {
	for kernel, want := range map[string]Capabilities{
		"2.6.32": {NetRaw: true, NetAdmin: true},
		"6.18":   {NetRaw: true},
	} {
		got, err := golden(kernel).capabilities()
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", kernel, got, err, want)
		}
	}
	if _, err := golden("4.19").capabilities(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a status file: %v", err)
	}
	bad := root(t.TempDir())
	if err := os.MkdirAll(filepath.Join(string(bad), "self"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"Name:\tx\n", "CapEff:\tzz\n"} {
		if err := os.WriteFile(filepath.Join(string(bad), "self/status"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := bad.capabilities(); err == nil {
			t.Errorf("%q gives %+v", content, got)
		}
	}
}

// The capabilities are the calling thread's, not the process's.
func TestCapabilitiesOfThread(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&h, &none[0]); err != nil {
			result <- err
			return
		}
		c, err := ReadCapabilities()
		if err == nil && c != (Capabilities{}) {
			err = fmt.Errorf("%+v after all were dropped", c)
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestUserNamespaces(t *testing.T) {
	err := UserNamespaces(exec.Command("/proc/self/exe", tryVeth))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
	// outside of a fresh namespace nothing is touched
	if links, err := os.ReadDir("/sys/class/net"); err == nil && len(links) > 1 {
		before := len(links)
		if err := TryVeth(); err == nil {
			t.Error("made a veth pair in the host's namespace")
		}
		if links, err = os.ReadDir("/sys/class/net"); err != nil || len(links) != before {
			t.Errorf("%d interfaces before, %d after, %v", before, len(links), err)
		}
	}
}

// The error of a denied namespace carries what the command said.
func TestUserNamespacesDenied(t *testing.T) {
	err := UserNamespaces(exec.Command("/bin/sh", "-c", "echo make a veth pair: operation not permitted; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "operation not permitted") {
		t.Errorf("error %v", err)
	}
}

func TestNamespaceSettings(t *testing.T) {
	n := NamespaceSettings{MaxUser: is(0), MaxNet: is(5), AppArmorRestrict: is(1)}
	want := []string{"user.max_user_namespaces = 0", "kernel.apparmor_restrict_unprivileged_userns = 1"}
	if diff := cmp.Diff(want, n.Forbids()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if in := (NamespaceSettings{MaxUser: is(96364)}).Forbids(); in != nil {
		t.Errorf("forbidden by %v", in)
	}
}
