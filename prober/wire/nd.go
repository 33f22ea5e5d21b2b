package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// NDKind is which Neighbor Discovery message it is.
type NDKind uint8

// The kinds that take the place of ARP's request and reply.
const (
	NDUnknown             NDKind = iota
	NeighborSolicitation         // RFC 4861 §4.3
	NeighborAdvertisement        // RFC 4861 §4.4
)

func (k NDKind) String() string {
	switch k {
	case NeighborSolicitation:
		return "solicitation"
	case NeighborAdvertisement:
		return "advertisement"
	case NDUnknown:
	}
	return "unknown"
}

// ND is a Neighbor Solicitation or Advertisement. It is a comparable value without pointers.
type ND struct {
	Kind     NDKind
	Src, Dst netip.Addr // of the packet; an unspecified source is Duplicate Address Detection (RFC 4862 §5.4.2)
	Target   netip.Addr
	// Link is the link-layer address of the option that the kind has: the source's in a solicitation, the target's in an
	// advertisement (RFC 4861 §4.6.1). HasLink: it is there, and of 48 bits.
	Link    MAC
	HasLink bool
	// The flags of an advertisement (RFC 4861 §4.4): the sender is a router, it was asked, it replaces a cached address.
	Router, Solicited, Override bool
}

// ICMPv6 types, flag bits, options and sizes of ND: RFC 4861 §4.3, §4.4, §4.6.
const (
	icmp6Solicit   = 135
	icmp6Advertise = 136

	ndRouter    = 0x80
	ndSolicited = 0x40
	ndOverride  = 0x20

	ndHeader     = 24
	ndLinkSource = 1
	ndLinkTarget = 2
	ndLinkSize   = 8
	ndHopLimit   = 255 // RFC 4861 §7.1: else it has come through a router
)

// ParseND decodes the IP packet in b (no link header) into n and returns ReasonNone, or says which rule of RFC 4861 §7.1.1
// and §7.1.2 it breaks; n is then unspecified. Options other than the link-layer address are passed over (a DAD
// solicitation from Linux carries a nonce, RFC 7527 §4.1). It allocates nothing.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  135 or 136   |    Code = 0   |           Checksum            |
//	|R|S|O|                      Reserved                           |
//	|                   Target Address (16 octets)                  |
//	|  Option type  | Length in 8 B |      Link-layer address …     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func ParseND(b []byte, n *ND) Reason {
	var ip packet
	if r := ip.parse(b); r != ReasonNone {
		return r
	}
	if ip.proto != protoICMPv6 || ip.src.Is4() {
		return ReasonProtocol
	}
	if ip.fragment {
		return ReasonFragment // RFC 6980 §5: never fragmented
	}
	m := ip.payload
	if len(m) == 0 {
		return ReasonShort
	}
	*n = ND{Src: ip.src, Dst: ip.dst}
	switch m[0] {
	case icmp6Solicit:
		n.Kind = NeighborSolicitation
	case icmp6Advertise:
		n.Kind = NeighborAdvertisement
	default:
		return ReasonICMPType
	}
	switch {
	case len(m) < ip.length || len(m) < ndHeader:
		return ReasonShort
	case ip.hop != ndHopLimit:
		return ReasonHopLimit
	case !ip.icmpGood():
		return ReasonChecksum
	case m[1] != 0:
		return ReasonICMPCode
	}
	if n.Kind == NeighborAdvertisement {
		n.Router, n.Solicited, n.Override = m[4]&ndRouter != 0, m[4]&ndSolicited != 0, m[4]&ndOverride != 0
	}
	n.Target = netip.AddrFrom16([16]byte(m[8:24]))
	if r := n.options(m[ndHeader:]); r != ReasonNone {
		return r
	}
	return n.valid()
}

// options reads the option list: RFC 4861 §4.6, and §7.1.1: "All included options have a length that is greater than zero".
func (n *ND) options(b []byte) Reason {
	for len(b) > 0 {
		if len(b) < 2 {
			return ReasonOptions
		}
		size := 8 * int(b[1])
		if size == 0 || size > len(b) {
			return ReasonOptions
		}
		if b[0] == n.linkOption() && size == ndLinkSize && !n.HasLink {
			n.Link, n.HasLink = MAC(b[2:8]), true
		}
		b = b[size:]
	}
	return ReasonNone
}

func (n *ND) linkOption() byte {
	if n.Kind == NeighborAdvertisement {
		return ndLinkTarget
	}
	return ndLinkSource
}

// valid holds the message against the rules on its addresses.
func (n *ND) valid() Reason {
	dad := n.Kind == NeighborSolicitation && n.Src.IsUnspecified()
	switch {
	case n.Target.IsMulticast():
		return ReasonNDTarget
	case dad && (n.Dst != SolicitedNode(n.Dst) || n.HasLink):
		return ReasonNDAddress
	case n.Kind == NeighborAdvertisement && n.Dst.IsMulticast() && n.Solicited:
		return ReasonNDAddress
	}
	return ReasonNone
}

// Size is the length of the encoded packet in octets.
func (n *ND) Size() int {
	if n.HasLink {
		return ipv6Header + ndHeader + ndLinkSize
	}
	return ipv6Header + ndHeader
}

// Encode writes the IPv6 packet (no link header) into b, hop limit 255 and checksum finished, and returns its length.
// Errors: no kind, an address that is not IPv6, or b is too small. It does not hold the message against RFC 4861 §7.1:
// tests send what is not valid.
func (n *ND) Encode(b []byte) (int, error) {
	size := n.Size()
	if !n.Src.Is6() || !n.Dst.Is6() || !n.Target.Is6() {
		return 0, fmt.Errorf("encode neighbor %s: %s > %s about %s: not all IPv6 addresses", n.Kind, n.Src, n.Dst, n.Target)
	}
	if len(b) < size {
		return 0, fmt.Errorf("encode neighbor %s: buffer of %d octets, need %d", n.Kind, len(b), size)
	}
	b = b[:size]
	m := b[ipv6Header:]
	clear(m)
	switch n.Kind {
	case NeighborSolicitation:
		m[0] = icmp6Solicit
	case NeighborAdvertisement:
		m[0], m[4] = icmp6Advertise, n.flags()
	default:
		return 0, fmt.Errorf("encode neighbor message: kind %s", n.Kind)
	}
	put6(b, n.Src, n.Dst, protoICMPv6, 0, ndHopLimit, 0)
	target := n.Target.As16()
	copy(m[8:], target[:])
	if n.HasLink {
		m[ndHeader], m[ndHeader+1] = n.linkOption(), 1
		copy(m[ndHeader+2:], n.Link[:])
	}
	binary.BigEndian.PutUint16(m[2:], ^fold(sum(m, pseudoSum(n.Src, n.Dst, protoICMPv6, len(m)))))
	return size, nil
}

func (n *ND) flags() (f byte) {
	if n.Router {
		f |= ndRouter
	}
	if n.Solicited {
		f |= ndSolicited
	}
	if n.Override {
		f |= ndOverride
	}
	return f
}

// SolicitedNode is the solicited-node multicast address of a: ff02::1:ff00:0/104 with its low 24 bits (RFC 4291 §2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// MulticastMAC is the group address that a multicast packet goes to: 33:33 and the low 32 bits of an IPv6 address (RFC 2464
// §7), 01:00:5e and the low 23 bits of an IPv4 one (RFC 1112 §6.4). ok is false where a is no multicast address.
func MulticastMAC(a netip.Addr) (m MAC, ok bool) {
	if !a.IsMulticast() {
		return m, false
	}
	if a.Is4() {
		b := a.As4()
		return MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}, true
	}
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}, true
}
