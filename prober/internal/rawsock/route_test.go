package rawsock

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestRoute(t *testing.T) {
	host := newPeer(t)
	v0 := host.near.Attrs()
	lo := Route{IfIndex: 1, IfName: "lo", HWType: unix.ARPHRD_LOOPBACK, MTU: 65536, Local: true, Up: true}
	veth := Route{
		IfIndex: v0.Index, IfName: "v0", HWType: unix.ARPHRD_ETHER, MTU: 1500, SrcMAC: wire.MAC(v0.HardwareAddr), Up: true,
	}
	linkLocal := netip.MustParseAddr("fe80::2%v0")
	own := linkLocalOf(wire.MAC(v0.HardwareAddr))
	small := netip.MustParseAddr("198.51.100.1")
	must(t, netlink.RouteAdd(&netlink.Route{Dst: one(small), Gw: far4.AsSlice(), MTU: 1280}))
	viaSix := netip.MustParseAddr("198.51.100.2")
	must(t, netlink.RouteAdd(&netlink.Route{
		Dst: one(viaSix), LinkIndex: v0.Index, Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: far6.AsSlice()},
	}))
	for _, tc := range []struct {
		name  string
		query Query
		base  Route
		want  func(*Route)
	}{
		{"on link", Query{Dst: far4}, veth, func(r *Route) { r.Src, r.OnLink = near4, true }},
		{"on link, IPv6", Query{Dst: far6}, veth, func(r *Route) { r.Src, r.OnLink = near6, true }},
		{"IPv4 mapped into IPv6", Query{Dst: netip.AddrFrom16(far4.As16())}, veth, func(r *Route) { r.Dst, r.Src, r.OnLink = far4, near4, true }},
		{"by gateway", Query{Dst: behind4}, veth, func(r *Route) { r.Src, r.Gateway = near4, far4 }},
		{"by gateway, IPv6", Query{Dst: behind6}, veth, func(r *Route) { r.Src, r.Gateway = near6, far6 }},
		{"by a gateway of the other family", Query{Dst: viaSix}, veth, func(r *Route) { r.Src, r.Gateway = near4, far6 }},
		{"with a smaller MTU", Query{Dst: small}, veth, func(r *Route) { r.Src, r.Gateway, r.MTU = near4, far4, 1280 }},
		{"on a named device", Query{Dst: far4, IfName: "v0"}, veth, func(r *Route) { r.Src, r.OnLink = near4, true }},
		{"link-local", Query{Dst: linkLocal}, veth, func(r *Route) { r.Src, r.OnLink = own, true }},
		{"from an address of ours", Query{Dst: far4, Src: near4}, veth, func(r *Route) { r.Src, r.OnLink = near4, true }},
		{"loopback from another loopback address", Query{Dst: netip.MustParseAddr("127.0.0.1"), Src: netip.MustParseAddr("127.0.0.9")}, lo, func(*Route) {}},
		{"from the unspecified address", Query{Dst: far4, Src: netip.IPv4Unspecified()}, veth, func(r *Route) { r.Src, r.OnLink = near4, true }},
		{"from a foreign address, allowed", Query{Dst: far4, Src: netip.MustParseAddr("10.9.0.77"), AllowForeignSource: true}, veth, func(r *Route) { r.OnLink = true }},
		{"loopback", Query{Dst: netip.MustParseAddr("127.0.0.1")}, lo, func(r *Route) { r.Src = r.Dst }},
		{"loopback, IPv6", Query{Dst: netip.IPv6Loopback()}, lo, func(r *Route) { r.Src = r.Dst }},
		{"our own address", Query{Dst: near4}, lo, func(r *Route) { r.Src = r.Dst }},
		{"our own address, IPv6", Query{Dst: near6}, lo, func(r *Route) { r.Src = r.Dst }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.base
			want.Dst, want.Src = tc.query.Dst, tc.query.Src
			tc.want(&want)
			got, err := new(Router).Route(tc.query)
			must(t, err)
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("route (-want +got):\n%s", d)
			}
		})
	}
}

func one(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func TestRouteErrors(t *testing.T) {
	host := newPeer(t)
	forbid := func(addr string, kind int) netip.Addr {
		a := netip.MustParseAddr(addr)
		must(t, netlink.RouteAdd(&netlink.Route{Dst: one(a), Type: kind}))
		t.Cleanup(func() { must(t, netlink.RouteDel(&netlink.Route{Dst: one(a), Type: kind})) })
		return a
	}
	down := netlink.NewLinkAttrs()
	down.Name = "down0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: down, PeerName: "down1"}))
	downLink, err := netlink.LinkByName("down0")
	must(t, err)
	defer func() { must(t, netlink.LinkDel(downLink)) }()
	quiet := netlink.NewLinkAttrs()
	quiet.Name = "quiet0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: quiet, PeerName: "quiet1"}))
	quietLink, err := netlink.LinkByName("quiet0")
	must(t, err)
	defer func() { must(t, netlink.LinkDel(quietLink)) }()
	must(t, netlink.LinkSetUp(quietLink)) // its peer stays down
	v4, v6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		name  string
		query Query
		want  error
		says  string
	}{
		{"no route", Query{Dst: v4}, ErrNoRoute, "route to 203.0.113.1: no route"},
		{"no route, IPv6", Query{Dst: v6}, ErrNoRoute, "route to 2001:db8::1: no route"},
		{"unreachable", Query{Dst: forbid("203.0.113.2", unix.RTN_UNREACHABLE)}, ErrUnreachable, ""},
		{"unreachable, IPv6", Query{Dst: forbid("2001:db8::2", unix.RTN_UNREACHABLE)}, ErrUnreachable, ""},
		{"prohibit", Query{Dst: forbid("203.0.113.3", unix.RTN_PROHIBIT)}, ErrProhibited, ""},
		{"prohibit, IPv6", Query{Dst: forbid("2001:db8::3", unix.RTN_PROHIBIT)}, ErrProhibited, ""},
		{"blackhole", Query{Dst: forbid("203.0.113.4", unix.RTN_BLACKHOLE)}, ErrBlackhole, ""},
		{"blackhole, IPv6", Query{Dst: forbid("2001:db8::4", unix.RTN_BLACKHOLE)}, ErrBlackhole, ""},
		{"unknown device", Query{Dst: far4, IfName: "nope0"}, ErrInterfaceUnknown, `route to 10.9.0.2 on nope0: interface "nope0": no such interface`},
		{"a name that no device can have", Query{Dst: far4, IfName: strings.Repeat("x", 16)}, ErrInterfaceUnknown, ""},
		{"unknown zone", Query{Dst: netip.MustParseAddr("fe80::1%nope0")}, ErrInterfaceUnknown, ""},
		{"device down", Query{Dst: far4, IfName: "down0"}, ErrInterfaceDown, "route to 10.9.0.2 on down0: interface is down: down0"},
		{"device without carrier", Query{Dst: far4, IfName: "quiet0"}, ErrInterfaceDown, ""},
		{"foreign source", Query{Dst: far4, Src: v4}, ErrForeignSource, "route to 10.9.0.2 from 203.0.113.1: source address is not one of this host's"},
		{"foreign source, IPv6", Query{Dst: far6, Src: v6}, ErrForeignSource, ""},
		{"foreign source on the link", Query{Dst: far4, Src: netip.MustParseAddr("10.9.0.77")}, ErrForeignSource, ""},
		{"loopback source", Query{Dst: far4, Src: netip.MustParseAddr("127.0.0.9")}, ErrUnusableSource, ""},
		{"the broadcast address", Query{Dst: netip.MustParseAddr("10.9.0.255")}, nil, "not a unicast address"},
		{"a multicast address", Query{Dst: netip.MustParseAddr("224.0.0.1")}, nil, "not a unicast address"},
		{"source of the other family", Query{Dst: far4, Src: near6}, nil, "other address family"},
		{"no destination", Query{}, nil, "no destination"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := new(Router).Route(tc.query)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%+v, %v; want %v, saying %q", r, err, tc.want, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
	t.Run("link-local without its device", func(t *testing.T) {
		// The kernel picks some device with an fe80::/64 route: what it answers is a route, never a crash.
		if _, err := LookupRoute(netip.MustParseAddr("fe80::2"), netip.Addr{}, "", false); err != nil {
			t.Log(err)
		}
	})
	must(t, netlink.LinkSetDown(host.near))
	if _, err := LookupRoute(far4, near4, "", false); err == nil {
		t.Error("a route over a device that is down")
	}
}

// A held Router keeps to the namespace it was made in, the zero one follows the thread.
func TestRouterNamespace(t *testing.T) {
	host := newPeer(t)
	held, err := NewRouter()
	must(t, err)
	defer held.Close()
	var here, there Route
	must(t, inside(host.ns, func() (err error) {
		if here, err = held.Route(Query{Dst: far4}); err != nil {
			return err
		}
		there, err = LookupRoute(far4, netip.Addr{}, "", false)
		return err
	}))
	if here.IfName != "v0" || here.Local || there.IfName != "lo" || !there.Local {
		t.Errorf("from the peer's namespace: held %+v, zero %+v", here, there)
	}
	mac, err := held.NextHopMAC(t.Context(), here)
	must(t, err)
	if mac != host.mac {
		t.Errorf("next hop %s, want %s", mac, host.mac)
	}
}
