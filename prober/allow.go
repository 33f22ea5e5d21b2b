package prober

import (
	"fmt"
	"net/netip"
	"strings"
)

// Allow is the list of addresses that may be probed; the zero value permits none. Host names are permitted by listing what
// they resolve to: the check is made on the resolved address, at every attempt, since a name can change between two of them.
type Allow struct {
	prefixes []netip.Prefix
}

// ParseAllow reads entries that are each an address or a CIDR prefix. Bits below a prefix's length must be zero. IPv4 in IPv6
// is unmapped.
func ParseAllow(entries []string) (Allow, error) {
	var a Allow
	for i, e := range entries {
		p, err := parseAllowEntry(strings.TrimSpace(e))
		if err != nil {
			return Allow{}, fmt.Errorf("allow[%d]: %w", i, err)
		}
		a.prefixes = append(a.prefixes, p)
	}
	return a, nil
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
	var a Allow
	for _, x := range addrs {
		x = x.Unmap().WithZone("")
		a.prefixes = append(a.prefixes, netip.PrefixFrom(x, x.BitLen()))
	}
	return a
}

// With returns the union of two lists.
func (a Allow) With(b Allow) Allow {
	return Allow{append(append([]netip.Prefix(nil), a.prefixes...), b.prefixes...)}
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
	for _, p := range a.prefixes {
		if p.Contains(addr) && (why == "" || p.IsSingleIP()) {
			return nil
		}
	}
	if why == "" {
		why = "not on the allow list"
	} else {
		why += " and needs an entry of its own"
	}
	return &NotAllowedError{Target: target, Addr: addr, Why: why, Entry: addr.String()}
}

// special names the addresses that a prefix never permits: link-local (RFC 3927, RFC 4291 §2.5.6), multicast, limited broadcast,
// unspecified, and the metadata services of clouds; and those which a NAT64 makes of them (RFC 6052 §2.1).
func special(addr netip.Addr) string {
	if wellKnown := netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96); wellKnown.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case metadata(addr):
		return "a cloud metadata address"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast():
		return "a multicast address"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	case addr.IsUnspecified():
		return "the unspecified address"
	}
	return ""
}

// metadata reports whether a cloud hands out credentials or configuration at the address, as the providers document it.
func metadata(addr netip.Addr) bool {
	b := addr.As16()
	switch b {
	case mapped(169, 254, 169, 254), // AWS, Azure, Google, OpenStack and others
		[16]byte{0xfd, 0x00, 0x0e, 0xc2, 14: 0x02, 15: 0x54}, // AWS: fd00:ec2::254
		[16]byte{0xfd, 0x20, 0x00, 0xce, 14: 0x02, 15: 0x54}, // Google: fd20:ce::254
		mapped(168, 63, 129, 16),                             // Azure's wire server
		mapped(100, 100, 100, 200),                           // Alibaba
		mapped(192, 0, 0, 192):                               // Oracle
		return true
	}
	return false
}

// mapped is an IPv4 address in IPv6 (RFC 4291 §2.5.5.2).
func mapped(a, b, c, d byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}
