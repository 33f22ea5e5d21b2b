package rawsock

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func errnos(packets []Packet) []unix.Errno {
	var all []unix.Errno
	for i := range packets {
		all = append(all, packets[i].Err)
	}
	return all
}

func TestSendMarksEachPacket(t *testing.T) {
	newPeer(t)
	dst4, dst6 := netip.AddrPortFrom(far4, 9), netip.AddrPortFrom(far6, 9)
	link, local := openPath(t, far4), openPath(t, netip.MustParseAddr("127.0.0.1"))
	good4 := encode(t, new(link.syn(61001, dst4)))
	good6 := encode(t, new(openPath(t, far6).syn(61002, dst6)))
	long := append(append([]byte(nil), good4...), make([]byte, 1501-len(good4))...)
	for _, tc := range []struct {
		name    string
		sender  Sender
		packets [][]byte
		want    []unix.Errno
	}{
		{"nothing", link.sender, nil, nil},
		{"both families at once", link.sender, [][]byte{good4, good6, good4}, []unix.Errno{0, 0, 0}},
		{"as long as the MTU allows", link.sender, [][]byte{long[:1500]}, []unix.Errno{0}},
		{"longer than the MTU", link.sender, [][]byte{good4, long, good4}, []unix.Errno{0, unix.EMSGSIZE, 0}},
		{"not IP", link.sender, [][]byte{make([]byte, 60), good4}, []unix.Errno{unix.EINVAL, 0}},
		{"empty", link.sender, [][]byte{nil, good4, {}}, []unix.Errno{unix.EINVAL, 0, unix.EINVAL}},
		{"IPv6 header cut", link.sender, [][]byte{good6[:39]}, []unix.Errno{unix.EINVAL}},
		{"to this host", local.sender, [][]byte{
			encode(t, new(local.syn(61001, netip.MustParseAddrPort("127.0.0.1:9")))), nil,
			segment(near4, netip.MustParseAddr("203.0.113.1"), 61001, 9), // no route
			segment(netip.IPv6Loopback(), netip.IPv6Loopback(), 61001, 9),
		}, []unix.Errno{0, unix.EINVAL, unix.ENETUNREACH, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			packets := make([]Packet, len(tc.packets))
			for i := range packets {
				packets[i] = Packet{Link: link.link, Data: tc.packets[i], Err: unix.EIO}
			}
			sent, err := tc.sender.Send(packets)
			must(t, err)
			if d := cmp.Diff(tc.want, errnos(packets)); d != "" {
				t.Errorf("errors (-want +got):\n%s", d)
			}
			if sent.Packets+sent.Refused != len(packets) || sent.Refused != refused(tc.want) {
				t.Errorf("counted %+v", sent)
			}
		})
	}
}

func refused(all []unix.Errno) (n int) {
	for _, e := range all {
		if e != 0 {
			n++
		}
	}
	return n
}

// Packets of one Send may go to different hosts of the link.
func TestSendWithALinkHeaderEach(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	c := openCapture(t, TapConfig{})
	var packets []Packet
	for i := range 3 * batchSize {
		syn := p.syn(uint16(61000+i), netip.AddrPortFrom(far4, 9))
		packets = append(packets, Packet{Link: p.route.LinkHeader(wire.MAC{2, 0, 0, 0, 0, byte(i)}), Data: encode(t, &syn)})
	}
	sent, err := p.sender.Send(packets)
	must(t, err)
	if sent.Packets != len(packets) {
		t.Errorf("sent %+v", sent)
	}
	i := 0
	c.until(t, "last packet", func(s *seen) bool {
		if s.ok && s.Outgoing {
			if string(s.Link) != string(packets[i].Link[:]) || string(s.Net) != string(packets[i].Data) {
				t.Errorf("packet %d: %x %x, want %x %x", i, s.Link, s.Net, packets[i].Link, packets[i].Data)
			}
			i++
		}
		return i == len(packets)
	})
}

// A queue that overflows costs the packets that found it full, and only them; none is handed over twice.
func TestSendSkipsWhatFindsNoRoom(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	must(t, netlink.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: p.route.IfIndex, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       100_000, Limit: 2000, Buffer: 400_000, // octets a second; octets; ticks of 64 ns
	}))
	c := openCapture(t, TapConfig{})
	packets := make([]Packet, 200)
	for i := range packets {
		syn := p.syn(uint16(61000+i), netip.AddrPortFrom(far4, 9))
		packets[i] = Packet{Link: p.link, Data: encode(t, &syn), Err: unix.EIO}
	}
	sent, err := p.sender.Send(packets)
	must(t, err)
	if sent.NoBuffer == 0 || sent.Packets == 0 || sent.Packets+sent.NoBuffer != len(packets) {
		t.Errorf("sent %+v of %d through a queue of 2,000 octets", sent, len(packets))
	}
	want := map[uint16]bool{}
	for i := range packets {
		switch {
		case packets[i].Err == 0:
			want[uint16(61000+i)] = true
		case !NoRoom(packets[i].Err):
			t.Errorf("packet %d: %v", i, packets[i].Err)
		}
	}
	times := map[uint16]int{}
	c.until(t, "last packet that was taken", func(s *seen) bool {
		if s.ok && s.Outgoing {
			times[s.seg.Src.Port()]++
			if !want[s.seg.Src.Port()] {
				t.Errorf("port %d was seen although it found no room", s.seg.Src.Port())
			}
		}
		return len(times) == len(want)
	})
	for port, n := range times {
		if n != 1 {
			t.Errorf("port %d left %d times", port, n)
		}
	}
}

func TestSendOnADeviceThatWent(t *testing.T) {
	host := newPeer(t)
	p := openPath(t, far4)
	packets := make([]Packet, 100)
	for i := range packets {
		syn := p.syn(61001, netip.AddrPortFrom(far4, 9))
		packets[i] = Packet{Link: p.link, Data: encode(t, &syn)}
	}
	packets[3].Data = nil
	must(t, netlink.LinkSetDown(host.near))
	sent, err := p.sender.Send(packets)
	if !errors.Is(err, ErrInterfaceDown) || !strings.Contains(err.Error(), "v0") {
		t.Errorf("%v, want ErrInterfaceDown of v0", err)
	}
	if want := (Sent{Refused: 100}); sent != want {
		t.Errorf("sent %+v, want %+v", sent, want)
	}
	for i := range packets {
		if packets[i].Err == 0 {
			t.Errorf("packet %d is not marked", i)
		}
	}
	must(t, netlink.LinkSetUp(host.near))
	packets[3] = packets[4]
	sent, err = p.sender.Send(packets)
	if err != nil || sent.Packets != 100 {
		t.Errorf("after the device came back: %+v, %v", sent, err)
	}
}

func TestNewSenderRefuses(t *testing.T) {
	needNamespace(t)
	for _, tc := range []struct {
		name  string
		route Route
		want  error
	}{
		{"a device of another type", Route{IfName: "ib0", IfIndex: 1, HWType: unix.ARPHRD_INFINIBAND}, ErrUnsupportedDevice},
		{"a device that is not there", Route{IfName: "nope0", IfIndex: 9999, HWType: unix.ARPHRD_ETHER}, unix.ENODEV},
	} {
		s, err := NewSender(tc.route)
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.route.IfName) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

// Without CAP_NET_RAW every door says so, as os.ErrPermission.
func TestCapability(t *testing.T) {
	needNamespace(t)
	must(t, CanCapture())
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	var errs map[string]error
	must(t, inside(here, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		none := make([]unix.CapUserData, 2)
		if err := unix.Capset(&header, &none[0]); err != nil { // of this thread, which ends with us
			return err
		}
		_, tap := OpenTap(TapConfig{Ports: []Ports{ours}})
		_, link := NewSender(Route{HWType: unix.ARPHRD_ETHER})
		_, local := NewSender(Route{Local: true})
		_, held := HoldPort(netip.MustParseAddr("127.0.0.1"), 62000, "")
		errs = map[string]error{"CanCapture": CanCapture(), "OpenTap": tap, "NewLinkSender": link, "NewLocalSender": local}
		return held
	}))
	for door, err := range errs {
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("%s: %v, want os.ErrPermission naming CAP_NET_RAW", door, err)
		}
	}
}
