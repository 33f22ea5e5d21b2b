package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// ICMPError is an ICMP or ICMPv6 error message about a TCP segment, which it quotes. Quoted is the segment's own direction,
// Src its sender, as the quoting host saw it: a NAT on the way may have rewritten it. It is a plain value without pointers.
type ICMPError struct {
	From, To   netip.Addr // of the message: who complains, to whom
	Type, Code uint8
	// MTU of the next hop in octets, of frag_needed (RFC 1191 §4; 0 from older routers) and packet too big (RFC 4443 §3.2).
	MTU       uint32
	Quoted    Flow
	QuotedSeq Seq
	// HasSeq is false where the quote ends after the ports. RFC 792 asks for 8 octets, ports and sequence number.
	HasSeq bool
	V6     bool
	// Checksum is ChecksumGood, or ChecksumUnknown in a cut capture: a wrong one is ReasonChecksum.
	Checksum Checksum
}

// ICMP error types: RFC 792 (4, source quench, deprecated by RFC 6633); RFC 4443 §3 for ICMPv6.
const (
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpRedirect     = 5
	icmpTimeExceeded = 11
	icmpParameter    = 12

	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
	icmp6Parameter    = 4
)

const (
	icmpHeader     = 8 // type, code, checksum, and four octets by type, in both versions
	icmpFragNeeded = 4 // code of icmpUnreachable: RFC 792, RFC 1191 §4
)

// ParseICMP decodes the IP packet in b (no link header) into e and returns ReasonNone, or says why it is no ICMP error that
// quotes a TCP segment; e is then unspecified. Of the quoted packet only what identifies it is read and nothing is asked
// of its length, checksum and TTL fields, which routers and NATs leave as they please.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Type      |     Code      |           Checksum            |
//	|    unused, or the MTU: 32 bits (ICMPv6), the low 16 (ICMP)    |
//	|          the offending packet from its IP header on           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func ParseICMP(b []byte, e *ICMPError) Reason {
	var ip packet
	if r := ip.parse(b); r != ReasonNone {
		return r
	}
	v6 := ip.src.Is6()
	if (v6 && ip.proto != protoICMPv6) || (!v6 && ip.proto != protoICMP) {
		return ReasonProtocol
	}
	if ip.fragment {
		return ReasonFragment
	}
	m := ip.payload
	if len(m) < icmpHeader {
		return ReasonShort
	}
	if !isICMPError(v6, m[0]) {
		return ReasonICMPType
	}
	*e = ICMPError{From: ip.src, To: ip.dst, Type: m[0], Code: m[1], V6: v6}
	if ip.verified() {
		if !ip.icmpGood() {
			return ReasonChecksum
		}
		e.Checksum = ChecksumGood
	}
	switch {
	case v6 && e.Type == icmp6TooBig:
		e.MTU = binary.BigEndian.Uint32(m[4:])
	case !v6 && e.Type == icmpUnreachable && e.Code == icmpFragNeeded:
		e.MTU = uint32(binary.BigEndian.Uint16(m[6:]))
	}
	return e.quote(m[icmpHeader:])
}

func isICMPError(v6 bool, typ uint8) bool {
	if v6 {
		return typ >= icmp6Unreachable && typ <= icmp6Parameter
	}
	switch typ {
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameter:
		return true
	}
	return false
}

// quote reads the quoted packet: an IP header of the message's own version, options or extension headers, then at least the
// two ports.
func (e *ICMPError) quote(b []byte) Reason {
	var q packet
	r := ReasonNotQuoted
	switch {
	case len(b) == 0:
		return ReasonShort
	case e.V6 && b[0]>>4 == 6:
		r = q.quoted6(b)
	case !e.V6 && b[0]>>4 == 4:
		r = q.quoted4(b)
	}
	if r != ReasonNone {
		return r
	}
	t := q.payload
	if q.proto != protoTCP || q.later {
		return ReasonNotQuoted
	}
	if len(t) < 4 {
		return ReasonShort
	}
	e.Quoted = Flow{
		netip.AddrPortFrom(q.src, binary.BigEndian.Uint16(t)),
		netip.AddrPortFrom(q.dst, binary.BigEndian.Uint16(t[2:])),
	}
	if len(t) >= 8 {
		e.QuotedSeq, e.HasSeq = Seq(binary.BigEndian.Uint32(t[4:])), true
	}
	return ReasonNone
}

// quoted4 reads an IPv4 header as an ICMP error quotes it: cut, and with length and checksum as the complaining host left
// them (old stacks quote the length in host byte order).
func (p *packet) quoted4(b []byte) Reason {
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
	p.src = netip.AddrFrom4([4]byte(b[12:16]))
	p.dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.proto, p.later = b[9], binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	p.payload = b[ihl:]
	return ReasonNone
}

// quoted6 reads an IPv6 header as an ICMPv6 error quotes it: cut.
func (p *packet) quoted6(b []byte) Reason {
	if len(b) < ipv6Header {
		return ReasonShort
	}
	p.src = netip.AddrFrom16([16]byte(b[8:24]))
	p.dst = netip.AddrFrom16([16]byte(b[24:40]))
	p.payload = b[ipv6Header:]
	p.length = len(p.payload)
	if r := p.extensions(b[6]); r != ReasonNone {
		return ReasonShort
	}
	return ReasonNone
}

// Name is what the message says, in one vocabulary for both families: what means the same in ICMPv6 has ICMP's name.
// A code without one is "icmp_TYPE_CODE" or "icmpv6_TYPE_CODE". Sources: RFC 792; RFC 1122 §3.2.2.1 (3: 6 … 12); RFC 1812
// §5.2.7.1 (3: 13 … 15); RFC 1108 and RFC 1122 §3.2.2.5 (12: 1, 2); RFC 4443 §3, RFC 6550 §20.13 and IANA for ICMPv6.
func (e *ICMPError) Name() string {
	names, prefix := icmpNames[:], "icmp_"
	if e.V6 {
		names, prefix = icmp6Names[:], "icmpv6_"
	}
	for _, t := range names {
		if t.typ == e.Type && int(e.Code) < len(t.codes) {
			return t.codes[e.Code]
		}
	}
	return prefix + strconv.Itoa(int(e.Type)) + "_" + strconv.Itoa(int(e.Code))
}

type icmpCodes struct {
	typ   uint8
	codes []string
}

var icmpNames = [...]icmpCodes{
	{icmpUnreachable, []string{
		"net_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable", "frag_needed", "source_route_failed",
		"net_unknown", "host_unknown", "source_isolated", "net_prohibited", "host_prohibited", "net_unreachable_for_tos",
		"host_unreachable_for_tos", "admin_prohibited", "precedence_violation", "precedence_cutoff",
	}},
	{icmpSourceQuench, []string{"source_quench"}},
	{icmpRedirect, []string{"redirect_net", "redirect_host", "redirect_net_for_tos", "redirect_host_for_tos"}},
	{icmpTimeExceeded, []string{"ttl_exceeded", "reassembly_timeout"}},
	{icmpParameter, []string{"parameter_problem", "option_missing", "bad_length"}},
}

var icmp6Names = [...]icmpCodes{
	{icmp6Unreachable, []string{
		"net_unreachable", "admin_prohibited", "beyond_scope", "host_unreachable", "port_unreachable", "source_policy",
		"reject_route", "source_route_failed",
	}},
	{icmp6TooBig, []string{"frag_needed"}},
	{icmp6TimeExceeded, []string{"ttl_exceeded", "reassembly_timeout"}},
	{icmp6Parameter, []string{"parameter_problem", "next_header_unknown", "option_unknown"}},
}
