package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Flags are the control bits of a TCP header (RFC 9293 §3.1; CWR and ECE from RFC 3168 §6.1).
type Flags uint8

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
)

// Has reports whether all bits of f are set and none of the bits of not.
func (g Flags) Has(f Flags) bool { return g&f == f }

// String is tcpdump's order and letters: SFRPUEW and a dot for ACK; "none" where no bit is set.
func (g Flags) String() string {
	var b strings.Builder
	for _, l := range flagLetters {
		if g&l.bit != 0 {
			b.WriteByte(l.letter)
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

var flagLetters = [...]struct {
	bit    Flags
	letter byte
}{{SYN, 'S'}, {FIN, 'F'}, {RST, 'R'}, {PSH, 'P'}, {URG, 'U'}, {CWR, 'W'}, {ECE, 'E'}, {ACK, '.'}}

// Checksum says what a received TCP checksum was.
type Checksum uint8

// A transmit tap sees segments before the NIC has finished their checksum: the field then holds the folded pseudo-header sum
// only (CHECKSUM_PARTIAL, include/linux/skbuff.h, 6.18). Such a segment is not corrupt.
const (
	ChecksumUnknown Checksum = iota // not verified (a cut capture)
	ChecksumGood
	ChecksumPartial // the pseudo-header sum alone: left to the device by the sender
	ChecksumBad
)

func (c Checksum) String() string {
	switch c {
	case ChecksumGood:
		return "good"
	case ChecksumPartial:
		return "partial"
	case ChecksumBad:
		return "bad"
	case ChecksumUnknown:
	}
	return "unknown"
}

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
	// Length is the payload length that the IP header states, in octets: more than len(Payload) in a cut capture.
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

// End is the sequence number that follows the segment: SYN and FIN each count one (RFC 9293 §3.4).
func (s *Segment) End() Seq {
	e := s.Seq.Add(s.Length)
	if s.Flags&SYN != 0 {
		e++
	}
	if s.Flags&FIN != 0 {
		e++
	}
	return e
}

// Sizes of the fixed headers in octets: RFC 791 §3.1, RFC 8200 §3, RFC 9293 §3.1.
const (
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	protoTCP   = 6
)

// Reason names why bytes are not a segment for us. Readers count frames by it.
type Reason uint8

// The reasons a frame is passed over.
const (
	ReasonNone        Reason = iota
	ReasonShort              // ends before its headers do
	ReasonVersion            // IP version neither 4 nor 6
	ReasonHeaderLen          // a header length field that cannot be
	ReasonTotalLength        // the IP length is shorter than its headers
	ReasonFragment           // not the first fragment, or more to come
	ReasonProtocol           // not the protocol asked for
	ReasonOptions            // TCP options malformed
	ReasonNotQuoted          // an ICMP message that quotes no TCP header
)

func (r Reason) String() string {
	names := [...]string{"none", "short", "version", "header_length", "total_length", "fragment", "protocol", "options", "not_quoted"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Error makes a Reason usable as an error value.
func (r Reason) Error() string { return "not a TCP segment: " + r.String() }

// Parse decodes the IP packet in b (no link header) into s and returns ReasonNone, or says why it is no whole TCP segment; s
// is then unspecified. Octets after the IP length (Ethernet padding) are ignored.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Source Port          |       Destination Port        |
//	|                        Sequence Number                        |
//	|                    Acknowledgment Number                      |
//	| Offset|  Rsrvd|C E U A P R S F|            Window             |
//	|           Checksum            |         Urgent Pointer        |
//	|                           [Options]                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func Parse(b []byte, s *Segment) Reason {
	var ip packet
	if r := ip.parse(b); r != ReasonNone {
		return r
	}
	if ip.proto != protoTCP {
		return ReasonProtocol
	}
	if ip.fragment {
		return ReasonFragment
	}
	t := ip.payload
	if len(t) < tcpHeader {
		return ReasonShort
	}
	off := int(t[12]>>4) * 4
	if off < tcpHeader || off > ip.length {
		return ReasonHeaderLen
	}
	if off > len(t) {
		return ReasonShort
	}
	s.Src = netip.AddrPortFrom(ip.src, binary.BigEndian.Uint16(t))
	s.Dst = netip.AddrPortFrom(ip.dst, binary.BigEndian.Uint16(t[2:]))
	s.Seq = Seq(binary.BigEndian.Uint32(t[4:]))
	s.Ack = Seq(binary.BigEndian.Uint32(t[8:]))
	s.Flags = Flags(t[13])
	s.Window = binary.BigEndian.Uint16(t[14:])
	s.Urgent = binary.BigEndian.Uint16(t[18:])
	s.HopLimit, s.ToS, s.DF, s.ID, s.FlowLabel = ip.hop, ip.tos, ip.df, ip.id, ip.label
	if err := s.Options.parse(t[tcpHeader:off]); err != nil {
		return ReasonOptions
	}
	s.Payload = t[off:]
	s.Length = ip.length - off
	s.Checksum = ip.verify(binary.BigEndian.Uint16(t[16:]))
	return ReasonNone
}

// packet is the decoded IP header and what it carries.
type packet struct {
	src, dst netip.Addr
	proto    uint8
	hop, tos uint8
	df       bool
	fragment bool
	id       uint16
	label    uint32
	length   int    // of the payload, as the header states
	payload  []byte // what of it was captured
	size     int    // header octets
}

func (p *packet) parse(b []byte) Reason {
	if len(b) == 0 {
		return ReasonShort
	}
	switch b[0] >> 4 {
	case 4:
		return p.parse4(b)
	case 6:
		return p.parse6(b)
	}
	return ReasonVersion
}

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
	frag := binary.BigEndian.Uint16(b[6:])
	p.src = netip.AddrFrom4([4]byte(b[12:16]))
	p.dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.proto, p.hop, p.tos, p.id = b[9], b[8], b[1], binary.BigEndian.Uint16(b[4:])
	p.df, p.fragment = frag&0x4000 != 0, frag&0x3fff != 0
	p.length, p.payload, p.size = total-ihl, b[ihl:min(total, len(b))], ihl
	return ReasonNone
}

// IPv6 extension headers that may stand before TCP (RFC 8200 §4): each 8·(n+1) octets with its length in the second.
const (
	extHopByHop = 0
	extRouting  = 43
	extFragment = 44
	extDest     = 60
)

func (p *packet) parse6(b []byte) Reason {
	if len(b) < ipv6Header {
		return ReasonShort
	}
	head := binary.BigEndian.Uint32(b)
	p.tos, p.label = uint8(head>>20), head&0xfffff
	p.src = netip.AddrFrom16([16]byte(b[8:24]))
	p.dst = netip.AddrFrom16([16]byte(b[24:40]))
	p.hop, p.df, p.id, p.fragment = b[7], true, 0, false
	p.length = int(binary.BigEndian.Uint16(b[4:]))
	next, rest := b[6], b[ipv6Header:min(ipv6Header+p.length, len(b))]
	for next == extHopByHop || next == extRouting || next == extDest || next == extFragment {
		if len(rest) < 8 {
			return ReasonShort
		}
		n := 8 * (int(rest[1]) + 1)
		if next == extFragment {
			n = 8
			// an atomic fragment (offset 0, no more) is a whole packet: RFC 6946 §2
			p.fragment = p.fragment || binary.BigEndian.Uint16(rest[2:])&0xfff9 != 0
		}
		if n > p.length {
			return ReasonTotalLength
		}
		if n > len(rest) {
			return ReasonShort
		}
		next, rest, p.length = rest[0], rest[n:], p.length-n
	}
	p.proto, p.payload, p.size = next, rest, 0
	return ReasonNone
}

// verify judges the TCP checksum stored in the payload.
func (p *packet) verify(stored uint16) Checksum {
	if len(p.payload) < p.length {
		return ChecksumUnknown
	}
	pseudo := pseudoSum(p.src, p.dst, protoTCP, p.length)
	switch {
	case ^fold(sum(p.payload, pseudo)) == 0:
		return ChecksumGood
	case stored == fold(pseudo):
		return ChecksumPartial
	}
	return ChecksumBad
}

// sum adds b to the 32-bit one's-complement accumulator acc (RFC 1071 §1). Packets are < 64 KiB, so acc cannot overflow.
func sum(b []byte, acc uint32) uint32 {
	for len(b) >= 2 {
		acc += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

func fold(acc uint32) uint16 {
	for acc>>16 != 0 {
		acc = acc&0xffff + acc>>16
	}
	return uint16(acc)
}

// pseudoSum is the pseudo-header of RFC 9293 §3.1 (IPv4) and RFC 8200 §8.1 (IPv6).
func pseudoSum(src, dst netip.Addr, proto uint8, length int) uint32 {
	acc := uint32(proto) + uint32(length)&0xffff + uint32(length)>>16
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		return sum(b[:], sum(a[:], acc))
	}
	a, b := src.As16(), dst.As16()
	return sum(b[:], sum(a[:], acc))
}
