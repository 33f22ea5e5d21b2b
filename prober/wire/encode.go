package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrAddresses is returned when a packet's endpoints are not two valid addresses of one family.
var ErrAddresses = errors.New("source and destination are not of one address family")

// maxPacket is the longest packet that Encode writes: IPv4's own limit (RFC 791 §3.1), kept for both families.
const maxPacket = 0xffff

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
	if n > maxPacket {
		return 0, fmt.Errorf("encode segment: %d octets do not fit an IP packet", n)
	}
	if len(b) < n {
		return 0, fmt.Errorf("encode segment: buffer of %d octets, need %d", len(b), n)
	}
	b = b[:n]
	src, dst := s.Src.Addr(), s.Dst.Addr()
	if src.Is4() {
		put4(b, src, dst, protoTCP, s.ToS, s.HopLimit, s.ID, s.DF)
		s.encodeTCP(b[ipv4Header:])
	} else {
		put6(b, src, dst, protoTCP, s.ToS, s.HopLimit, s.FlowLabel)
		s.encodeTCP(b[ipv6Header:])
	}
	return n, nil
}

func (s *Segment) encodeTCP(t []byte) {
	binary.BigEndian.PutUint16(t, s.Src.Port())
	binary.BigEndian.PutUint16(t[2:], s.Dst.Port())
	binary.BigEndian.PutUint32(t[4:], uint32(s.Seq))
	binary.BigEndian.PutUint32(t[8:], uint32(s.Ack))
	off := tcpHeader + s.Options.padded()
	binary.BigEndian.PutUint16(t[12:], uint16(off/4)<<12|uint16(s.Flags&allFlags))
	binary.BigEndian.PutUint16(t[14:], s.Window)
	t[16], t[17] = 0, 0
	binary.BigEndian.PutUint16(t[18:], s.Urgent)
	clear(t[tcpHeader:off])
	copy(t[tcpHeader:], s.Options.Bytes())
	copy(t[off:], s.Payload)
	acc := pseudoSum(s.Src.Addr(), s.Dst.Addr(), protoTCP, len(t))
	binary.BigEndian.PutUint16(t[16:], ^fold(sum(t, acc)))
}
