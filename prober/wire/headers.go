package wire

import "encoding/binary"

// HeadersLen is how many of the octets of an IP packet (no link header) are headers, as far as they lie in b: all but the payload of a TCP
// segment; in an ICMP error the same of the packet that it quotes; a neighbour discovery message whole (RFC 4861 §4: it has no payload).
// What follows the IP header of any other packet is payload. A packet that cannot be read is all payload: 0.
func HeadersLen(b []byte) int {
	var ip packet
	if ip.parse(b) != ReasonNone {
		return 0
	}
	head, rest := offset(b, ip.payload), ip.payload
	v6 := ip.src.Is6()
	switch {
	case ip.later:
		return head
	case ip.proto == protoTCP:
		return head + tcpHeadersLen(rest)
	case len(rest) < icmpHeader, v6 != (ip.proto == protoICMPv6), !v6 && ip.proto != protoICMP:
		return head
	case isICMPError(v6, rest[0]):
		return head + icmpHeader + quotedLen(rest[icmpHeader:], v6)
	case v6 && (rest[0] == icmp6Solicit || rest[0] == icmp6Advertise):
		return head + len(rest)
	}
	return head + icmpHeader
}

// offset is where the slice inner, cut from b behind its start, begins in it.
func offset(b, inner []byte) int { return cap(b) - cap(inner) }

// tcpHeadersLen is the length of the TCP header at the start of t, as far as it lies in t.
func tcpHeadersLen(t []byte) int {
	if len(t) < tcpHeader {
		return len(t)
	}
	return min(max(int(binary.BigEndian.Uint16(t[12:])>>12)*4, tcpHeader), len(t))
}

// quotedLen is HeadersLen of a packet as an ICMP error quotes it.
func quotedLen(b []byte, v6 bool) int {
	var q packet
	r := ReasonNotQuoted
	switch {
	case len(b) == 0:
		return 0
	case v6 && b[0]>>4 == 6:
		r = q.quoted6(b)
	case !v6 && b[0]>>4 == 4:
		r = q.quoted4(b)
	}
	if r != ReasonNone {
		return 0
	}
	head := offset(b, q.payload)
	if q.proto != protoTCP || q.later {
		return head
	}
	return head + tcpHeadersLen(q.payload)
}
