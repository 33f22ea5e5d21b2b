package pulse

import "encoding/binary"

// Frame is one frame as the tap saw it, cut behind its headers. Its slices are the caller's while it is handed in, and the history's own or
// the tape's when it is handed out.
type Frame struct {
	At       int64 // kernel's wall clock, ns since 1970
	IfIndex  int32
	Orig     int32 // octets from the network header on, before it was cut
	Shot     uint16
	Outgoing bool
	Unsummed bool // the TCP checksum is left to the device
	VLAN     uint16
	Link     []byte
	Net      []byte
}

// history is a circle of octets that holds the newest frames of the light path, each with the place of the frame before it of the same
// burst: so that the frames of a burst which turns out ill can be had without a search, as long as they were not overwritten.
//
//	0 prev u64 │ 8 at u64 │ 16 ifindex u32 │ 20 orig u32 │ 24 shot u16 │ 26 vlan u16 │ 28 flags u8 │ 29 link u8 │ 30 net u16 │ 32 octets…
type history struct {
	mem  []byte
	head uint64 // octets ever written; a place is the head at which a frame begins
}

const (
	entryHeader  = 32
	flagOutgoing = 1 << 0
	flagUnsummed = 1 << 1
	// snapLen is the most that is kept of one frame behind its link header: all headers of a segment, or of an ICMP error and what it quotes.
	snapLen = 240
	maxLink = 32
)

// add writes a frame and returns its place, never 0; prev is the place of the burst's frame before it, 0: it is the first.
func (h *history) add(f *Frame, prev uint64) uint64 {
	link, octets := f.Link[:min(len(f.Link), maxLink)], f.Net[:min(len(f.Net), snapLen)]
	n := entryHeader + len(link) + len(octets)
	if n > len(h.mem) {
		return 0
	}
	if room := len(h.mem) - int(h.head%uint64(len(h.mem))); room < n {
		h.head += uint64(room) // a frame lies in one piece
	}
	if h.head == 0 {
		h.head = uint64(len(h.mem))
	}
	at := h.head
	b := h.mem[at%uint64(len(h.mem)):][:n]
	binary.NativeEndian.PutUint64(b, prev)
	binary.NativeEndian.PutUint64(b[8:], uint64(f.At))
	binary.NativeEndian.PutUint32(b[16:], uint32(f.IfIndex))
	binary.NativeEndian.PutUint32(b[20:], uint32(f.Orig))
	binary.NativeEndian.PutUint16(b[24:], f.Shot)
	binary.NativeEndian.PutUint16(b[26:], f.VLAN)
	b[28] = flags(f)
	b[29] = byte(len(link))
	binary.NativeEndian.PutUint16(b[30:], uint16(len(octets)))
	copy(b[entryHeader:], link)
	copy(b[entryHeader+len(link):], octets)
	h.head += uint64(n)
	return at
}

func flags(f *Frame) (b byte) {
	if f.Outgoing {
		b |= flagOutgoing
	}
	if f.Unsummed {
		b |= flagUnsummed
	}
	return b
}

// get reads the frame at a place into f and returns the place before it; false where it was overwritten.
func (h *history) get(at uint64, f *Frame) (prev uint64, ok bool) {
	if at == 0 || at+uint64(len(h.mem)) < h.head+entryHeader+maxLink+snapLen {
		return 0, false
	}
	b := h.mem[at%uint64(len(h.mem)):]
	link, octets := int(b[29]), int(binary.NativeEndian.Uint16(b[30:]))
	*f = Frame{At: int64(binary.NativeEndian.Uint64(b[8:])), IfIndex: int32(binary.NativeEndian.Uint32(b[16:])),
		Orig: int32(binary.NativeEndian.Uint32(b[20:])), Shot: binary.NativeEndian.Uint16(b[24:]), VLAN: binary.NativeEndian.Uint16(b[26:]),
		Outgoing: b[28]&flagOutgoing != 0, Unsummed: b[28]&flagUnsummed != 0,
		Link: b[entryHeader:][:link:link], Net: b[entryHeader+link:][:octets:octets]}
	return binary.NativeEndian.Uint64(b), true
}
