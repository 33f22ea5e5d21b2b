package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Echo is an ICMP or ICMPv6 echo request or reply (RFC 792; RFC 4443 §4).
type Echo struct {
	Src, Dst netip.Addr
	Reply    bool
	ID, Seq  uint16
	HopLimit uint8
	ToS      uint8
	// Payload as captured: it aliases the parsed packet. A reply returns the request's as it was.
	Payload []byte
	// Checksum is ChecksumGood, or ChecksumUnknown in a cut capture: a wrong one is ReasonChecksum.
	Checksum Checksum
}

// Echo types: RFC 792; RFC 4443 §4.1, §4.2. The code is 0.
const (
	icmpEchoReply    = 0
	icmpEchoRequest  = 8
	icmp6EchoRequest = 128
	icmp6EchoReply   = 129
)

// ParseEcho decodes the IP packet in b (no link header) into e and returns ReasonNone, or says why it is no echo message; e is then
// unspecified.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Type      |     Code      |          Checksum             |
//	|           Identifier          |        Sequence Number        |
//	|     Data ...
//	+-+-+-+-+-
func ParseEcho(b []byte, e *Echo) Reason {
	var ip packet
	if r := ip.parse(b); r != ReasonNone {
		return r
	}
	v6 := ip.src.Is6()
	if v6 && ip.proto != protoICMPv6 || !v6 && ip.proto != protoICMP {
		return ReasonProtocol
	}
	if ip.fragment {
		return ReasonFragment
	}
	m := ip.payload
	if len(m) < icmpHeader {
		return ReasonShort
	}
	reply, ok := isEcho(v6, m[0])
	switch {
	case !ok:
		return ReasonICMPType
	case m[1] != 0:
		return ReasonICMPCode
	}
	*e = Echo{Src: ip.src, Dst: ip.dst, Reply: reply, ID: binary.BigEndian.Uint16(m[4:]), Seq: binary.BigEndian.Uint16(m[6:]), HopLimit: ip.hop, ToS: ip.tos,
		Payload: m[icmpHeader:]}
	if !ip.verified() {
		return ReasonNone
	}
	if !ip.icmpGood() {
		return ReasonChecksum
	}
	e.Checksum = ChecksumGood
	return ReasonNone
}

func isEcho(v6 bool, typ uint8) (reply, ok bool) {
	if v6 {
		return typ == icmp6EchoReply, typ == icmp6EchoReply || typ == icmp6EchoRequest
	}
	return typ == icmpEchoReply, typ == icmpEchoReply || typ == icmpEchoRequest
}

// Size is the length of the encoded packet in octets, or 0 when the addresses are of no common family.
func (e *Echo) Size() int {
	n := icmpHeader + len(e.Payload)
	switch {
	case e.Src.Is4() && e.Dst.Is4():
		return n + ipv4Header
	case e.Src.Is6() && e.Dst.Is6():
		return n + ipv6Header
	}
	return 0
}

// Encode writes the IP packet (no link header) into b with its checksums finished, DF set, and returns its length. Errors: the addresses are of
// no common family, b is too small, or the packet would pass 65,535 octets.
func (e *Echo) Encode(b []byte) (int, error) {
	n := e.Size()
	switch {
	case n == 0:
		return 0, ErrAddresses
	case n > maxPacket:
		return 0, fmt.Errorf("encode echo: %d octets do not fit an IP packet", n)
	case len(b) < n:
		return 0, fmt.Errorf("encode echo: buffer of %d octets, need %d", len(b), n)
	}
	b = b[:n]
	if e.Src.Is4() {
		put4(b, e.Src, e.Dst, protoICMP, e.ToS, e.HopLimit, 0, true) // an ID says nothing where DF forbids fragments: RFC 6864 §4.1
		e.encode(b[ipv4Header:], icmpEchoRequest, icmpEchoReply, 0)
	} else {
		put6(b, e.Src, e.Dst, protoICMPv6, e.ToS, e.HopLimit, 0)
		e.encode(b[ipv6Header:], icmp6EchoRequest, icmp6EchoReply, pseudoSum(e.Src, e.Dst, protoICMPv6, n-ipv6Header))
	}
	return n, nil
}

func (e *Echo) encode(m []byte, request, reply uint8, acc uint64) {
	m[0], m[1], m[2], m[3] = request, 0, 0, 0
	if e.Reply {
		m[0] = reply
	}
	binary.BigEndian.PutUint16(m[4:], e.ID)
	binary.BigEndian.PutUint16(m[6:], e.Seq)
	copy(m[icmpHeader:], e.Payload)
	binary.BigEndian.PutUint16(m[2:], ^fold(sum(m, acc)))
}
