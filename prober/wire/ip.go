package wire

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of the fixed headers in octets: RFC 791 §3.1, RFC 8200 §3, RFC 9293 §3.1; and the protocol numbers that we read
// (IANA protocol numbers).
const (
	ipv4Header  = 20
	ipv6Header  = 40
	tcpHeader   = 20
	protoICMP   = 1
	protoTCP    = 6
	protoICMPv6 = 58
)

// packet is the decoded IP header and what it carries.
type packet struct {
	src, dst netip.Addr
	proto    uint8
	hop, tos uint8
	df       bool
	fragment bool // part of a packet, first or not
	later    bool // a fragment that is not the first
	routed   bool // an IPv6 routing header is not used up: dst is a way station, which the checksum does not cover
	id       uint16
	label    uint32
	length   int    // of the payload, as the header states
	payload  []byte // what of it was captured
}

func (p *packet) parse(b []byte) Reason {
	if len(b) == 0 {
		return ReasonShort
	}
	*p = packet{}
	switch b[0] >> 4 {
	case 4:
		return p.parse4(b)
	case 6:
		return p.parse6(b)
	}
	return ReasonVersion
}

// parse4 reads an IPv4 header, options skipped.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   4   |  IHL  |      ToS      |         Total Length          |
//	|        Identification         |0|D|M|     Fragment Offset     |
//	|      TTL      |   Protocol    |        Header Checksum        |
//	|                        Source Address                         |
//	|                      Destination Address                      |
//	|                           [Options]                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func (p *packet) parse4(b []byte) Reason {
	if len(b) < ipv4Header {
		return ReasonShort
	}
	ihl := int(b[0]&15) * 4
	if ihl < ipv4Header {
		return ReasonHeaderLen
	}
	if len(b) < ihl {
		return ReasonShort
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total < ihl {
		return ReasonTotalLength
	}
	if fold(sum(b[:ihl], 0)) != 0xffff {
		return ReasonHeaderChecksum
	}
	frag := binary.BigEndian.Uint16(b[6:])
	p.src = netip.AddrFrom4([4]byte(b[12:16]))
	p.dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.proto, p.hop, p.tos, p.id = b[9], b[8], b[1], binary.BigEndian.Uint16(b[4:])
	p.df, p.fragment, p.later = frag&0x4000 != 0, frag&0x3fff != 0, frag&0x1fff != 0
	p.length, p.payload = total-ihl, b[ihl:min(total, len(b))]
	return ReasonNone
}

// parse6 reads an IPv6 header and the extension headers after it.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   6   | Traffic Class |              Flow Label               |
//	|        Payload Length         |  Next Header  |   Hop Limit   |
//	|                    Source Address (16 octets)                 |
//	|                  Destination Address (16 octets)              |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func (p *packet) parse6(b []byte) Reason {
	if len(b) < ipv6Header {
		return ReasonShort
	}
	head := binary.BigEndian.Uint32(b)
	p.tos, p.label = uint8(head>>20), head&0xfffff
	p.src = netip.AddrFrom16([16]byte(b[8:24]))
	p.dst = netip.AddrFrom16([16]byte(b[24:40]))
	p.hop, p.df = b[7], true
	p.length = int(binary.BigEndian.Uint16(b[4:]))
	p.payload = b[ipv6Header:min(ipv6Header+p.length, len(b))]
	return p.extensions(b[6])
}

// IPv6 extension headers that may stand before TCP or ICMPv6 (RFC 8200 §4): each 8·(n+1) octets with n in its second
// octet, but the fragment header's 8.
const (
	extHopByHop = 0
	extRouting  = 43
	extFragment = 44
	extDest     = 60
)

// extensions walks the extension headers in payload and leaves what follows them. It stops at a fragment that is not the
// first: what follows there is no header.
func (p *packet) extensions(next uint8) Reason {
	for next == extHopByHop || next == extRouting || next == extDest || next == extFragment {
		h := p.payload
		if p.length < 8 {
			return ReasonTotalLength
		}
		if len(h) < 8 {
			return ReasonShort
		}
		n := 8 * (int(h[1]) + 1)
		switch next {
		case extRouting:
			p.routed = p.routed || h[3] != 0 // segments left, RFC 8200 §4.4
		case extFragment:
			n = 8
			// an atomic fragment (offset 0, no more to come) is a whole packet: RFC 6946 §2
			frag := binary.BigEndian.Uint16(h[2:])
			p.fragment = p.fragment || frag&0xfff9 != 0
			p.later = frag&0xfff8 != 0
		}
		if n > p.length {
			return ReasonTotalLength
		}
		if n > len(h) {
			return ReasonShort
		}
		next, p.payload, p.length = h[0], h[n:], p.length-n
		if p.later {
			break
		}
	}
	p.proto = next
	return ReasonNone
}

// verified reports whether the payload was captured whole and so can be checked.
func (p *packet) verified() bool { return len(p.payload) >= p.length && !p.routed }

// icmpGood reports whether the checksum of an ICMP payload is right: without a pseudo-header in IPv4 (RFC 792), with one in
// IPv6 (RFC 4443 §2.3).
func (p *packet) icmpGood() bool {
	var acc uint64
	if p.proto == protoICMPv6 {
		acc = pseudoSum(p.src, p.dst, protoICMPv6, p.length)
	}
	return fold(sum(p.payload, acc)) == 0xffff
}

// put4 writes an IPv4 header without options over b[:20] for a packet of len(b) octets.
func put4(b []byte, src, dst netip.Addr, proto, tos, hop uint8, id uint16, df bool) {
	b[0], b[1] = 0x45, tos
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], id)
	b[6], b[7] = 0, 0
	if df {
		b[6] = 0x40
	}
	b[8], b[9] = hop, proto
	b[10], b[11] = 0, 0
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b[:ipv4Header], 0)))
}

// put6 writes an IPv6 header over b[:40] for a packet of len(b) octets.
func put6(b []byte, src, dst netip.Addr, proto, class, hop uint8, label uint32) {
	binary.BigEndian.PutUint32(b, 6<<28|uint32(class)<<20|label&0xfffff)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Header))
	b[6], b[7] = proto, hop
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
}
