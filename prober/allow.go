package prober

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Allow is the list of addresses that may be probed; the zero value permits none. Host names are permitted by listing what
// they resolve to: the check is made on the resolved address, at every attempt, since a name can change between two of them.
type Allow struct {
	prefixes []netip.Prefix
	ones     map[netip.Addr]struct{} // of prefixes, those of one address
	wide     []netip.Prefix          // the others
}

func allowing(prefixes []netip.Prefix) Allow {
	a := Allow{prefixes: prefixes, ones: map[netip.Addr]struct{}{}}
	for _, p := range prefixes {
		if p.IsSingleIP() {
			a.ones[p.Addr()] = struct{}{}
		} else {
			a.wide = append(a.wide, p)
		}
	}
	return a
}

// ParseAllow reads entries that are each an address or a CIDR prefix. Bits below a prefix's length must be zero. IPv4 in IPv6
// is unmapped.
func ParseAllow(entries []string) (Allow, error) {
	var all []netip.Prefix
	for i, e := range entries {
		p, err := parseAllowEntry(strings.TrimSpace(e))
		if err != nil {
			return Allow{}, fmt.Errorf("allow[%d]: %w", i, err)
		}
		all = append(all, p)
	}
	return allowing(all), nil
}

func parseAllowEntry(e string) (netip.Prefix, error) {
	if !strings.Contains(e, "/") {
		addr, err := netip.ParseAddr(e)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", e)
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(e)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", e)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits set below its length; %s is meant?", e, p.Masked())
	}
	return p, nil
}

// AllowAddrs is the list of exactly these addresses: what a person typed on the command line is permitted by that.
func AllowAddrs(addrs ...netip.Addr) Allow {
	var all []netip.Prefix
	for _, x := range addrs {
		x = x.Unmap().WithZone("")
		all = append(all, netip.PrefixFrom(x, x.BitLen()))
	}
	return allowing(all)
}

// With returns the union of two lists.
func (a Allow) With(b Allow) Allow {
	return allowing(append(append([]netip.Prefix(nil), a.prefixes...), b.prefixes...))
}

// Entries returns the list as it would be written in a configuration.
func (a Allow) Entries() []string {
	out := make([]string, 0, len(a.prefixes))
	for _, p := range a.prefixes {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
			continue
		}
		out = append(out, p.String())
	}
	return out
}

// Check returns nil when addr may be probed, else a *NotAllowedError. Loopback is permitted like any other address: by an entry.
// Addresses of special meaning need an entry for exactly that one address.
func (a Allow) Check(target string, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	why := special(addr)
	if _, ok := a.ones[addr]; ok || why == "" && contains(a.wide, addr) {
		return nil
	}
	if why == "" {
		why = "not on the allow list"
	} else {
		why += " and needs an entry of its own"
	}
	return &NotAllowedError{Target: target, Addr: addr, Why: why, Entry: addr.String()}
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// covers reports whether every address of p is permitted, as Check says of each. It may be false all the same where they are.
func (a Allow) covers(p netip.Prefix) bool {
	for _, s := range specials() {
		if s.prefix.Overlaps(p) {
			return false
		}
	}
	if nat64().Overlaps(p) {
		return false
	}
	for _, x := range a.wide {
		if x.Bits() <= p.Bits() && x.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// special names the addresses that a prefix never permits, and those which a NAT64 makes of them (RFC 6052 §2.1).
func special(addr netip.Addr) string {
	if nat64().Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, s := range specials() {
		if s.prefix.Contains(addr) {
			return s.name
		}
	}
	return ""
}

// nat64 is the well-known prefix of RFC 6052 §2.1.
func nat64() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96)
}

type specialPrefix struct {
	prefix netip.Prefix
	name   string
}

// specials are the addresses that a prefix never permits: the metadata services of clouds, which hand out credentials or configuration, as the
// providers document them; link-local (RFC 3927, RFC 4291 §2.5.6), multicast (RFC 1112 §4, RFC 4291 §2.7), limited broadcast, unspecified.
func specials() [13]specialPrefix {
	v4 := func(a, b, c, d byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
	}
	v6 := func(bits int, a [16]byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom16(a), bits) }
	const cloud, link, multi, none = "a cloud metadata address", "a link-local address", "a multicast address", "the unspecified address"
	return [...]specialPrefix{
		{v4(169, 254, 169, 254, 32), cloud},                                    // AWS, Azure, Google, OpenStack and others
		{v6(128, [16]byte{0xfd, 0x00, 0x0e, 0xc2, 14: 0x02, 15: 0x54}), cloud}, // AWS: fd00:ec2::254
		{v6(128, [16]byte{0xfd, 0x20, 0x00, 0xce, 14: 0x02, 15: 0x54}), cloud}, // Google: fd20:ce::254
		{v4(168, 63, 129, 16, 32), cloud},                                      // Azure's wire server
		{v4(100, 100, 100, 200, 32), cloud},                                    // Alibaba
		{v4(192, 0, 0, 192, 32), cloud},                                        // Oracle
		{v4(169, 254, 0, 0, 16), link},
		{v6(10, [16]byte{0xfe, 0x80}), link},
		{v4(224, 0, 0, 0, 4), multi},
		{v6(8, [16]byte{0xff}), multi},
		{v4(255, 255, 255, 255, 32), "the broadcast address"},
		{v4(0, 0, 0, 0, 32), none},
		{v6(128, [16]byte{}), none},
	}
}
