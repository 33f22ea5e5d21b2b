package prober

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// recorder keeps the frames of one run. A nil recorder keeps nothing. The reader of the tap writes to it under the engine's lock: it only
// copies headers, into memory that it asks for in pieces, so that no frame waits for another's to be moved.
type recorder struct {
	payload int
	pages   [][]observe.Frame
	text    []byte // the piece that is being filled
	size    int    // of all pieces
	frames  int
	over    int
}

// The bounds of one burst's recording, and the pieces in which it grows.
const (
	recordFrames = 1 << 15
	recordBytes  = 8 << 20
	pageFrames   = 256
	pageBytes    = 64 << 10
	// headersSnap is more than the headers of any frame that is kept: Ethernet with one tag, IPv6, ICMPv6, the quoted IPv6 and TCP headers in
	// full are 18 + 40 + 8 + 40 + 60 octets; IPv4 with all its options 18 + 60 + 8 + 60 + 60.
	headersSnap = 256
	// maxPayload is how much payload of one segment may be asked for.
	maxPayload = 4096
	arpOctets  = 28 // RFC 826 over Ethernet and IPv4; what follows is padding
)

func newRecorder(o Recording) *recorder {
	if !o.On {
		return nil
	}
	return &recorder{payload: min(max(o.Payload, 0), maxPayload)}
}

// keep copies a frame of the run's: attempt −1 is a neighbour frame.
func (r *recorder) keep(f *rawsock.Frame, attempt int) {
	if r == nil {
		return
	}
	n := r.kept(f)
	if r.frames >= recordFrames || r.size+n+len(f.Link)+4 > recordBytes {
		r.over++
		return
	}
	x := r.next()
	x.At, x.Outgoing, x.IfIndex, x.Attempt = time.Unix(0, f.At), f.Outgoing, f.IfIndex, attempt
	x.Orig, x.Bare = f.Len, len(f.Link) != 14
	r.room(n + len(f.Link) + 4)
	from := len(r.text)
	if !x.Bare {
		x.Orig += len(f.Link)
		r.text = append(r.text, f.Link[:12]...)
		if f.VLAN != 0 { // put back where the kernel took it from
			x.Orig += 4
			r.text = binary.BigEndian.AppendUint16(r.text, uint16(wire.TagC))
			r.text = binary.BigEndian.AppendUint16(r.text, f.VLAN)
		}
		r.text = append(r.text, f.Link[12:]...)
	}
	r.text = append(r.text, f.Net[:n]...)
	x.Data = r.text[from:len(r.text):len(r.text)]
	r.size += len(x.Data)
}

// kept is how much of a frame is kept behind its link header.
func (r *recorder) kept(f *rawsock.Frame) int {
	if f.EtherType == etherARP {
		return min(arpOctets, len(f.Net))
	}
	return min(wire.HeadersLen(f.Net)+r.payload, len(f.Net), r.snap()-18)
}

// snap is the most octets kept of a frame.
func (r *recorder) snap() int { return headersSnap + r.payload }

// next is the place of one frame more.
func (r *recorder) next() *observe.Frame {
	last := len(r.pages) - 1
	if last < 0 || len(r.pages[last]) == pageFrames {
		r.pages = append(r.pages, make([]observe.Frame, 0, pageFrames))
		last++
	}
	r.pages[last] = append(r.pages[last], observe.Frame{})
	r.frames++
	return &r.pages[last][len(r.pages[last])-1]
}

// room makes sure that n octets fit into the piece at hand.
func (r *recorder) room(n int) {
	if cap(r.text)-len(r.text) < n {
		r.text = make([]byte, 0, max(pageBytes, n))
	}
}

// recording is what was kept, once nothing writes to it any more; nil where nothing was to be.
func (r *recorder) recording() *observe.Recording {
	if r == nil {
		return nil
	}
	out := &observe.Recording{Snap: r.snap(), Over: r.over, Frames: make([]observe.Frame, 0, r.frames)}
	known := map[int]bool{}
	for _, page := range r.pages {
		out.Frames = append(out.Frames, page...)
		for i := range page {
			n := page[i].IfIndex
			if known[n] {
				continue
			}
			known[n] = true
			if ifi, err := net.InterfaceByIndex(n); err == nil {
				out.Devices = append(out.Devices, observe.Device{IfIndex: n, Name: ifi.Name})
			}
		}
	}
	return out
}
