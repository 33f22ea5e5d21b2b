package wire

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// Numbers makes initial sequence numbers that lead back: a record's index XOR a mask, which is a keyed function of its flow, as RFC 6528 §3 asks of
// such a number. What acknowledges one finds its record without a search, and a forged number leads nowhere: the record that it leads to must
// still be compared, since any number leads to some index. Every table of SYNs in flight has its own.
type Numbers struct{ Seed maphash.Seed }

// NewNumbers draws a key.
func NewNumbers() Numbers { return Numbers{maphash.MakeSeed()} }

// Mask is that of a flow as we send it.
func (n Numbers) Mask(src, dst netip.AddrPort) uint32 {
	var b [36]byte // both addresses, IPv4 mapped, and both ports
	s, d := src.Addr().As16(), dst.Addr().As16()
	copy(b[:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[32:], src.Port())
	binary.BigEndian.PutUint16(b[34:], dst.Port())
	return n.MaskOf(b[:])
}

// MaskOf is that of octets which name a flow to a table.
func (n Numbers) MaskOf(flow []byte) uint32 { return uint32(maphash.Bytes(n.Seed, flow)) }
