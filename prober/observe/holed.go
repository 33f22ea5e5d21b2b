package observe

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Holed is the data phase of a raw attempt whose data had a hole in front: see plan.Holed.
type Holed struct {
	Attempt int // its index
	// Gap is how far apart its segments were to leave.
	Gap time.Duration
	// Segments are those of the flow on our tap, in its order. Over is how many more there were than are kept.
	Segments []retrans.Segment
	Over     int
	// Read is what they say: see Judge.
	Read retrans.Holed
}

// Judge reads the segments into Read.
func (h *Holed) Judge() { h.Read = retrans.ReadHoled(h.Segments, h.Gap) }

// Add takes a segment of the flow.
func (h *Holed) Add(at time.Time, outgoing bool, seg *wire.Segment) {
	h.Segments = append(h.Segments, retrans.Of(at, outgoing, seg))
}
