package wire

import (
	"encoding/binary"
	"net/netip"
)

// Flags are the control bits of a TCP header (RFC 9293 §3.1; CWR and ECE from RFC 3168 §6.1; AE from RFC 9768 §3, in the
// octet of the data offset). The three reserved bits above AE are not kept: receivers ignore them.
type Flags uint16

// The control bits, from the least significant.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
	allFlags Flags = 1<<iota - 1
)

// Has reports whether all bits of f are set.
func (g Flags) Has(f Flags) bool { return g&f == f }

// String is tcpdump's letters in its order: F S R P, a dot for ACK, U E W, e for AE; "none" where no bit is set.
func (g Flags) String() string {
	return string(g.append(nil))
}

var flagLetters = [...]struct {
	bit    Flags
	letter byte
}{{FIN, 'F'}, {SYN, 'S'}, {RST, 'R'}, {PSH, 'P'}, {ACK, '.'}, {URG, 'U'}, {ECE, 'E'}, {CWR, 'W'}, {AE, 'e'}}

// Segment is one TCP segment with the parts of its IP header that the prober sets or judges. It is a plain value: Parse
// fills one that the caller owns and allocates nothing; only Payload aliases the parsed bytes.
type Segment struct {
	Src, Dst  netip.AddrPort
	Seq, Ack  Seq
	Window    uint16 // as on the wire, unscaled
	Urgent    uint16
	Flags     Flags
	HopLimit  uint8  // IPv4 TTL or IPv6 hop limit
	ToS       uint8  // IPv4 ToS or IPv6 traffic class
	DF        bool   // IPv4 don't-fragment; always true for IPv6
	ID        uint16 // IPv4 identification
	FlowLabel uint32 // IPv6, 20 bits
	Options   Options
	Payload   []byte
	// Length is the payload length that the IP header states, in octets: more than len(Payload) in a cut capture. Encode takes
	// Payload alone.
	Length   int
	Checksum Checksum
}

// Flow is the direction-bound pair of endpoints of a segment.
type Flow struct{ Src, Dst netip.AddrPort }

// Flow returns the segment's own direction.
func (s *Segment) Flow() Flow { return Flow{s.Src, s.Dst} }

// Reverse returns the flow seen from the other side.
func (f Flow) Reverse() Flow { return Flow{f.Dst, f.Src} }

func (f Flow) String() string { return f.Src.String() + " > " + f.Dst.String() }

// length is the payload's, also in a segment that was built and not parsed, where Length may be left 0.
func (s *Segment) length() int { return max(s.Length, len(s.Payload)) }

// End is the sequence number that follows the segment: SYN and FIN each count one (RFC 9293 §3.4).
func (s *Segment) End() Seq {
	e := s.Seq.Add(s.length())
	if s.Flags&SYN != 0 {
		e++
	}
	if s.Flags&FIN != 0 {
		e++
	}
	return e
}

// Parse decodes the IP packet in b (no link header) into s and returns ReasonNone, or says why it is no whole TCP segment; s
// is then unspecified. The one exception is ReasonOptions, where s is whole and Options holds the list as it stands, to be
// read up to the fault: Linux takes such a segment (net/ipv4/tcp_input.c tcp_parse_options, 6.18), so it may be an answer.
// Octets after the IP length (Ethernet padding) are ignored.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Source Port          |       Destination Port        |
//	|                        Sequence Number                        |
//	|                    Acknowledgment Number                      |
//	| Offset|Rsrv|A|C E U A P R S F|            Window              |
//	|           Checksum            |         Urgent Pointer        |
//	|                           [Options]                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func Parse(b []byte, s *Segment) Reason {
	list, r := parseHeader(b, s)
	if r != ReasonNone {
		return r
	}
	if _, why := s.Options.set(list); why != "" {
		return ReasonOptions
	}
	return ReasonNone
}

// ParseHeader is Parse for who wants no options: s has none, whatever the segment has, and ReasonOptions is never returned.
func ParseHeader(b []byte, s *Segment) Reason {
	s.Options.n = 0
	_, r := parseHeader(b, s)
	return r
}

// parseHeader fills all of s but its options, of which it returns the octets.
func parseHeader(b []byte, s *Segment) (options []byte, r Reason) {
	var ip packet
	if r := ip.parse(b); r != ReasonNone {
		return nil, r
	}
	if ip.proto != protoTCP {
		return nil, ReasonProtocol
	}
	if ip.fragment {
		return nil, ReasonFragment
	}
	t := ip.payload
	if ip.length < tcpHeader {
		return nil, ReasonTotalLength
	}
	if len(t) < tcpHeader {
		return nil, ReasonShort
	}
	off := int(t[12]>>4) * 4
	if off < tcpHeader || off > ip.length {
		return nil, ReasonHeaderLen
	}
	if off > len(t) {
		return nil, ReasonShort
	}
	s.Src = netip.AddrPortFrom(ip.src, binary.BigEndian.Uint16(t))
	s.Dst = netip.AddrPortFrom(ip.dst, binary.BigEndian.Uint16(t[2:]))
	s.Seq = Seq(binary.BigEndian.Uint32(t[4:]))
	s.Ack = Seq(binary.BigEndian.Uint32(t[8:]))
	s.Flags = Flags(binary.BigEndian.Uint16(t[12:])) & allFlags
	s.Window = binary.BigEndian.Uint16(t[14:])
	s.Urgent = binary.BigEndian.Uint16(t[18:])
	s.HopLimit, s.ToS, s.DF, s.ID, s.FlowLabel = ip.hop, ip.tos, ip.df, ip.id, ip.label
	s.Payload = t[off:]
	s.Length = ip.length - off
	s.Checksum = ip.tcpChecksum(binary.BigEndian.Uint16(t[16:]))
	return t[tcpHeader:off], ReasonNone
}

// tcpChecksum judges the TCP checksum stored in the payload.
func (p *packet) tcpChecksum(stored uint16) Checksum {
	if !p.verified() {
		return ChecksumUnknown
	}
	pseudo := pseudoSum(p.src, p.dst, protoTCP, p.length)
	switch {
	case fold(sum(p.payload, pseudo)) == 0xffff:
		return ChecksumGood
	case stored == fold(pseudo):
		return ChecksumPartial
	}
	return ChecksumBad
}
