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
	"time"

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

// TestNeighborsAndRepeats: a neighbour that nobody answers for, and a handshake that a full listener ignores.
func TestNeighborsAndRepeats(t *testing.T) {
	privileged(t)
	inNamespace(t, func(netns uint32) {
		tr := open(t, netns)
		if tr == nil {
			return
		}
		defer tr.Close()
		if err := errors.Join(silentLink("10.9.9.1/24"), fullListener(t, 8080)); err != nil {
			t.Error(err)
			return
		}
		if c, err := net.Dial("udp", "10.9.9.9:9"); err != nil {
			t.Error(err)
		} else {
			_, _ = c.Write([]byte("to nobody"))
			c.Close()
		}
		d := net.Dialer{Timeout: 3500 * time.Millisecond} // three questions a second apart, and SYNs meanwhile
		if c, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:8080"); err == nil {
			c.Close()
			t.Error("the full listener took one more")
		}
		got, err := tr.Read()
		if err != nil {
			t.Error(err)
			return
		}
		if !slices.ContainsFunc(got.Neighbors, func(n Neighbor) bool {
			return n.Addr == netip.MustParseAddr("10.9.9.9") && n.State == "failed" && n.N == 1
		}) {
			t.Errorf("neighbours %+v, want 10.9.9.9 failed once", got.Neighbors)
		}
		to := netip.MustParseAddrPort("127.0.0.1:8080")
		if !slices.ContainsFunc(got.Retransmissions, func(r Retransmission) bool { return r.Peer == to && r.Class == ClassSYN && r.N >= 1 && r.N <= 3 }) {
			t.Errorf("retransmissions %+v, want one to three SYNs to %s", got.Retransmissions, to)
		}
	})
}

// silentLink is a device behind which nobody answers.
func silentLink(prefix string) error {
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	peer, err := netlink.LinkByName("v1")
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(v, a), netlink.LinkSetUp(peer), netlink.LinkSetUp(v))
}

// fullListener accepts nothing, and its queue is full.
func fullListener(t *testing.T, port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}), unix.Listen(fd, 0)); err != nil {
		return err
	}
	c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)).String())
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return err
}

// BenchmarkFlood measures what an event costs in the kernel: of one flow, and of a new flow each.
func BenchmarkFlood(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("this needs root")
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	for name, flows := range map[string]int{"one flow": 1, "a new flow each": 60000} {
		b.Run(name, func(b *testing.B) {
			flood(b, flows)
		})
	}
}

func flood(b *testing.B, flows int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends here
		lo, err := netlink.LinkByName("lo")
		if e := unix.Unshare(unix.CLONE_NEWNET); e != nil || err != nil {
			b.Error(e, err)
			return
		}
		tr, err := Open(0)
		if e := netlink.LinkSetUp(lo); e != nil || err != nil {
			b.Error(e, err)
			return
		}
		defer tr.Close()
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			b.Error(err)
			return
		}
		defer unix.Close(s)
		before, spent, _ := tr.Cost()
		b.ResetTimer()
		for i := range b.N {
			_ = unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{127, byte(i / flows % 250), byte(i % flows >> 14), 1}, Port: 1 + i%flows&0x3fff})
		}
		b.StopTimer()
		runs, ns, err := tr.Cost()
		if err != nil {
			b.Error(err)
			return
		}
		b.ReportMetric(float64(ns-spent)/float64(runs-before), "ns/event")
		b.ReportMetric(float64(runs-before)/float64(b.N), "events/op")
	}()
	<-done
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
				if !c.other {
					counted(t, &got, from, c.to, sent)
				} else if len(got.Drops) > 0 || len(got.Reasons) > 0 {
					t.Errorf("%d flows of another namespace are counted", len(got.Drops))
				}
			})
		})
	}
}

// counted holds what was counted against the datagrams that were sent to nobody.
func counted(t *testing.T, got *Counts, from, to netip.AddrPort, sent uint64) {
	t.Helper()
	i := slices.IndexFunc(got.Drops, func(d Drop) bool {
		return d.Flow.Dst == to && d.Flow.Src.Port() == from.Port() && d.Flow.Proto == protoUDP
	})
	switch {
	case i < 0:
		t.Errorf("the drops of %s are not among %+v", from, got.Drops)
	case got.Drops[i].Reason != "NO_SOCKET" || got.Drops[i].N == 0 || got.Drops[i].N > sent:
		t.Errorf("counted %+v, want up to %d with NO_SOCKET", got.Drops[i], sent)
	case got.Reasons["NO_SOCKET"] < got.Drops[i].N:
		t.Errorf("total %d, less than that flow's %d", got.Reasons["NO_SOCKET"], got.Drops[i].N)
	}
}
