package pulse

import "github.com/vipprobe/vipprobe/prober/wire"

// record is one SYN in flight, flat and without a pointer. Its flow is not in it: the initial sequence number is masked by the flow (see
// wire.Numbers), so that a segment which leads here and acknowledges exactly that number is of the same flow but for a collision of 32 keyed
// bits.
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
