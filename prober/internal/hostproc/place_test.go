package hostproc

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]Place{"host": {}, "4711": {PID: 4711}, "/proc/1/ns/net": {Path: "/proc/1/ns/net"}, "./x": {Path: "./x"}} {
		if got, err := ParsePlace(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, why := range map[string]string{"": "no namespace", "0": "no process id", "-3": "no process id", "a b": "no namespace", "no-such-name": "by a process id", "..": "no namespace name"} {
		if got, err := ParsePlace(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %+v, error %v, want it to say %q", text, got, err, why)
		}
	}
	for place, want := range map[Place]string{{}: "host", {PID: 7}: "pid 7", {Path: "/run/netns/blue"}: "blue", {Path: "/tmp/ns"}: "/tmp/ns"} {
		if got := place.String(); got != want {
			t.Errorf("%+v: %q, want %q", place, got, want)
		}
	}
}

func TestOpenNamespace(t *testing.T) {
	own, err := OpenNamespace(Place{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := own.Read(); err != nil || c.Values["sockstat.TCP.inuse"] < 0 || own.Limited() != nil {
		t.Errorf("%v, %v", err, own.Limited())
	}
	if s, err := own.Sysctls(); err != nil || s["net.ipv4.tcp_sack"] == "" || s["net.ipv4.tcp_fastopen_key"] != "" {
		t.Errorf("settings %v, %v", s, err)
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenNamespace(Place{PID: math.MaxInt32}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
	if _, err := OpenNamespace(Place{Path: "testdata"}); err == nil {
		t.Error("a directory was taken for a namespace")
	}
}

// What is entered is left behind with its thread, which is never the process's first.
func TestNamespaceIsLeft(t *testing.T) {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ns, err := OpenNamespace(Place{PID: os.Getpid()})
		if err != nil {
			t.Fatal(err)
		}
		first := false
		if err := ns.Do(func() error { first = unix.Gettid() == unix.Getpid() && ns.file != nil; return nil }); err != nil && ns.Limited() == nil {
			t.Error(err)
		}
		if first {
			t.Error("a namespace was entered on the process's first thread")
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != here {
		t.Errorf("the process is in %s now, was in %s: %v", after, here, err)
	}
}

func TestSockstat(t *testing.T) {
	got := map[string]int64{}
	err := parseSockstat([]byte("sockets: used 17\nTCP: inuse 1 orphan 0 tw 1 alloc 1 mem 133\nUDP: inuse 0 mem\nRAW: inuse x\n"), got)
	if err == nil || !strings.Contains(err.Error(), "line ") {
		t.Errorf("error %v, want the bad lines named", err)
	}
	want := map[string]int64{
		"sockstat.sockets.used": 17, "sockstat.TCP.inuse": 1, "sockstat.TCP.orphan": 0, "sockstat.TCP.tw": 1, "sockstat.TCP.alloc": 1, "sockstat.TCP.mem": 133,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A sum over CPUs falls by 2³² when one of them wraps; what falls by anything else was reset.
func TestSumsOverCPUsWrap(t *testing.T) {
	before := Counters{Values: map[string]int64{
		"softnet.dropped": 3<<32 + 10, "nf_conntrack.drop": math.MaxUint32, "TcpExt.ListenDrops": 5 << 32, "arp_cache.res_failed": 100, "sockstat.TCP.tw": 9,
		"softnet.time_squeeze": 9 << 32,
	}}
	after := Counters{Values: map[string]int64{
		"softnet.dropped": 2<<32 + 17, "nf_conntrack.drop": 4, "TcpExt.ListenDrops": 4<<32 + 7, "arp_cache.res_failed": 0, "sockstat.TCP.tw": 2,
		"softnet.time_squeeze": 5,
	}}
	want := map[string]int64{"softnet.dropped": 7, "nf_conntrack.drop": 5, "sockstat.TCP.tw": -7}
	if d := cmp.Diff(want, Delta(before, after)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]string{"TcpExt.ListenDrops", "arp_cache.res_failed", "softnet.time_squeeze"}, Reset(before, after)); d != "" {
		t.Errorf("reset, -want +got:\n%s", d)
	}
}
