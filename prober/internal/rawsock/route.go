package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Route is the way of a packet from Src to Dst, as the kernel would choose it now.
type Route struct {
	Dst     netip.Addr
	Src     netip.Addr // as asked for, else the kernel's choice
	Gateway netip.Addr // next hop, of either family (RFC 5549); invalid when OnLink
	OnLink  bool       // Dst itself is the next hop
	Local   bool       // Dst is an address of this host: only a LocalSender reaches it

	IfIndex int
	IfName  string
	HWType  uint16   // ARPHRD_* of the device, include/uapi/linux/if_arp.h
	SrcMAC  wire.MAC // of the device; zero where it has none
	MTU     int      // octets of IP packet, the route's or else the device's
	Up      bool     // device is up and has a carrier; LookupRoute returns no other
}

// NextHop is the address whose link address the packet needs: the gateway, or Dst itself.
func (r Route) NextHop() netip.Addr {
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return r.Dst
}

// Query asks for a route.
type Query struct {
	Dst    netip.Addr // a link-local IPv6 address needs its zone or IfName
	Src    netip.Addr // invalid: the kernel's choice
	IfName string     // empty: the kernel's choice
	// AllowForeignSource admits a Src that is not this host's. The kernel is then asked without it, so that rules which
	// choose by source address do not apply.
	AllowForeignSource bool
}

// LookupRoute is Route of the zero Router.
func LookupRoute(dst, src netip.Addr, ifname string, allowForeignSource bool) (Route, error) {
	return new(Router).Route(Query{Dst: dst, Src: src, IfName: ifname, AllowForeignSource: allowForeignSource})
}

// Route asks the kernel (RTM_GETROUTE, policy rules included) how packets leave. Every error is one sentence and wraps its kind:
// ErrNoRoute, ErrUnreachable, ErrProhibited, ErrBlackhole, ErrInterfaceUnknown, ErrInterfaceDown, ErrForeignSource,
// ErrUnusableSource.
func (rt *Router) Route(q Query) (Route, error) {
	q.Dst, q.Src = q.Dst.Unmap(), q.Src.Unmap()
	if q.IfName == "" {
		q.IfName = q.Dst.Zone()
	}
	if err := q.check(); err != nil {
		return Route{}, fmt.Errorf("route to %s: %w", q.Dst, err)
	}
	r, err := rt.route(q)
	if err != nil {
		return Route{}, fmt.Errorf("route to %s%s: %w", q.Dst, q.constraints(), err)
	}
	return r, nil
}

func (q Query) constraints() string {
	var s string
	if q.Src.IsValid() {
		s += " from " + q.Src.String()
	}
	if q.IfName != "" {
		s += " on " + q.IfName
	}
	return s
}

func (q Query) check() error {
	switch {
	case !q.Dst.IsValid():
		return errors.New("no destination address")
	case q.Dst.IsUnspecified() || q.Dst.IsMulticast():
		return errors.New("not a unicast address")
	case q.Src.IsValid() && q.Src.Is4() != q.Dst.Is4():
		return fmt.Errorf("source %s is of the other address family", q.Src)
	}
	return nil
}

func (rt *Router) route(q Query) (Route, error) {
	var oif int
	if q.IfName != "" {
		d, err := rt.device(q.IfName, 0)
		if err != nil {
			return Route{}, err
		}
		if err := usable(d); err != nil {
			return Route{}, err
		}
		oif = d.index
	}
	src := q.Src
	if src.IsUnspecified() {
		src = netip.Addr{}
	}
	if src.IsValid() {
		own, err := rt.isOwn(src, oif)
		if err != nil {
			return Route{}, err
		}
		if !own && !q.AllowForeignSource {
			return Route{}, ErrForeignSource
		}
		if !own {
			src = netip.Addr{}
		}
	}
	got, err := rt.ask(q.Dst, src, oif)
	if errors.Is(err, ErrBlackhole) && src.IsValid() {
		// The errno of a blackhole is that of a source which cannot leave by this way, too: a loopback address, say.
		if _, other := rt.ask(q.Dst, netip.Addr{}, oif); other == nil {
			err = ErrUnusableSource
		}
	}
	if err != nil {
		return Route{}, err
	}
	return rt.fill(q, got)
}

// fill makes a Route of the kernel's answer and of the device it names.
func (rt *Router) fill(q Query, got netlink.Route) (Route, error) {
	d, err := rt.device("", got.LinkIndex)
	if err != nil {
		return Route{}, err
	}
	if err := usable(d); err != nil {
		return Route{}, err
	}
	r := Route{
		Dst: q.Dst, Src: q.Src, Gateway: gateway(got), Local: got.Type == unix.RTN_LOCAL,
		IfIndex: d.index, IfName: d.name, HWType: d.hwType, MTU: d.mtu, Up: true,
	}
	copy(r.SrcMAC[:], d.mac)
	if !r.Src.IsValid() || r.Src.IsUnspecified() {
		src, _ := netip.AddrFromSlice(got.Src)
		r.Src = src.Unmap()
	}
	if got.MTU > 0 && got.MTU < r.MTU {
		r.MTU = got.MTU
	}
	r.OnLink = !r.Local && !r.Gateway.IsValid()
	if !r.Src.IsValid() {
		return Route{}, fmt.Errorf("%w: %s has no address to send from", ErrNoRoute, d.name)
	}
	return r, nil
}

func gateway(got netlink.Route) netip.Addr {
	if via, ok := got.Via.(*netlink.Via); ok {
		a, _ := netip.AddrFromSlice(via.Addr)
		return a.Unmap()
	}
	a, _ := netip.AddrFromSlice(got.Gw)
	return a.Unmap()
}

func usable(d device) error {
	switch {
	case !d.up():
		return fmt.Errorf("%w: %s", ErrInterfaceDown, d.name)
	case !d.carrier():
		return fmt.Errorf("%w: %s has no carrier", ErrInterfaceDown, d.name)
	}
	return nil
}

// isOwn reports whether the kernel delivers packets for a to this host. A route lookup finds also what no interface lists: all of
// 127.0.0.0/8 and "local" routes of whole prefixes. Link-local addresses, and those of a VRF, are found on their device alone.
func (rt *Router) isOwn(a netip.Addr, oif int) (bool, error) {
	if oif != 0 && (!a.Is6() || !a.IsLinkLocalUnicast()) {
		if own, err := rt.isLocal(a, 0); own || err != nil {
			return own, err
		}
	}
	return rt.isLocal(a, oif)
}

func (rt *Router) isLocal(a netip.Addr, oif int) (bool, error) {
	got, err := rt.ask(a.WithZone(""), netip.Addr{}, oif)
	switch {
	case err == nil:
		return got.Type == unix.RTN_LOCAL, nil
	case errors.Is(err, ErrNoRoute), errors.Is(err, ErrUnreachable), errors.Is(err, ErrProhibited), errors.Is(err, ErrBlackhole):
		return false, nil
	}
	return false, err
}

// ask sends one RTM_GETROUTE. IPv4 answers a route that forbids by errno, IPv6 by the type in the answer as well (net/ipv4/
// fib_semantics.c fib_props; net/ipv6/route.c inet6_rtm_getroute; 6.18).
func (rt *Router) ask(dst, src netip.Addr, oif int) (netlink.Route, error) {
	opt := &netlink.RouteGetOptions{OifIndex: oif}
	if src.IsValid() {
		opt.SrcAddr = net.IP(src.WithZone("").AsSlice())
	}
	got, err := rt.handle.RouteGetWithOptions(net.IP(dst.WithZone("").AsSlice()), opt)
	if err != nil {
		return netlink.Route{}, routeError(err)
	}
	if len(got) == 0 {
		return netlink.Route{}, ErrNoRoute
	}
	switch got[0].Type {
	case unix.RTN_UNREACHABLE:
		return netlink.Route{}, ErrUnreachable
	case unix.RTN_PROHIBIT:
		return netlink.Route{}, ErrProhibited
	case unix.RTN_BLACKHOLE:
		return netlink.Route{}, ErrBlackhole
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return netlink.Route{}, errors.New("not a unicast address")
	}
	return got[0], nil
}

func routeError(err error) error {
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return ErrNoRoute
	case errors.Is(err, unix.EHOSTUNREACH):
		return ErrUnreachable
	case errors.Is(err, unix.EACCES):
		return ErrProhibited
	case errors.Is(err, unix.EINVAL):
		return ErrBlackhole
	case errors.Is(err, unix.ENETDOWN):
		return ErrInterfaceDown
	}
	return err
}
