package hostproc

import (
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// apart moves the test's thread into a network namespace of its own, which goes with the thread.
func apart(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespace of its own: %v", err)
		}
		t.Skipf("no network namespace of its own: %v", err)
	}
}

func TestDevicesTellWhatTheyAndThoseBelowDropped(t *testing.T) {
	apart(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(err)
	defer h.Close()
	up := func(l netlink.Link) netlink.Link {
		must(h.LinkAdd(l))
		made, err := h.LinkByName(l.Attrs().Name)
		must(err)
		must(h.LinkSetUp(made))
		return made
	}
	named := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	parent := up(&netlink.Veth{LinkAttrs: named("p0"), PeerName: "p1"})
	peer, err := h.LinkByName("p1")
	must(err)
	must(h.LinkSetUp(peer))
	must(h.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: parent.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       1000, Limit: 400, Buffer: 1 << 25, // octets a second; octets that may wait; ticks of 64 ns, which let some 2,000 octets go at once
	}))
	a := named("p0.100")
	a.ParentIndex = parent.Attrs().Index
	upper := up(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE})

	before := Counters{Values: map[string]int64{}}
	before.ReadDevices([]int{upper.Attrs().Index})
	const sent = 40
	shout(t, upper.Attrs().Index, sent)
	after := Counters{Values: map[string]int64{}}
	after.ReadDevices([]int{upper.Attrs().Index, parent.Attrs().Index})
	if len(after.Missing) > 0 {
		t.Errorf("missing: %v", after.Missing)
	}
	d := Delta(before, after)
	drops := d["link.p0.100.tx_dropped"]
	if drops == 0 || drops > sent {
		t.Errorf("%d of %d frames were dropped: %v", drops, sent, d)
	}
	if d["link.p0.tx_packets"] == 0 || d["link.p0.tx_packets"] >= sent || d["link.p0.tx_dropped"] > 0 {
		t.Errorf("the device below: %v", d)
	}
	var gone Counters
	gone.ReadDevices([]int{1 << 20})
	if len(gone.Missing) != 1 || len(gone.Values) != 0 {
		t.Errorf("a device that is not there: %+v", gone)
	}
}

// shout broadcasts n frames of 200 octets on a device.
func shout(t *testing.T, index, n int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := make([]byte, 200)
	copy(frame, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}) // an Ethernet type for experiments (IEEE 802)
	for range n {
		_ = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}) // ENOBUFS: what the queue refused
	}
}
