package hostproc

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// TestListeners finds the queue of a socket that accepts nothing: two connections wait in a backlog of one.
func TestListeners(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("bound to %T", name)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(in4.Port))
	for range 2 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	got, err := Listeners([]uint16{at.Port()}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []observe.ListenQueue{{Addr: at, Queued: 2, Backlog: 1, Counted: true}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	s := observe.Statement{Listeners: got}
	if q, ok := s.Listener(at); !ok || q.Queued != 2 {
		t.Errorf("Listener(%s) = %+v, %v", at, q, ok)
	}
}
