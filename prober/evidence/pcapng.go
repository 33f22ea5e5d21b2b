package evidence

import (
	"encoding/binary"
	"io"
	"unicode/utf8"
)

// A pcapng file is a row of blocks (draft-ietf-opsawg-pcapng-03 §3.1), each of
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                          Block Type                           |
//	|                      Block Total Length                       |
//	|        Block Body: fixed fields, then options, padded         |
//	|                      Block Total Length                       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// All numbers are little endian here; a reader learns it from the section header's magic.
const (
	blockSection   = 0x0a0d0d0a // §4.1
	blockInterface = 1          // §4.2
	blockPacket    = 6          // §4.3, enhanced packet block
	byteOrderMagic = 0x1a2b3c4d
)

// Options (§3.5, §4.1 to §4.3).
const (
	optEnd         = 0
	optComment     = 1
	optHardware    = 2   // of the section
	optOS          = 3   // of the section
	optApplication = 4   // of the section
	optName        = 2   // of an interface
	optResolution  = 9   // of an interface
	optFlags       = 2   // of a packet
	flagInbound    = 1   // §4.3.1
	flagOutbound   = 2   // §4.3.1
	nanoseconds    = 9   // if_tsresol: 10^−9 s
	linkEthernet   = 1   // LINKTYPE_ETHERNET
	linkRaw        = 101 // LINKTYPE_RAW: an IPv4 or IPv6 header comes first
	maxOption      = 1<<16 - 4
)

// block builds one block after the other in one buffer.
type block struct{ b []byte }

func (b *block) begin(kind uint32) {
	b.b = binary.LittleEndian.AppendUint32(b.b[:0], kind)
	b.u32(0) // the length, once it is known
}

func (b *block) u16(v uint16) { b.b = binary.LittleEndian.AppendUint16(b.b, v) }
func (b *block) u32(v uint32) { b.b = binary.LittleEndian.AppendUint32(b.b, v) }

// octets appends data, padded to four octets.
func (b *block) octets(data []byte) {
	b.b = append(b.b, data...)
	for len(b.b)%4 != 0 {
		b.b = append(b.b, 0)
	}
}

func (b *block) option(code uint16, value []byte) {
	b.u16(code)
	b.u16(uint16(len(value)))
	b.octets(value)
}

// text is an option of UTF-8 text; an empty one is left out, one that is too long is cut.
func (b *block) text(code uint16, s string) {
	if s == "" {
		return
	}
	if len(s) > maxOption {
		s = s[:maxOption]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	b.option(code, []byte(s))
}

// end closes the options and the block and writes it.
func (b *block) end(w io.Writer) error {
	b.u16(optEnd)
	b.u16(0)
	n := uint32(len(b.b) + 4)
	b.u32(n)
	binary.LittleEndian.PutUint32(b.b[4:], n)
	_, err := w.Write(b.b)
	return err
}

// section is what a file says of itself.
type section struct{ comment, hardware, os, application string }

func (b *block) section(w io.Writer, s section) error {
	b.begin(blockSection)
	b.u32(byteOrderMagic)
	b.u16(1) // version 1.0
	b.u16(0)
	b.u32(^uint32(0)) // the section's length is not given
	b.u32(^uint32(0))
	b.text(optComment, s.comment)
	b.text(optHardware, s.hardware)
	b.text(optOS, s.os)
	b.text(optApplication, s.application)
	return b.end(w)
}

// device describes an interface; packets name them by their order in the file.
func (b *block) device(w io.Writer, name string, linkType uint16, snap int) error {
	b.begin(blockInterface)
	b.u16(linkType)
	b.u16(0)
	b.u32(uint32(snap))
	b.text(optName, name)
	b.option(optResolution, []byte{nanoseconds})
	return b.end(w)
}

// packet is one frame with its comment. at is in ns since 1970.
type packet struct {
	device   int
	at       int64
	outgoing bool
	orig     int
	data     []byte
	comment  string
}

func (b *block) packet(w io.Writer, p packet) error {
	b.begin(blockPacket)
	b.u32(uint32(p.device))
	b.u32(uint32(uint64(p.at) >> 32))
	b.u32(uint32(p.at))
	b.u32(uint32(len(p.data)))
	b.u32(uint32(max(p.orig, len(p.data))))
	b.octets(p.data)
	b.text(optComment, p.comment)
	flags := []byte{flagInbound, 0, 0, 0}
	if p.outgoing {
		flags[0] = flagOutbound
	}
	b.option(optFlags, flags)
	return b.end(w)
}
