package pulse

import "slices"

// Tape is what was gathered of one burst that is not well: its frames in the tap's order.
type Tape struct {
	Frames []Frame
	// Missing is how many frames of the burst are not in it: overwritten in the history before the burst was found ill, or beyond the bound.
	Missing int
	text    []byte
	octets  int // of all memory asked for
}

// The bound of one tape, and the pieces in which its memory grows.
const (
	tapeFrames = 1 << 14
	tapeText   = 2 << 10
	// frameOctets is about what a Frame takes beside its text.
	frameOctets = 80
)

// keep copies a frame to the tape.
func (t *Tape) keep(f *Frame) {
	if len(t.Frames) >= tapeFrames {
		t.Missing++
		return
	}
	link, octets := f.Link[:min(len(f.Link), maxLink)], f.Net[:min(len(f.Net), snapLen)]
	if n := len(link) + len(octets); cap(t.text)-len(t.text) < n {
		t.text = make([]byte, 0, max(tapeText, n)) // the piece before stays with the frames that it holds
		t.octets += cap(t.text)
	}
	from := len(t.text)
	t.text = append(append(t.text, link...), octets...)
	x := *f
	x.Link = t.text[from:][:len(link):len(link)]
	x.Net = t.text[from+len(link):][:len(octets):len(octets)]
	was := cap(t.Frames)
	t.Frames = append(t.Frames, x)
	t.octets += frameOctets * (cap(t.Frames) - was)
}

// gather takes a burst's frames out of the history: total is how many it had.
func (h *history) gather(last uint64, total int) *Tape {
	t := &Tape{Frames: make([]Frame, 0, total)}
	var chain []Frame
	var f Frame
	for at := last; at != 0; {
		prev, ok := h.get(at, &f)
		if !ok {
			break
		}
		chain = append(chain, f)
		at = prev
	}
	slices.Reverse(chain)
	for i := range chain {
		t.keep(&chain[i])
	}
	t.Missing += total - len(chain)
	return t
}
