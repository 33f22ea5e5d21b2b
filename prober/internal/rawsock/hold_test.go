package rawsock

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// A held port is one more on which our kernel must stay silent, whoever sends what to it.
func TestHoldKeepsTheKernelSilent(t *testing.T) {
	noMD5 := func(int, bool) (Method, error) { return HoldUnknown, unix.ENOPROTOOPT }
	for _, tc := range []struct {
		name   string
		ways   []silencer
		method Method
		answer [2]bool // whether it does answer, to hop limit 64 and to 255
	}{
		{"MD5", []silencer{silenceMD5, silenceMinTTL}, HoldMD5, [2]bool{false, false}},
		{"minimum TTL where MD5 is absent", []silencer{noMD5, silenceMinTTL}, HoldMinTTL, [2]bool{false, true}},
		{"no hold", nil, HoldUnknown, [2]bool{true, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := newPeer(t)
			for _, pair := range [][2]netip.Addr{{near4, far4}, {near4, behind4}, {near6, far6}, {near6, behind6}} {
				t.Run(pair[1].String(), func(t *testing.T) {
					held := netip.AddrPortFrom(pair[0], 62000)
					if tc.ways != nil {
						h, err := holdPort(held.Addr(), held.Port(), "", tc.ways...)
						must(t, err)
						defer h.Close()
						if h.Method != tc.method {
							t.Errorf("method %s, want %s", h.Method, tc.method)
						}
					}
					for i, hops := range []uint8{64, 255} {
						if got := draws(t, host, netip.AddrPortFrom(pair[1], 80), held, hops); got != tc.answer[i] {
							t.Errorf("hop limit %d: answered %v, want %v", hops, got, tc.answer[i])
						}
					}
				})
			}
		})
	}
}

// draws injects what a peer may send to a held port and reports whether our kernel answers any of it.
func draws(t *testing.T, host *peer, from, held netip.AddrPort, hops uint8) bool {
	t.Helper()
	p := openPath(t, from.Addr())
	listener := host.listen(t, from.Addr())
	c := openCapture(t, TapConfig{})
	var all []kind
	for _, flags := range []wire.Flags{wire.SYN | wire.ACK, wire.SYN, wire.ACK, wire.ACK | wire.PSH, wire.FIN | wire.ACK, wire.RST} {
		s := wire.Segment{
			Src: from, Dst: held, Seq: 1000, Ack: 2000, Flags: flags, Window: 1000, HopLimit: hops,
			Options: wire.LinuxSYN(1460, 1, 7),
		}
		k := kind{name: s.String(), ether: wire.EtherIPv4, packet: encode(t, &s)}
		if from.Addr().Is6() {
			k.ether = wire.EtherIPv6
		}
		all = append(all, k)
	}
	host.inject(t, all)
	in, out := 0, 0
	for _, s := range fence(t, c, p, listener) {
		if s.ok && s.seg.Dst == held && wire.MAC(s.Link[6:12]) == injector {
			in++
		}
		if s.ok && s.seg.Src == held {
			out++
		}
	}
	if in != len(all) {
		t.Errorf("%d segments came in, want %d", in, len(all))
	}
	return out > 0
}

// The handshake that a hold is for: our raw SYN, a real listener's SYN-ACK, and no RST from our kernel.
func TestHoldLetsHandshakesBe(t *testing.T) {
	host := newPeer(t)
	for _, dst := range []netip.Addr{far4, far6, behind4, behind6, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		t.Run(dst.String(), func(t *testing.T) {
			p := openPath(t, dst)
			var listener netip.AddrPort
			if p.route.Local {
				l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(dst, 0)))
				must(t, err)
				defer l.Close()
				listener = l.Addr().(*net.TCPAddr).AddrPort()
			} else {
				listener = host.listen(t, dst)
			}
			h, err := HoldPort(p.route.Src, 62000, "")
			must(t, err)
			defer h.Close()
			c := openCapture(t, TapConfig{})
			syn := p.syn(62000, listener)
			p.send(t, syn)
			all := c.until(t, "SYN-ACK", isSYNACK(syn.Src))
			all = append(all, fence(t, c, p, listener)...)
			if got := count(all, syn.Flow()); got.rstOut != 0 || got.synAckIn != 1 || got.other != 0 {
				t.Errorf("seen %+v, want one SYN-ACK and no RST", got)
			}
		})
	}
}

func TestHoldPortRefuses(t *testing.T) {
	newPeer(t)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: near4.AsSlice()})
	must(t, err)
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).AddrPort().Port()
	for _, tc := range []struct {
		name  string
		src   netip.Addr
		port  uint16
		iface string
		want  error
	}{
		{"a port that somebody listens on", near4, taken, "", ErrPortInUse},
		{"an address of another host", far4, 62000, "", ErrForeignSource},
		{"an IPv6 address of another host", far6, 62000, "", ErrForeignSource},
		{"a device that is not there", near4, 62000, "nope0", unix.ENODEV},
		{"a link-local address without its device", netip.MustParseAddr("fe80::1"), 62000, "", ErrInterfaceUnknown},
	} {
		h, err := HoldPort(tc.src, tc.port, tc.iface)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if h != nil {
			t.Errorf("%s: held", tc.name)
		}
		if err := PortFree(tc.src, tc.port); tc.iface == "" && !errors.Is(err, tc.want) {
			t.Errorf("%s: PortFree: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := HoldPort(near4, 0, ""); err == nil {
		t.Error("port 0: held")
	}
	if _, err := HoldPort(netip.Addr{}, 62000, ""); err == nil {
		t.Error("no address: held")
	}
}

// A connection of ours that ended a moment ago keeps its port: a raw SYN from there would meet the other end's memory of it.
func TestHoldPortRefusesTimeWait(t *testing.T) {
	host := newPeer(t)
	far := host.listen(t, far4)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(near4, 62000))}
	conn, err := d.DialContext(t.Context(), "tcp", far.String())
	must(t, err)
	c := openCapture(t, TapConfig{})
	must(t, conn.Close())
	c.until(t, "FIN", func(s *seen) bool { return s.seg.Flags&wire.FIN != 0 })
	if _, err := HoldPort(near4, 62000, ""); !errors.Is(err, ErrPortInUse) {
		t.Errorf("%v, want ErrPortInUse", err)
	}
}

// As many holds as the default range has ports, each with its own socket, take effect and are given back.
func BenchmarkHold(b *testing.B) {
	newPeer(b)
	for b.Loop() {
		var holds []*Hold
		for port := ours.Lo; port < ours.Lo+500; port++ {
			h, err := HoldPort(near4, port, "")
			must(b, err)
			holds = append(holds, h)
		}
		for _, h := range holds {
			must(b, h.Close())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(500*b.N), "µs/hold")
}

func TestHoldGivesThePortBack(t *testing.T) {
	newPeer(t)
	for _, iface := range []string{"", "v0"} {
		must(t, PortFree(near4, 62000))
		h, err := HoldPort(near4, 62000, iface)
		must(t, err)
		if _, err := HoldPort(near4, 62000, iface); !errors.Is(err, ErrPortInUse) {
			t.Errorf("held twice: %v", err)
		}
		if err := PortFree(near4, 62000); !errors.Is(err, ErrPortInUse) {
			t.Errorf("free although held: %v", err)
		}
		must(t, h.Close())
		must(t, h.Close())
		must(t, PortFree(near4, 62000))
	}
}
