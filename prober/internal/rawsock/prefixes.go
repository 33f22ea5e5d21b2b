package rawsock

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Prefixes cut the addresses of both families where this host's routes and routing rules tell destinations apart: all between two
// neighbouring cuts match the same of them, and so are routed alike, unless one of the routes has several next hops.
type Prefixes struct {
	cuts    [2][]netip.Addr // first addresses of spans, ascending; IPv4, IPv6
	several []netip.Prefix  // that have several next hops
}

// Span is a run of addresses that are routed alike, both ends included.
type Span struct{ First, Last netip.Addr }

// Contains reports whether a, an address without zone, lies in the span. The zero Span contains none.
func (s Span) Contains(a netip.Addr) bool {
	return s.First.IsValid() && s.First.BitLen() == a.BitLen() && !a.Less(s.First) && !s.Last.Less(a)
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
	p := &Prefixes{}
	for i := range routes {
		p.add(routes[i].Dst, len(routes[i].MultiPath) > 1)
	}
	for i := range rules {
		p.add(rules[i].Dst, false)
	}
	p.sort()
	return p, nil
}

// add enters a prefix; nil is that of a default route, of either family.
func (p *Prefixes) add(dst *net.IPNet, several bool) {
	if dst == nil {
		p.cut(netip.PrefixFrom(netip.IPv4Unspecified(), 0), several)
		p.cut(netip.PrefixFrom(netip.IPv6Unspecified(), 0), several)
		return
	}
	a, ok := netip.AddrFromSlice(dst.IP)
	bits, size := dst.Mask.Size()
	if !ok || size == 0 {
		return
	}
	if size == 32 {
		a = a.Unmap()
	}
	p.cut(netip.PrefixFrom(a, bits).Masked(), several)
}

func (p *Prefixes) cut(d netip.Prefix, several bool) {
	f := &p.cuts[familyOf(d.Addr())]
	*f = append(*f, d.Addr())
	if next := lastOf(d).Next(); next.IsValid() {
		*f = append(*f, next)
	}
	if several {
		p.several = append(p.several, d)
	}
}

func (p *Prefixes) sort() {
	for i, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		f := append(p.cuts[i], zero)
		slices.SortFunc(f, netip.Addr.Compare)
		p.cuts[i] = slices.Compact(f)
	}
}

// lastOf is the last address of a prefix.
func lastOf(d netip.Prefix) netip.Addr {
	b := d.Addr().AsSlice()
	for bit := d.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Span returns the span that a lies in. alike is false where addresses in it may be routed differently all the same.
func (p *Prefixes) Span(a netip.Addr) (s Span, alike bool) {
	a = a.Unmap().WithZone("")
	cuts := p.cuts[familyOf(a)]
	i, at := slices.BinarySearchFunc(cuts, a, netip.Addr.Compare)
	if !at {
		i--
	}
	s = Span{cuts[i], lastOf(netip.PrefixFrom(a, 0).Masked())}
	if i+1 < len(cuts) {
		s.Last = cuts[i+1].Prev()
	}
	return s, !slices.ContainsFunc(p.several, func(d netip.Prefix) bool { return d.Contains(a) })
}
