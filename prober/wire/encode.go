package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrAddresses is returned when a segment's endpoints are not two valid addresses of one family.
var ErrAddresses = errors.New("source and destination are not of one address family")

// Size is the length of the encoded packet in octets, or 0 when the addresses are of no common family.
func (s *Segment) Size() int {
	n := tcpHeader + s.Options.padded() + len(s.Payload)
	switch {
	case s.Src.Addr().Is4() && s.Dst.Addr().Is4():
		return n + ipv4Header
	case s.Src.Addr().Is6() && s.Dst.Addr().Is6():
		return n + ipv6Header
	}
	return 0
}

// Encode writes the IP packet (no link header) into b with both checksums finished and returns its length. It allocates
// nothing. Errors: the addresses are of no common family, b is too small, or the packet would pass 65,535 octets.
func (s *Segment) Encode(b []byte) (int, error) {
	n := s.Size()
	if n == 0 {
		return 0, ErrAddresses
	}
	if n > 0xffff {
		return 0, fmt.Errorf("encode segment: %d octets do not fit an IP packet", n)
	}
	if len(b) < n {
		return 0, fmt.Errorf("encode segment: buffer of %d octets, need %d", len(b), n)
	}
	b = b[:n]
	head := ipv6Header
	if s.Src.Addr().Is4() {
		head = ipv4Header
		s.encode4(b)
	} else {
		s.encode6(b)
	}
	s.encodeTCP(b[head:])
	return n, nil
}

func (s *Segment) encode4(b []byte) {
	b[0], b[1] = 0x45, s.ToS
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], s.ID)
	b[6], b[7] = 0, 0
	if s.DF {
		b[6] = 0x40
	}
	b[8], b[9] = s.HopLimit, protoTCP
	b[10], b[11] = 0, 0
	src, dst := s.Src.Addr().As4(), s.Dst.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b[:ipv4Header], 0)))
}

func (s *Segment) encode6(b []byte) {
	binary.BigEndian.PutUint32(b, 6<<28|uint32(s.ToS)<<20|s.FlowLabel&0xfffff)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Header))
	b[6], b[7] = protoTCP, s.HopLimit
	src, dst := s.Src.Addr().As16(), s.Dst.Addr().As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}

func (s *Segment) encodeTCP(t []byte) {
	binary.BigEndian.PutUint16(t, s.Src.Port())
	binary.BigEndian.PutUint16(t[2:], s.Dst.Port())
	binary.BigEndian.PutUint32(t[4:], uint32(s.Seq))
	binary.BigEndian.PutUint32(t[8:], uint32(s.Ack))
	off := tcpHeader + s.Options.padded()
	t[12], t[13] = byte(off/4)<<4, byte(s.Flags)
	binary.BigEndian.PutUint16(t[14:], s.Window)
	t[16], t[17] = 0, 0
	binary.BigEndian.PutUint16(t[18:], s.Urgent)
	clear(t[tcpHeader:off])
	copy(t[tcpHeader:], s.Options.Bytes())
	copy(t[off:], s.Payload)
	acc := pseudoSum(s.Src.Addr(), s.Dst.Addr(), protoTCP, len(t))
	binary.BigEndian.PutUint16(t[16:], ^fold(sum(t, acc)))
}
