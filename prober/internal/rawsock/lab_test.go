package rawsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// patience bounds every wait of a test; it never measures anything.
const patience = 20 * time.Second

// ours are the source ports that the taps of the tests listen for.
var ours = Ports{61000, 65535}

// peer is another host: a network namespace at the far end of a veth pair.
//
//	test namespace  v0 10.9.0.1/24, fd09::1/64 ── v1 10.9.0.2/24, fd09::2/64, lo 10.9.9.9/32, fd09:9::9/128  peer
type peer struct {
	ns   netns.NsHandle
	near netlink.Link // our end
	mac  wire.MAC     // of its end
}

var (
	near4, far4, behind4 = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.9.9")
	near6, far6, behind6 = netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2"), netip.MustParseAddr("fd09:9::9")
)

// inside runs f on a thread that lives in the namespace ns and ends with it.
func inside(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		err := netns.Set(ns)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func newNamespace() (netns.NsHandle, error) {
	ns := netns.None()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns, err = netns.Get()
		}
		done <- err
	}()
	return ns, <-done
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	needNamespace(t)
	ns, err := newNamespace()
	must(t, err)
	t.Cleanup(func() { must(t, ns.Close()) })
	a := netlink.NewLinkAttrs()
	a.Name, a.TxQLen = "v0", 1000
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "v1", PeerNamespace: netlink.NsFd(ns)}))
	link, err := netlink.LinkByName("v0")
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
	p := &peer{ns: ns, near: link}
	awaitOwn(t, ns, []netip.Addr{far6, behind6}, func() error { return inside(ns, p.setup) })
	must(t, configure("v0", near4, 24))
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/v0/accept_dad", []byte("0"), 0))
	own := linkLocalOf(wire.MAC(link.Attrs().HardwareAddr))
	awaitOwn(t, netns.None(), []netip.Addr{near6, own}, func() error {
		return errors.Join(configure("v0", near6, 64), netlink.LinkSetUp(link))
	})
	via(t, behind4, far4)
	via(t, behind6, far6)
	return p
}

// linkLocalOf is the address that the kernel gives a device by itself (RFC 4291 appendix A).
func linkLocalOf(m wire.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

func (p *peer) setup() error {
	link, err := netlink.LinkByName("v1")
	if err != nil {
		return err
	}
	copy(p.mac[:], link.Attrs().HardwareAddr)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, a := range []struct {
		dev  string
		addr netip.Addr
		bits int
	}{{"v1", far4, 24}, {"v1", far6, 64}, {"lo", behind4, 32}, {"lo", behind6, 128}} {
		if err := configure(a.dev, a.addr, a.bits); err != nil {
			return fmt.Errorf("add %s to %s: %w", a.addr, a.dev, err)
		}
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// awaitOwn calls add and returns when the namespace owns the IPv6 addresses: the kernel inserts their local routes from a
// work queue (net/ipv6/addrconf.c addrconf_dad_work), a while after it has taken the address.
func awaitOwn(t testing.TB, ns netns.NsHandle, want []netip.Addr, add func() error) {
	t.Helper()
	updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
	must(t, netlink.RouteSubscribeAt(ns, updates, done))
	limit := time.NewTimer(patience)
	defer limit.Stop()
	must(t, add())
	for len(want) > 0 {
		select {
		case u := <-updates:
			if u.Route.Type == unix.RTN_LOCAL && u.Dst != nil {
				a, _ := netip.AddrFromSlice(u.Dst.IP)
				want = slices.DeleteFunc(want, func(w netip.Addr) bool { return w == a })
			}
		case <-limit.C:
			t.Fatalf("addresses %v have not come up", want)
		}
	}
	close(done)
	for range updates { // ends when the subscription does
	}
}

func configure(dev string, addr netip.Addr, bits int) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	n := net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
	a := &netlink.Addr{IPNet: &n}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrAdd(link, a)
}

func via(t testing.TB, dst, gateway netip.Addr) {
	t.Helper()
	n := net.IPNet{IP: dst.AsSlice(), Mask: net.CIDRMask(dst.BitLen(), dst.BitLen())}
	must(t, netlink.RouteAdd(&netlink.Route{Dst: &n, Gw: gateway.AsSlice()}))
}

// listen opens a kernel listener in the peer, with a backlog for any burst of these tests.
func (p *peer) listen(t testing.TB, addr netip.Addr) netip.AddrPort {
	t.Helper()
	var l *net.TCPListener
	must(t, inside(p.ns, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}))
	t.Cleanup(func() { must(t, l.Close()) })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// capture is a running tap whose frames are read from a channel.
type capture struct {
	tap    *Tap
	frames chan seen
	stop   func() error
}

// seen is a copy of a frame, with its segment.
type seen struct {
	Frame
	seg wire.Segment
	ok  bool // seg is one
}

func openCapture(t testing.TB, cfg TapConfig) *capture {
	t.Helper()
	needNamespace(t)
	if cfg.Ports == nil {
		cfg.Ports = []Ports{ours}
	}
	if cfg.RingBytes == 0 {
		cfg.RingBytes = 4 << 20
	}
	tap, err := OpenTap(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	c := &capture{tap: tap, frames: make(chan seen, 1<<16)}
	done := make(chan error, 1)
	go func() { done <- tap.Run(ctx, c.take) }()
	c.stop = func() error {
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		must(t, c.stop())
		must(t, tap.Close())
	})
	return c
}

func (c *capture) take(f *Frame) {
	if f == nil {
		return
	}
	s := seen{Frame: *f}
	s.Link, s.Net = append([]byte(nil), f.Link...), append([]byte(nil), f.Net...)
	s.ok = wire.Parse(s.Net, &s.seg) == wire.ReasonNone
	c.frames <- s
}

// until returns the frames up to and including the first that want accepts.
func (c *capture) until(t testing.TB, what string, want func(*seen) bool) []seen {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	var all []seen
	for {
		select {
		case s := <-c.frames:
			all = append(all, s)
			if want(&s) {
				return all
			}
		case <-limit.C:
			t.Fatalf("no %s among %d frames", what, len(all))
		}
	}
}

// path is what a test needs to send on.
type path struct {
	route  Route
	link   [14]byte
	sender Sender
}

func openPath(t testing.TB, dst netip.Addr) *path {
	t.Helper()
	r, err := LookupRoute(dst, netip.Addr{}, "", false)
	must(t, err)
	p := &path{route: r}
	mac, err := NextHopMAC(t.Context(), r)
	must(t, err)
	p.link = r.LinkHeader(mac)
	p.sender, err = NewSender(r)
	must(t, err)
	t.Cleanup(func() { must(t, p.sender.Close()) })
	return p
}

// syn is a SYN from port of the route's source, with the option set of Linux.
func (p *path) syn(port uint16, dst netip.AddrPort) wire.Segment {
	return wire.Segment{
		Src: netip.AddrPortFrom(p.route.Src, port), Dst: dst, Seq: wire.Seq(port) << 8, Flags: wire.SYN,
		Window: 64240, HopLimit: 64, DF: true, Options: wire.LinuxSYN(1460, 1000, 7),
	}
}

func (p *path) send(t testing.TB, segments ...wire.Segment) {
	t.Helper()
	var packets []Packet
	for i := range segments {
		packets = append(packets, Packet{Link: p.link, Data: encode(t, &segments[i])})
	}
	sent, err := p.sender.Send(packets)
	must(t, err)
	if sent.Packets != len(packets) {
		t.Fatalf("sent %+v of %d", sent, len(packets))
	}
}

func encode(t testing.TB, s *wire.Segment) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	_, err := s.Encode(b)
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inject sends frames to us from the peer, as they are.
func (p *peer) inject(t testing.TB, all []kind) {
	t.Helper()
	must(t, inside(p.ns, func() error {
		v1, err := netlink.LinkByName("v1")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: v1.Attrs().Index}
		for _, k := range all {
			if err := unix.Sendto(fd, frame(k, wire.MAC(p.near.Attrs().HardwareAddr)), 0, to); err != nil {
				return fmt.Errorf("inject %s: %w", k.name, err)
			}
		}
		return nil
	}))
}
