package wires

import (
	"encoding/binary"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Direction is which way a packet goes, seen from the host that the wire belongs to.
type Direction uint8

// In is towards that host, Out away from it.
const (
	DirectionUnknown Direction = iota
	In
	Out
)

// Back is the other direction.
func (d Direction) Back() Direction {
	if d == In {
		return Out
	}
	return In
}

func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	case DirectionUnknown:
	}
	return "unknown"
}

// ethernetHeader is its length in octets: two addresses and the type (IEEE 802.3).
const ethernetHeader = 14

// The Ethernet types of packets that may hold TCP.
const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
)

// Packet is one Ethernet frame on its way, with its TCP segment where it holds a whole one.
type Packet struct {
	Dir   Direction
	Frame []byte
	// Seg is the segment in Frame, valid where TCP.
	Seg wire.Segment
	TCP bool
	// offload is the virtio header that the frame came with: its checksum may be left to whoever delivers it.
	offload [vnetHeader]byte
}

// Read takes a frame apart. The packet aliases it.
func Read(dir Direction, frame []byte) Packet {
	p := Packet{Dir: dir, Frame: frame}
	if len(frame) <= ethernetHeader {
		return p
	}
	if t := binary.BigEndian.Uint16(frame[12:]); t == typeIPv4 || t == typeIPv6 {
		p.TCP = wire.Parse(frame[ethernetHeader:], &p.Seg) == wire.ReasonNone
	}
	return p
}

// Edited is a packet whose segment was changed by f: headers written anew, both checksums finished, nothing left to offload.
// A packet that does not encode (f gave it addresses of two families) comes back as it was.
func (p Packet) Edited(f func(*wire.Segment)) Packet {
	s := p.Seg
	f(&s)
	return p.with(s)
}

func (p Packet) with(s wire.Segment) Packet {
	frame := make([]byte, ethernetHeader+s.Size())
	copy(frame, p.Frame[:ethernetHeader])
	if _, err := s.Encode(frame[ethernetHeader:]); err != nil {
		return p
	}
	return Read(p.Dir, frame)
}

// Answer is a segment from this packet's destination back to its source, as a middlebox forges it.
func (p Packet) Answer(s wire.Segment) Packet {
	s.Src, s.Dst = p.Seg.Dst, p.Seg.Src
	if s.HopLimit == 0 {
		s.HopLimit = 64
	}
	s.DF = true
	frame := make([]byte, ethernetHeader+s.Size())
	copy(frame, p.Frame[6:12])
	copy(frame[6:], p.Frame[:6])
	copy(frame[12:], p.Frame[12:14])
	if _, err := s.Encode(frame[ethernetHeader:]); err != nil {
		return p
	}
	return Read(p.Dir.Back(), frame)
}

// Host is the source address of the packet's segment; the zero address where it has none.
func (p Packet) Host() netip.Addr { return p.Seg.Src.Addr() }
