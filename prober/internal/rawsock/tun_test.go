package rawsock

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// openTun makes a device without link header and returns the end that a VPN would hold.
func openTun(t *testing.T) *os.File {
	t.Helper()
	needNamespace(t)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		skip(t, "no tun device: "+err.Error())
	}
	req, err := unix.NewIfreq("tun0")
	must(t, err)
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		_ = unix.Close(fd)
		skip(t, "no tun device: "+err.Error())
	}
	f := os.NewFile(uintptr(fd), "tun0") // in the runtime's poller: deadlines work
	t.Cleanup(func() { must(t, f.Close()) })
	link, err := netlink.LinkByName("tun0")
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	return f
}

func TestTun(t *testing.T) {
	tun := openTun(t)
	must(t, configure("tun0", netip.MustParseAddr("10.8.0.1"), 24))
	awaitOwn(t, -1, []netip.Addr{netip.MustParseAddr("fd08::1")}, func() error {
		return configure("tun0", netip.MustParseAddr("fd08::1"), 64)
	})
	for _, far := range []string{"10.8.0.2", "fd08::2"} {
		t.Run(far, func(t *testing.T) {
			p := openPath(t, netip.MustParseAddr(far))
			if p.route.HWType != unix.ARPHRD_NONE {
				t.Fatalf("link type %d", p.route.HWType)
			}
			c := openCapture(t, TapConfig{})
			dst := netip.AddrPortFrom(netip.MustParseAddr(far), 80)
			syn := p.syn(61001, dst)
			p.send(t, syn)
			if got, want := readPacket(t, tun, syn.Flow()), encode(t, &syn); !bytes.Equal(got, want) {
				t.Errorf("left the device: %x, want %x", got, want)
			}
			answer := wire.Segment{
				Src: dst, Dst: syn.Src, Seq: 7, Ack: syn.Seq + 1, Flags: wire.SYN | wire.ACK, Window: 1, HopLimit: 64,
			}
			_, err := tun.Write(encode(t, &answer))
			must(t, err)
			all := c.until(t, "SYN-ACK", isSYNACK(syn.Src))
			if got, want := count(all, syn.Flow()), (tally{synOut: 1, synAckIn: 1}); got != want {
				t.Errorf("seen %+v, want %+v", got, want)
			}
			for _, s := range all {
				if s.ok && (len(s.Link) != 0 || s.Len != len(s.Net) || s.Loopback) {
					t.Errorf("link header %x, %d of %d octets, loopback %v", s.Link, len(s.Net), s.Len, s.Loopback)
				}
			}
		})
	}
}

// readPacket returns the next packet of the flow that leaves by the tun device, passing over the kernel's own traffic.
func readPacket(t *testing.T, tun *os.File, flow wire.Flow) []byte {
	t.Helper()
	must(t, tun.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 2048)
	var s wire.Segment
	for {
		n, err := tun.Read(b)
		must(t, err)
		if wire.Parse(b[:n], &s) == wire.ReasonNone && s.Flow() == flow {
			return b[:n]
		}
	}
}
