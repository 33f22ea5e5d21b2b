package droptrace

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread in a network namespace of its own, with lo up, and gives its inode number.
func inNamespace(t *testing.T, f func(netns uint32)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("a network namespace: %v", err)
			return
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		info, e := os.Stat("/proc/thread-self/ns/net")
		if err := errors.Join(err, e); err != nil {
			t.Error(err)
			return
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f(uint32(st.Ino))
		}
	}()
	<-done
}

// open skips where this kernel or this user cannot trace (a failure where CI promises that it can).
func open(t *testing.T, netns uint32) *Tracer {
	t.Helper()
	tr, err := Open(netns)
	if err == nil {
		return tr
	}
	if v := (*ebpf.VerifierError)(nil); errors.As(err, &v) {
		t.Errorf("the verifier refuses it: %+v", v)
	}
	_, unsupported := errors.AsType[*UnsupportedError](err)
	if !unsupported || os.Geteuid() == 0 && os.Getenv("CI") == "true" {
		t.Errorf("open: %v", err)
	} else {
		t.Logf("not tried: %v", err)
	}
	return nil
}

// privileged skips for who may not make a network namespace (a failure in CI).
func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this needs root")
	}
	t.Skip("this needs root")
}

// TestDrops: a datagram to a port where nobody listens, and one of a namespace that is not asked about.
func TestDrops(t *testing.T) {
	privileged(t)
	for _, c := range []struct {
		story string
		to    netip.AddrPort
		other bool // another namespace is asked about
	}{
		{"IPv4", netip.MustParseAddrPort("127.0.0.1:9"), false},
		{"IPv6", netip.MustParseAddrPort("[::1]:9"), false},
		{"another namespace's", netip.MustParseAddrPort("127.0.0.1:9"), true},
	} {
		t.Run(c.story, func(t *testing.T) {
			inNamespace(t, func(netns uint32) {
				if c.other {
					netns = 1
				}
				tr := open(t, netns)
				if tr == nil {
					return
				}
				defer tr.Close()
				for _, w := range tr.Without {
					t.Errorf("without %s", w)
				}
				s, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(c.to))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				from := s.LocalAddr().(*net.UDPAddr).AddrPort()
				const sent = 5
				for range sent {
					_, _ = s.Write([]byte("to nobody")) // the answer to the one before is an error here
				}
				got, err := tr.Read()
				if err != nil {
					t.Error(err)
					return
				}
				i := slices.IndexFunc(got.Drops, func(d Drop) bool { return d.Flow.Dst == c.to && d.Flow.Src.Port() == from.Port() && d.Flow.Proto == protoUDP })
				switch {
				case c.other && (len(got.Drops) > 0 || len(got.Reasons) > 0):
					t.Errorf("%d flows of another namespace are counted", len(got.Drops))
				case c.other:
				case i < 0:
					t.Errorf("the drops of %s are not among %+v", from, got.Drops)
				case got.Drops[i].Reason != "NO_SOCKET" || got.Drops[i].N == 0 || got.Drops[i].N > sent:
					t.Errorf("counted %+v, want up to %d with NO_SOCKET", got.Drops[i], sent)
				case got.Reasons["NO_SOCKET"] < got.Drops[i].N:
					t.Errorf("total %d, less than that flow's %d", got.Reasons["NO_SOCKET"], got.Drops[i].N)
				}
			})
		})
	}
}
