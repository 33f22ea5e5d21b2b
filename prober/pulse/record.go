package pulse

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// record is one SYN in flight, flat and without a pointer. Its flow is not in it: the initial sequence number is the record's own index
// masked by a keyed function of the flow (RFC 6528 §3 asks for such a number), so that a segment which leads here and acknowledges exactly
// that number is of the same flow but for a collision of 32 keyed bits.
type record struct {
	sent     int64 // the tap's time of the first SYN, ns; 0: not seen leaving
	answered int64 // the tap's time of the first answer, ns; 0: none
	iss      wire.Seq
	burst    int32 // in Table.bursts; −1: of none any more
	sport    uint16
	shot     uint16
	ifindex  uint16 // low bits of where the answer was seen
	syns     uint8  // handed to the kernel
	state    state
}

// RecordOctets is the memory of one SYN in flight: a test holds it against the compiler's word.
const RecordOctets = 32

type state uint8

// The states of a record. accepted: a SYN-ACK came. over: something came that ends the attempt otherwise, or it could not be sent.
const (
	unused state = iota
	waiting
	accepted
	over
)

// mask is the keyed function of a flow as we send it.
func mask(seed maphash.Seed, src, dst netip.AddrPort) uint32 {
	var b [36]byte
	s, d := src.Addr().As16(), dst.Addr().As16()
	copy(b[:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[32:], src.Port())
	binary.BigEndian.PutUint16(b[34:], dst.Port())
	return uint32(maphash.Bytes(seed, b[:]))
}
