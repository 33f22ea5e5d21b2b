package wire

import (
	"encoding/binary"
	"fmt"
)

// MAC is a 48-bit Ethernet address.
type MAC [6]byte

// String is the usual form, "02:00:00:00:0a:01".
func (m MAC) String() string {
	const hex = "0123456789abcdef"
	var b [17]byte
	for i, o := range m {
		b[3*i], b[3*i+1] = hex[o>>4], hex[o&15]
		if i < 5 {
			b[3*i+2] = ':'
		}
	}
	return string(b[:])
}

// ParseMAC reads six pairs of hexadecimal digits of either case, separated by colons or by hyphens throughout.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return m, fmt.Errorf("MAC address %q: want six octets, as in 02:00:00:00:0a:01", s)
	}
	for i := range m {
		hi, lo := unhex(s[3*i]), unhex(s[3*i+1])
		if hi < 0 || lo < 0 {
			return MAC{}, fmt.Errorf("MAC address %q: octet %d: want two hexadecimal digits", s, i+1)
		}
		if i < 5 && s[3*i+2] != s[2] || s[2] != ':' && s[2] != '-' {
			return MAC{}, fmt.Errorf("MAC address %q: octet %d: want a colon after it", s, i+1)
		}
		m[i] = byte(hi<<4 | lo)
	}
	return m, nil
}

// unhex is the value of a hexadecimal digit, or −1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// IsBroadcast reports whether m is ff:ff:ff:ff:ff:ff.
func (m MAC) IsBroadcast() bool { return m == MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// IsMulticast reports whether m is a group address, broadcast included (IEEE 802: the least significant bit of octet 1).
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// EtherType is the protocol of a frame's payload (IEEE 802.3 §3.2.6: 0x0600 and up).
type EtherType uint16

// The EtherTypes that the prober reads, and the tag types before them.
const (
	EtherIPv4 EtherType = 0x0800
	EtherARP  EtherType = 0x0806
	EtherIPv6 EtherType = 0x86dd
	TagC      EtherType = 0x8100 // IEEE 802.1Q customer tag
	TagS      EtherType = 0x88a8 // IEEE 802.1ad service tag
	TagOld    EtherType = 0x9100 // QinQ before 802.1ad

	minEtherType EtherType = 0x0600
)

func (t EtherType) isTag() bool { return t == TagC || t == TagS || t == TagOld }

// Tag is one VLAN tag (IEEE 802.1Q §9.6).
type Tag struct {
	Type EtherType // TagC, TagS or TagOld
	TCI  uint16    // priority 3 bits, drop eligible 1, VLAN 12
}

// VLAN is the VLAN identifier, 0 … 4,095; 0 is a priority tag only.
func (t Tag) VLAN() uint16 { return t.TCI & 0xfff }

// Priority is the priority code point, 0 … 7.
func (t Tag) Priority() uint8 { return uint8(t.TCI >> 13) }

// maxTags is how many tags QinQ has.
const maxTags = 2

// Ethernet is an Ethernet II header with up to two VLAN tags, the outer first. It is a comparable value.
type Ethernet struct {
	Dst, Src MAC
	Tags     [maxTags]Tag
	Tagged   uint8 // how many of Tags are there
	Type     EtherType
}

// Sizes in octets: IEEE 802.3 §3.1.1, IEEE 802.1Q §9.3.
const (
	etherHeader = 14
	tagSize     = 4
)

// ParseEthernet decodes the header of frame b and returns it with the octets after it, padding included, which alias b; or
// it says why it cannot. Linux hands a packet socket the outer tag aside (PACKET_AUXDATA) and the frame without it.
//
//	| destination 6 | source 6 | (tag type 2 | TCI 2) × 0…2 | type 2 | payload …
func ParseEthernet(b []byte) (Ethernet, []byte, Reason) {
	var e Ethernet
	if len(b) < etherHeader {
		return e, nil, ReasonShort
	}
	e.Dst, e.Src = MAC(b[:6]), MAC(b[6:12])
	b = b[12:]
	for {
		if len(b) < 2 {
			return e, nil, ReasonShort
		}
		e.Type = EtherType(binary.BigEndian.Uint16(b))
		switch {
		case e.Type < minEtherType:
			return e, nil, ReasonEtherType
		case !e.Type.isTag():
			return e, b[2:], ReasonNone
		case int(e.Tagged) == maxTags:
			return e, nil, ReasonVLAN
		case len(b) < tagSize:
			return e, nil, ReasonShort
		}
		e.Tags[e.Tagged] = Tag{e.Type, binary.BigEndian.Uint16(b[2:])}
		e.Tagged++
		b = b[tagSize:]
	}
}

// Size is the length of the header in octets: 14, 18 or 22.
func (e *Ethernet) Size() int { return etherHeader + tagSize*min(int(e.Tagged), maxTags) }

// PutEthernet writes the header into b and returns its length, or 0 when b is too short. The caller appends the payload and,
// where the device does not, pads the frame to 60 octets.
func PutEthernet(b []byte, e *Ethernet) int {
	n := e.Size()
	if len(b) < n {
		return 0
	}
	copy(b, e.Dst[:])
	copy(b[6:], e.Src[:])
	at := 12
	for _, t := range e.Tags[:min(int(e.Tagged), maxTags)] {
		binary.BigEndian.PutUint16(b[at:], uint16(t.Type))
		binary.BigEndian.PutUint16(b[at+2:], t.TCI)
		at += tagSize
	}
	binary.BigEndian.PutUint16(b[at:], uint16(e.Type))
	return n
}
