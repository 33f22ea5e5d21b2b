package wire

import (
	"encoding/binary"
	"net/netip"
)

// Checksum says what a received TCP checksum was.
type Checksum uint8

// A transmit tap sees segments before the NIC has finished their checksum: the field then holds the folded pseudo-header sum
// only (CHECKSUM_PARTIAL, include/linux/skbuff.h, 6.18). Such a segment is not corrupt.
//
// About one partial segment in 65,535 happens to hold its finished checksum already (the pseudo-header sum taken twice and
// the segment's own octets sum to −0): nothing tells the two apart, and it reads Good. A corrupt segment reads Good or
// Partial with a chance of 2⁻¹⁶ each.
const (
	ChecksumUnknown Checksum = iota // not verified (a cut capture, or a source route: the final destination is not known)
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

// sum adds the big-endian 16-bit words of b to a one's-complement accumulator (RFC 1071 §1), an odd last octet as the high
// half of a word. 64 bits hold the carries of 2³² words, so acc cannot overflow; words of 32 bits give the same sum once
// folded (RFC 1071 §2.C).
func sum(b []byte, acc uint64) uint64 {
	for len(b) >= 8 {
		acc += uint64(binary.BigEndian.Uint32(b)) + uint64(binary.BigEndian.Uint32(b[4:8]))
		b = b[8:]
	}
	for len(b) >= 2 {
		acc += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint64(b[0]) << 8
	}
	return acc
}

// fold brings the carries home. It gives 0 for 0 only, and 0xffff for every other multiple of 0xffff.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	for acc>>16 != 0 {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// pseudoSum is the pseudo-header of RFC 9293 §3.1 (IPv4) and RFC 8200 §8.1 (IPv6).
func pseudoSum(src, dst netip.Addr, proto uint8, length int) uint64 {
	return addressSum(src, dst) + uint64(proto) + uint64(length)
}

func addressSum(src, dst netip.Addr) uint64 {
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		return uint64(binary.BigEndian.Uint32(a[:])) + uint64(binary.BigEndian.Uint32(b[:]))
	}
	a, b := src.As16(), dst.As16()
	return sum(b[:], sum(a[:], 0))
}
