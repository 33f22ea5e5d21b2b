package rawsock

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestNextHopMAC(t *testing.T) {
	for _, tc := range []struct {
		name   string
		dst    netip.Addr
		known  int // state of the kernel's entry for the next hop, 0: none
		solves bool
	}{
		{"ARP", far4, 0, true},
		{"ND", far6, 0, true},
		{"ARP for a gateway", behind4, 0, true},
		{"ND for a gateway", behind6, 0, true},
		{"known to be reachable", far4, netlink.NUD_REACHABLE, false},
		{"known and stale", far4, netlink.NUD_STALE, false},
		{"known for good, IPv6", far6, netlink.NUD_PERMANENT, false},
		{"known to have failed", far4, netlink.NUD_FAILED, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := newPeer(t)
			r, err := LookupRoute(tc.dst, netip.Addr{}, "", false)
			must(t, err)
			want := host.mac
			if tc.known != 0 {
				told := wire.MAC{2, 0, 0, 0, 0, 7} // so that we see whom we believed
				if !tc.solves {
					want = told
				}
				must(t, netlink.NeighSet(&netlink.Neigh{
					LinkIndex: r.IfIndex, IP: r.NextHop().AsSlice(), HardwareAddr: told[:], State: tc.known,
				}))
			}
			c := openCapture(t, TapConfig{Neighbor: true})
			got, err := NextHopMAC(t.Context(), r)
			must(t, err)
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if tc.solves {
				c.until(t, "answer on the tap", func(s *seen) bool {
					return !s.Outgoing && (s.EtherType == etherARP || s.EtherType == etherIPv6 && s.Net[40] == icmp6Advertise)
				})
			}
		})
	}
}

func TestNextHopMACOfForeignSource(t *testing.T) {
	host := newPeer(t)
	for _, pair := range [][2]string{{"10.9.0.2", "192.0.2.1"}, {"fd09::2", "2001:db8::1"}} {
		r, err := LookupRoute(netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1]), "", true)
		must(t, err)
		got, err := NextHopMAC(t.Context(), r)
		must(t, err)
		if got != host.mac {
			t.Errorf("from %s: %s, want %s", pair[1], got, host.mac)
		}
	}
}

func TestNextHopMACUnanswered(t *testing.T) {
	newPeer(t)
	for _, dst := range []string{"10.9.0.66", "fd09::66"} {
		t.Run(dst, func(t *testing.T) {
			r, err := LookupRoute(netip.MustParseAddr(dst), netip.Addr{}, "", false)
			must(t, err)
			if _, err := NextHopMAC(t.Context(), r); !errors.Is(err, ErrNoNeighbor) {
				t.Errorf("%v, want ErrNoNeighbor", err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			mine := errors.New("enough")
			cancel(mine)
			if _, err := NextHopMAC(ctx, r); !errors.Is(err, mine) {
				t.Errorf("%v, want the context's cause", err)
			}
		})
	}
}

func TestNextHopMACNeedsNone(t *testing.T) {
	for name, r := range map[string]Route{
		"local": {Local: true, HWType: unix.ARPHRD_ETHER},
		"tun":   {HWType: unix.ARPHRD_NONE},
		"lo":    {HWType: unix.ARPHRD_LOOPBACK},
	} {
		if mac, err := NextHopMAC(t.Context(), r); err != nil || mac != (wire.MAC{}) {
			t.Errorf("%s: %s, %v", name, mac, err)
		}
	}
	r := Route{HWType: unix.ARPHRD_INFINIBAND, IfName: "ib0", Dst: far4}
	if _, err := NextHopMAC(t.Context(), r); !errors.Is(err, ErrUnsupportedDevice) {
		t.Errorf("InfiniBand: %v, want ErrUnsupportedDevice", err)
	}
}

func TestAdvertised(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	advert := func(change func(*wire.ND)) []byte {
		n := wire.ND{
			Kind: wire.NeighborAdvertisement, Src: far6, Dst: near6, Target: far6, Link: mac, HasLink: true, Solicited: true,
		}
		change(&n)
		b := make([]byte, n.Size())
		_, err := n.Encode(b)
		must(t, err)
		return frame(kind{ether: wire.EtherIPv6, packet: b}, wire.MAC{})
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"answer", advert(func(*wire.ND) {}), nil},
		{"of another host", advert(func(n *wire.ND) { n.Target = near6 }), errOtherHost},
		{"a solicitation", advert(func(n *wire.ND) { n.Kind = wire.NeighborSolicitation }), errNotReply},
		{"without link address", advert(func(n *wire.ND) { n.HasLink = false }), errNoHostMAC},
		{"a group address", advert(func(n *wire.ND) { n.Link = wire.MAC{1} }), errNoHostMAC},
		{"all zeros", advert(func(n *wire.ND) { n.Link = wire.MAC{} }), errNoHostMAC},
		{"cut", advert(func(*wire.ND) {})[:60], errMalformed},
		{"empty", nil, errMalformed},
	} {
		got, err := advertised(tc.frame, far6)
		if !errors.Is(err, tc.want) || err == nil && got != mac {
			t.Errorf("%s: %s, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestARPAnswer(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	reply, err := arpRequest(mac[:], far4, near4)
	must(t, err)
	reply[ethernetHeader+7] = 2
	change := func(at int, v ...byte) []byte {
		b := append([]byte(nil), reply...)
		copy(b[at:], v)
		return b
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"answer", reply, nil},
		{"a request", change(ethernetHeader+7, 1), errNotReply},
		{"of another host", change(ethernetHeader+14, 10, 9, 0, 3), errOtherHost},
		{"a group address", change(ethernetHeader+8, 1), errNoHostMAC},
		{"all zeros", change(ethernetHeader+8, 0, 0, 0, 0, 0, 0), errNoHostMAC},
		{"address lengths that lie", change(ethernetHeader+4, 255, 255), errMalformed},
		{"cut", reply[:30], errMalformed},
		{"empty", nil, errMalformed},
	} {
		got, err := arpAnswer(tc.frame, far4)
		if !errors.Is(err, tc.want) || err == nil && got != mac {
			t.Errorf("%s: %s, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestHostileAnswersNeverPanic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "frame")
		_, _ = arpAnswer(b, far4)
		_, _ = advertised(b, far6)
	})
}
