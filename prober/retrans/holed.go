package retrans

import (
	"cmp"
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
	// Numbered are the segments that the receiver has sent by the count that it writes into each (see numbered), data of its own included, Gone those
	// that never came, in so many Gaps. Numbering is how many connections were so counted: 0, this one was not. It needs no time, and what
	// was merged has no number.
	Numbered, Gone, Gaps, Numbering int
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
	h.Numbered += o.Numbered
	h.Gone += o.Gone
	h.Gaps += o.Gaps
	h.Numbering += o.Numbering
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
	out.numbered(list)
	return out
}

// mostGone is how many in a row may be missing before the numbers are held for another counter than the connection's own: an outage of half a second.
const mostGone = 32

// numbered counts what the peer has sent by the IPv4 identification: Linux raises it by one with each segment of a connection that may not be
// fragmented (include/net/ip.h ip_select_ident_segs, 6.18; 2.6.32 as well), so that one which is missing has left and never came. Stacks that
// count for all connections, or write nothing or chance there, give no such sequence.
func (h *Holed) numbered(list []Segment) {
	frames := numbers(list)
	if len(frames) < fewIDs {
		return
	}
	n, gone, gaps, exact := frames[0].n, 0, 0, 0
	for i := 1; i < len(frames); i++ {
		n += frames[i].n
		switch missing := int(frames[i].at-frames[i-1].at) - frames[i-1].n; {
		case missing < 0 || missing > mostGone:
			return
		case missing == 0:
			exact++
		default:
			gone += missing
			gaps++
		}
	}
	if exact*3 < 2*(len(frames)-1) {
		return
	}
	h.Numbered, h.Gone, h.Gaps, h.Numbering = n+gone, gone, gaps, 1
}

// numberedFrame is a frame of the peer's: where it stands in the order of sending, and how many segments it was made of.
type numberedFrame struct {
	at int64
	n  int
}

// numbers lists the peer's frames behind the handshake in order of their numbers, each once.
func numbers(list []Segment) []numberedFrame {
	mss := opening(list, Known{}).ReceivedMSS
	var out []numberedFrame
	var last uint16
	var at int64
	for i := range list {
		g := &list[i]
		if g.Outgoing || g.Flags&(wire.SYN|wire.RST) != 0 {
			continue // the SYN-ACK's and an RST's are not of the connection's own count
		}
		at += int64(int16(g.ID - last))
		last = g.ID
		out = append(out, numberedFrame{at, max(1, (g.Length+mss-1)/mss)})
	}
	slices.SortFunc(out, func(a, b numberedFrame) int { return cmp.Compare(a.at, b.at) })
	return slices.CompactFunc(out, func(a, b numberedFrame) bool { return a.at == b.at })
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
