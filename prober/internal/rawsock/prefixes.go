package rawsock

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Prefixes are all destinations that this host's routes and routing rules tell apart. Two addresses with the same longest match
// among them match the same of them, and so are routed alike, unless the route has several next hops.
type Prefixes struct {
	several map[netip.Prefix]bool // of every prefix: whether a route to it has several next hops
	lengths [2][]int              // that occur, longest first; IPv4, IPv6
}

// ReadPrefixes reads the routes of all tables, and the rules, of the calling thread's namespace.
func ReadPrefixes() (*Prefixes, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	p := &Prefixes{several: map[netip.Prefix]bool{}}
	for i := range routes {
		p.add(routes[i].Dst, len(routes[i].MultiPath) > 1)
	}
	for i := range rules {
		if rules[i].Dst != nil {
			p.add(rules[i].Dst, false)
		}
	}
	p.index()
	return p, nil
}

// add enters a prefix; nil is that of a default route, of either family.
func (p *Prefixes) add(dst *net.IPNet, several bool) {
	if dst == nil {
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			d := netip.PrefixFrom(a, 0)
			p.several[d] = p.several[d] || several
		}
		return
	}
	a, ok := netip.AddrFromSlice(dst.IP)
	bits, size := dst.Mask.Size()
	if !ok || size == 0 {
		return
	}
	if a.Is4In6() && size == 32 {
		a = a.Unmap()
	}
	d := netip.PrefixFrom(a, bits).Masked()
	p.several[d] = p.several[d] || several
}

func (p *Prefixes) index() {
	for d := range p.several {
		f := &p.lengths[familyOf(d.Addr())]
		if !slices.Contains(*f, d.Bits()) {
			*f = append(*f, d.Bits())
		}
	}
	for i := range p.lengths {
		slices.Sort(p.lengths[i])
		slices.Reverse(p.lengths[i])
	}
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Match returns the longest prefix that a is in, of length 0 where there is no other. alike is false where addresses in it may be
// routed differently all the same.
func (p *Prefixes) Match(a netip.Addr) (match netip.Prefix, alike bool) {
	a = a.Unmap()
	alike = true
	for _, bits := range p.lengths[familyOf(a)] {
		d, err := a.WithZone("").Prefix(bits)
		if err != nil {
			continue
		}
		several, known := p.several[d]
		if !known {
			continue
		}
		if !match.IsValid() {
			match = d
		}
		alike = alike && !several // a rule may choose a table that has the shorter one alone
	}
	if !match.IsValid() {
		match, _ = a.WithZone("").Prefix(0)
	}
	return match, alike
}
