package neigh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Vacant returns up to n addresses, in random order, of the subnet that this interface shares with near, of which this host knows no owner:
// neither itself nor a gateway, nor anybody in its neighbour table, and none of those that subnets give a special meaning. Somebody may have
// them all the same: ask with ProbeFree. The error says why the interface shares no such subnet.
func Vacant(ifindex int, near netip.Addr, n int, r *rand.Rand) ([]netip.Addr, error) {
	near = near.Unmap().WithZone("")
	ifi, err := interfaceNamed(ifindex)
	if err != nil {
		return nil, fmt.Errorf("find free addresses: %w", err)
	}
	subnet, owned, err := owners(ifi, near)
	if err != nil {
		return nil, fmt.Errorf("find free addresses beside %s on %s: %w", near, ifi.Name, err)
	}
	entries, err := List(ifindex, near.Is6())
	if err != nil {
		return nil, fmt.Errorf("find free addresses beside %s on %s: %w", near, ifi.Name, err)
	}
	for _, e := range entries {
		owned[e.Addr] = "in the neighbour table"
	}
	return pick(subnet, owned, n, r), nil
}

// Borrowable says why an address cannot be borrowed beside near, as far as this host knows; nil: it may be free. Ask with ProbeFree then.
func Borrowable(ifindex int, near, a netip.Addr) error {
	near, a = near.Unmap().WithZone(""), a.Unmap().WithZone("")
	ifi, err := interfaceNamed(ifindex)
	if err != nil {
		return fmt.Errorf("borrow %s: %w", a, err)
	}
	subnet, owned, err := owners(ifi, near)
	switch who := owned[a]; {
	case err != nil:
		return fmt.Errorf("borrow %s beside %s on %s: %w", a, near, ifi.Name, err)
	case !subnet.Contains(a):
		return fmt.Errorf("borrow %s: it is not of %s, the subnet that %s shares with %s", a, subnet, ifi.Name, near)
	case who != "":
		return fmt.Errorf("borrow %s: it is %s", a, who)
	case a == subnet.Addr() || a.Is4() && subnet.Bits() < 31 && a == lastOf(subnet):
		return fmt.Errorf("borrow %s: no host of %s can have it", a, subnet)
	}
	return nil
}

func prefixes(ifi *net.Interface) ([]netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, fmt.Errorf("read its addresses: %w", err)
	}
	var list []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
		}
	}
	return list, nil
}

// owners are the subnet that the interface shares with near, and those of its addresses whose owner is known without asking.
func owners(ifi *net.Interface, near netip.Addr) (subnet netip.Prefix, owned map[netip.Addr]string, err error) {
	list, err := prefixes(ifi)
	if err != nil {
		return subnet, nil, err
	}
	owned = map[netip.Addr]string{near: "the target's own"}
	for _, p := range list {
		owned[p.Addr()] = "this host's own"
		if p.Contains(near) {
			subnet = p.Masked()
		}
	}
	if !subnet.IsValid() {
		return subnet, nil, errors.New("no address of the interface shares a subnet with it")
	}
	routes, err := netlink.RouteList(nil, int(family(near)))
	if err != nil {
		return subnet, nil, fmt.Errorf("list routes: %w", err)
	}
	for i := range routes {
		if gw, ok := netip.AddrFromSlice(routes[i].Gw); ok && owned[gw.Unmap()] == "" {
			owned[gw.Unmap()] = "a gateway of this host's routes"
		}
	}
	return subnet, owned, nil
}

// pickTries bounds how many random addresses are looked at for each that is wanted.
const pickTries = 64

// pick draws addresses of a subnet that are neither owned nor special: an IPv4 host part of all zeros or all ones (RFC 1122 §3.2.1.3), a last
// octet of 0 or 255, which some old hosts take for a broadcast, the first and last host, where gateways mostly are; and in IPv6 the
// Subnet-Router anycast address (RFC 4291 §2.6.1) and the last 128 interface identifiers (RFC 2526 §2).
func pick(subnet netip.Prefix, owned map[netip.Addr]string, n int, r *rand.Rand) []netip.Addr {
	var list []netip.Addr
	for range n * pickTries {
		if len(list) == n {
			break
		}
		a := random(subnet, r)
		if owned[a] != "" || special(subnet, a) {
			continue
		}
		owned[a] = "drawn already"
		list = append(list, a)
	}
	return list
}

// random is any address of a subnet.
func random(subnet netip.Prefix, r *rand.Rand) netip.Addr {
	b := subnet.Addr().AsSlice()
	for i := range b {
		keep := min(max(subnet.Bits()-8*i, 0), 8)
		b[i] |= byte(r.Uint32()) & (0xff >> keep)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func special(subnet netip.Prefix, a netip.Addr) bool {
	first, last := subnet.Addr(), lastOf(subnet)
	if a == first || a == last || a == first.Next() || a == last.Prev() {
		return true
	}
	b := a.AsSlice()
	end := b[len(b)-1]
	if a.Is4() {
		return end == 0 || end == 255
	}
	for _, x := range b[9 : len(b)-1] {
		if x != 0xff {
			return false
		}
	}
	return end >= 0x80
}

func lastOf(subnet netip.Prefix) netip.Addr {
	b := subnet.Addr().AsSlice()
	for i := range b {
		keep := min(max(subnet.Bits()-8*i, 0), 8)
		b[i] |= 0xff >> keep
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
