package rawsock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// tally counts the sightings of one flow's segments by direction and kind.
type tally struct{ synOut, synIn, synAckOut, synAckIn, rstOut, rstIn, other int }

func count(all []seen, flow wire.Flow) tally {
	var n tally
	for i := range all {
		s := &all[i]
		if !s.ok || s.seg.Flow() != flow && s.seg.Flow().Reverse() != flow {
			continue
		}
		out, in := &n.other, &n.other
		switch {
		case s.seg.Flags == wire.SYN:
			out, in = &n.synOut, &n.synIn
		case s.seg.Flags == wire.SYN|wire.ACK:
			out, in = &n.synAckOut, &n.synAckIn
		case s.seg.Flags&wire.RST != 0:
			out, in = &n.rstOut, &n.rstIn
		}
		if s.Outgoing {
			*out++
		} else {
			*in++
		}
	}
	return n
}

func isSYNACK(to netip.AddrPort) func(*seen) bool {
	return func(s *seen) bool {
		return s.ok && !s.Outgoing && s.seg.Dst == to && s.seg.Flags == wire.SYN|wire.ACK
	}
}

// fence sends a SYN from another port and returns all that was seen until its SYN-ACK: what earlier segments caused has been seen
// by then, because it was sent before the fence was.
func fence(t testing.TB, c *capture, p *path, dst netip.AddrPort) []seen {
	t.Helper()
	syn := p.syn(65000, dst)
	p.send(t, syn)
	return c.until(t, "SYN-ACK to the fence", isSYNACK(syn.Src))
}

func TestHandshakeIsSeenOnce(t *testing.T) {
	for _, tc := range []struct {
		name string
		dst  netip.Addr
		want tally
	}{
		{"IPv4 on link", far4, tally{synOut: 1, synAckIn: 1, rstOut: 1}},
		{"IPv6 on link", far6, tally{synOut: 1, synAckIn: 1, rstOut: 1}},
		{"IPv4 by gateway", behind4, tally{synOut: 1, synAckIn: 1, rstOut: 1}},
		{"IPv6 by gateway", behind6, tally{synOut: 1, synAckIn: 1, rstOut: 1}},
		{"IPv4 loopback", netip.MustParseAddr("127.0.0.1"), tally{1, 1, 1, 1, 1, 1, 0}},
		{"IPv4 loopback, another address", netip.MustParseAddr("127.9.9.9"), tally{1, 1, 1, 1, 1, 1, 0}},
		{"IPv6 loopback", netip.IPv6Loopback(), tally{1, 1, 1, 1, 1, 1, 0}},
		{"IPv4 address of our own device", near4, tally{1, 1, 1, 1, 1, 1, 0}},
		{"IPv6 address of our own device", near6, tally{1, 1, 1, 1, 1, 1, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := newPeer(t)
			p := openPath(t, tc.dst)
			var dst netip.AddrPort
			if p.route.Local {
				l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(tc.dst, 0)))
				must(t, err)
				defer l.Close()
				dst = l.Addr().(*net.TCPAddr).AddrPort()
			} else {
				dst = host.listen(t, tc.dst)
			}
			c := openCapture(t, TapConfig{})
			before := time.Now()
			syn := p.syn(61001, dst)
			p.send(t, syn)
			all := c.until(t, "SYN-ACK", isSYNACK(syn.Src))
			all = append(all, fence(t, c, p, dst)...)
			if got := count(all, syn.Flow()); got != tc.want {
				t.Errorf("seen %+v, want %+v", got, tc.want)
			}
			checkTimes(t, all, syn.Flow(), before)
			checkFrame(t, &all[0], p, &syn)
		})
	}
}

// checkTimes asserts that the kernel's times lie between the test's, in the order of the handshake.
func checkTimes(t *testing.T, all []seen, flow wire.Flow, before time.Time) {
	t.Helper()
	last, now := before.UnixNano(), time.Now().UnixNano()
	for i := range all {
		if s := &all[i]; s.ok && (s.seg.Flow() == flow || s.seg.Flow().Reverse() == flow) {
			if s.At < last || s.At > now {
				t.Errorf("%s seen at %d, want from %d to %d", &s.seg, s.At, last, now)
			}
			last = s.At
		}
	}
}

// checkFrame asserts that the first frame seen is the SYN, octet by octet, on the device of the route.
func checkFrame(t *testing.T, f *seen, p *path, syn *wire.Segment) {
	t.Helper()
	want := encode(t, syn)
	if syn.Src.Addr().Is4() {
		copy(want[4:6], f.Net[4:6]) // the kernel chose an identification in place of 0, and the checksum with it
		copy(want[10:12], f.Net[10:12])
	}
	if string(f.Net) != string(want) || f.Len != len(want) || f.Cut() {
		t.Errorf("SYN on the tap, length %d:\n%x, want\n%x", f.Len, f.Net, want)
	}
	if f.Loopback != p.route.Local || f.VLAN != 0 || len(f.Link) != 14 {
		t.Errorf("loopback %v, VLAN %d, link header %x", f.Loopback, f.VLAN, f.Link)
	}
	if !p.route.Local && (f.IfIndex != p.route.IfIndex || string(f.Link) != string(p.link[:])) {
		t.Errorf("device %d, link header %x; want %d, %x", f.IfIndex, f.Link, p.route.IfIndex, p.link)
	}
}

func TestBurst(t *testing.T) {
	const n = 4000 // listeners × ports: each listener queues at most somaxconn half-open connections
	host := newPeer(t)
	p := openPath(t, far4)
	c := openCapture(t, TapConfig{RingBytes: 32 << 20})
	want := map[wire.Flow]bool{}
	var packets []Packet
	for range 3 {
		dst := host.listen(t, far4)
		for i := range n {
			syn := p.syn(ours.Lo+uint16(i), dst)
			want[syn.Flow()] = true
			packets = append(packets, Packet{Link: p.link, Data: encode(t, &syn)})
		}
	}
	sent, err := p.sender.Send(packets)
	must(t, err)
	if sent.Packets+sent.NoBuffer != len(packets) || sent.Refused != 0 {
		t.Fatalf("sent %+v of %d", sent, len(packets))
	}
	for i := range packets {
		if packets[i].Err != 0 {
			delete(want, flowOf(t, packets[i].Data))
		}
	}
	t.Logf("sent %+v", sent)
	c.until(t, "last SYN-ACK", func(s *seen) bool {
		if s.ok && !s.Outgoing && s.seg.Flags == wire.SYN|wire.ACK {
			delete(want, s.seg.Flow().Reverse())
		}
		return len(want) == 0
	})
	st, err := c.tap.Stats()
	must(t, err)
	if st.Drops != 0 || st.Frames < uint64(2*sent.Packets) {
		t.Errorf("%+v for %d handshakes", st, sent.Packets)
	}
}

// The kernel takes the VLAN tag off before taps see the frame, even without VLAN devices.
func TestVLANTag(t *testing.T) {
	host := newPeer(t)
	c := openCapture(t, TapConfig{})
	packet := segment(far4, near4, 80, 61001)
	tagged := append([]byte{0x60, 0x05, 0x08, 0x00}, packet...) // priority 3, VLAN 5, IPv4
	host.inject(t, []kind{{name: "tagged", ether: wire.TagC, packet: tagged}})
	all := c.until(t, "tagged frame", func(s *seen) bool { return s.ok && s.seg.Dst.Port() == 61001 })
	f := all[len(all)-1]
	if f.VLAN != 0x6005 || f.EtherType != etherIPv4 || f.Len != len(packet) || string(f.Net) != string(packet) {
		t.Errorf("tag %#x, EtherType %#x, length %d: %x", f.VLAN, f.EtherType, f.Len, f.Net)
	}
}

func flowOf(t testing.TB, packet []byte) wire.Flow {
	t.Helper()
	var s wire.Segment
	if r := wire.Parse(packet, &s); r != wire.ReasonNone {
		t.Fatal(r)
	}
	return s.Flow()
}

func TestOverflowIsReported(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	tap, err := OpenTap(TapConfig{Ports: []Ports{ours}, RingBytes: 1}) // two blocks, and nobody reads them
	must(t, err)
	defer tap.Close()
	dst := netip.AddrPortFrom(far4, 9)
	syn := p.syn(61001, dst)
	packets := make([]Packet, 16<<10)
	for i := range packets {
		packets[i] = Packet{Link: p.link, Data: encode(t, &syn)}
	}
	sent, err := p.sender.Send(packets)
	must(t, err)
	first, err := tap.Stats()
	must(t, err)
	if first.Frames < uint64(sent.Packets) || first.Drops == 0 || first.Freezes == 0 {
		t.Errorf("%+v after %d packets in a ring of 1 MiB, want drops", first, sent.Packets)
	}
	second, err := tap.Stats()
	must(t, err)
	if second.Drops < first.Drops || second.Frames < first.Frames {
		t.Errorf("counters went back: %+v, then %+v", first, second)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	delivered := uint64(0)
	must(t, tap.Run(ctx, func(f *Frame) {
		if f != nil {
			delivered++
		}
		if delivered == first.Delivered() {
			cancel()
		}
	}))
	if delivered != first.Delivered() {
		t.Errorf("%d frames delivered, want %d", delivered, first.Delivered())
	}
}

func TestRunEnds(t *testing.T) {
	needNamespace(t)
	open := func(t *testing.T) *Tap {
		tap, err := OpenTap(TapConfig{Ports: []Ports{ours}, RingBytes: 1})
		must(t, err)
		return tap
	}
	nothing := func(*Frame) {}

	t.Run("when its context is cancelled, and runs again", func(t *testing.T) {
		tap := open(t)
		defer tap.Close()
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- tap.Run(ctx, nothing) }()
			cancel()
			must(t, <-done)
		}
	})
	t.Run("when its context is over already", func(t *testing.T) {
		tap := open(t)
		defer tap.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		must(t, tap.Run(ctx, nothing))
	})
	t.Run("when the tap is closed", func(t *testing.T) {
		tap := open(t)
		done := make(chan error)
		go func() { done <- tap.Run(t.Context(), nothing) }()
		must(t, tap.Close())
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Errorf("Run: %v, want os.ErrClosed", err)
		}
		must(t, tap.Close())
		if _, err := tap.Stats(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Stats: %v, want os.ErrClosed", err)
		}
	})
}

func TestRunOutlivesItsDeviceGoingDown(t *testing.T) {
	host := newPeer(t)
	p := openPath(t, far4)
	dst := host.listen(t, far4)
	c := openCapture(t, TapConfig{RingBytes: 1, IfIndex: p.route.IfIndex})
	fence(t, c, p, dst)
	must(t, netlink.LinkSetDown(host.near))
	_, err := p.sender.Send([]Packet{{Data: make([]byte, 20)}, {Data: encode(t, new(p.syn(61001, dst)))}})
	if !errors.Is(err, ErrInterfaceDown) {
		t.Errorf("send on a device that is down: %v, want ErrInterfaceDown", err)
	}
	must(t, netlink.LinkSetUp(host.near))
	fence(t, c, p, dst)
}

func TestRunEndsWhenItsDeviceIsRemoved(t *testing.T) {
	needNamespace(t)
	a := netlink.NewLinkAttrs()
	a.Name = "gone0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "gone1"}))
	gone, err := netlink.LinkByName("gone0")
	must(t, err)
	must(t, netlink.LinkSetUp(gone))
	tap, err := OpenTap(TapConfig{Ports: []Ports{ours}, RingBytes: 1, IfIndex: gone.Attrs().Index})
	must(t, err)
	ended := make(chan error)
	go func() { ended <- tap.Run(t.Context(), func(*Frame) {}) }()
	must(t, netlink.LinkDel(gone))
	if err := <-ended; !errors.Is(err, ErrInterfaceUnknown) {
		t.Errorf("Run: %v, want ErrInterfaceUnknown", err)
	}
	must(t, tap.Close())
}

func TestOpenTapRefuses(t *testing.T) {
	needNamespace(t)
	for _, tc := range []struct {
		name  string
		ports []Ports
	}{
		{"no range", nil},
		{"five ranges", make([]Ports, 5)},
		{"an empty range", []Ports{{2000, 1999}}},
		{"port 0", []Ports{{0, 5}}},
	} {
		if tap, err := OpenTap(TapConfig{Ports: tc.ports}); err == nil {
			t.Errorf("%s: opened", tc.name)
			_ = tap.Close()
		}
	}
	if tap, err := OpenTap(TapConfig{Ports: []Ports{ours}, IfIndex: 9999}); err == nil {
		t.Error("device 9999: opened")
		_ = tap.Close()
	}
}
