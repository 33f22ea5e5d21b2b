package retrans

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Holed is what came of data that was sent with a hole in front of it (see plan.Holed): each segment that arrives is SACKed at once, so that what
// was lost on the way there and what was lost on the way back can be told apart.
type Holed struct {
	// Sent segments left behind the hole. Arrived of them were reported; Lost were not, although later ones were. What left after the last that
	// was reported is in neither: its acknowledgment may be lost as well.
	Sent, Arrived, Lost int
	// Asked are those that arrived and stood alone, so that each must have drawn an acknowledgment of its own. Missing of these never came.
	Asked, Missing int
	// Moments are those that went missing, one behind the other as one: what was held up on the way and came at once draws one acknowledgment.
	Moments int
	// Late acknowledgments came so much later than the soonest that two segments may have arrived at once, and drawn one together.
	Late int
	// Filled: the hole was acknowledged although nothing that fills it has left. Somebody on the way answers for the receiver.
	Filled bool
	// SACK: both sides permit it. Without, nothing is told.
	SACK bool
}

// Add adds what came of another connection.
func (h *Holed) Add(o *Holed) {
	h.Sent += o.Sent
	h.Arrived += o.Arrived
	h.Lost += o.Lost
	h.Asked += o.Asked
	h.Missing += o.Missing
	h.Moments += o.Moments
	h.Late += o.Late
	h.Filled = h.Filled || o.Filled
	h.SACK = h.SACK || o.SACK
}

// reported is a segment behind the hole.
type reportedPiece struct {
	Range
	at      time.Time
	arrived bool
	answer  time.Duration // until it was reported
	own     bool          // by an acknowledgment that reported it first
}

// ReadHoled reads a connection whose data has a hole in front, of segments that left gap apart.
func ReadHoled(list []Segment, gap time.Duration) Holed {
	var out Holed
	var sent []reportedPiece
	var start wire.Seq
	out.SACK = true
	begun := false
	for i := range list {
		g := &list[i]
		switch {
		case g.Flags&wire.SYN != 0:
			out.SACK = out.SACK && g.SACKPermitted
			if g.Outgoing {
				start, begun = g.Seq+1, true
			}
		case !begun || g.Flags&wire.RST != 0:
		case g.Outgoing && g.Length > 0:
			sent = append(sent, reportedPiece{Range: Range{g.Seq, g.end()}, at: g.At})
		case !g.Outgoing && g.Flags&wire.ACK != 0:
			out.Filled = out.Filled || start.Before(g.Ack)
			reports(sent, g)
		}
	}
	out.Sent = len(sent)
	out.tally(sent, gap)
	return out
}

// reports notes what an acknowledgment says of what has arrived. What it is the first to report, and left last, is what it answers.
func reports(sent []reportedPiece, g *Segment) {
	newest := -1
	for i := range sent {
		p := &sent[i]
		if p.arrived || !slices.ContainsFunc(g.SACK, func(b Range) bool { return !p.From.Before(b.From) && !b.To.Before(p.To) }) {
			continue
		}
		p.arrived, p.answer = true, g.At.Sub(p.at)
		newest = i
	}
	// RFC 2018 §4: the first block holds the segment that the acknowledgment answers. One that tells nothing new was overtaken by a later one.
	if first, ok := endsWith(sent, g.SACK); ok && !sent[first].own && (newest < 0 || sent[first].answer == g.At.Sub(sent[first].at)) {
		newest = first
		sent[first].answer = g.At.Sub(sent[first].at)
	}
	if newest >= 0 {
		sent[newest].own = true
	}
}

// endsWith is the segment at the end of the first block.
func endsWith(sent []reportedPiece, blocks []Range) (int, bool) {
	if len(blocks) == 0 {
		return 0, false
	}
	i := slices.IndexFunc(sent, func(p reportedPiece) bool { return p.To == blocks[0].To })
	return i, i >= 0
}

// tally counts, up to the last segment that is known to have arrived.
func (h *Holed) tally(sent []reportedPiece, gap time.Duration) {
	last, soonest := -1, time.Duration(0)
	for i := range sent {
		if p := &sent[i]; p.arrived {
			last = i
			if p.own && (soonest == 0 || p.answer < soonest) {
				soonest = p.answer
			}
		}
	}
	gone := false
	for i := range last + 1 {
		p := &sent[i]
		if !p.arrived {
			h.Lost++
			continue
		}
		h.Arrived++
		if p.own && p.answer > soonest+gap/2 {
			h.Late++
		}
		if i < last && sent[i+1].at.Sub(p.at) < gap/2 {
			continue // our own timers were late: two at once may draw one acknowledgment
		}
		h.Asked++
		if !p.own {
			h.Missing++
			if !gone {
				h.Moments++
			}
		}
		gone = !p.own
	}
}
