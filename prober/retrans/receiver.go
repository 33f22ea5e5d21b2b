package retrans

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Received is what one side of a connection received, seen from its own end, behind its device: what the device merged (GRO) counts as the
// segments that it was made of, and what it put into another order counts as the path's.
type Received struct {
	// Segments of at most MSS octets with new data, Octets of payload in them.
	Segments int
	Octets   int64
	// Copies are the segments that filled a hole and had been sent for it, by the class that their time suggests.
	Copies Counts
	// Spurious are segments whose data was there already, by the class that their time suggests.
	Spurious Counts
	// Reordered are segments that had been sent before data that arrived earlier; Extent is the most segments that one was overtaken by, Late the
	// longest time that it came behind the first of them.
	Reordered, Extent int
	Late              time.Duration
	// Swaps are the places at which the order changed: neighbors that came late one behind the other are one, as a sender or a device moves what it has
	// handed over in one piece (GSO, a queue's budget) as one.
	Swaps int
	// Lossy counts the moments of loss: copies that were needed, those of one round trip as one.
	Lossy int
	// Overtaken are the copies that filled a hole before their late original came: nothing was lost.
	Overtaken int
	// Merged is how many frames held more than one segment.
	Merged int
	// By is what tells the order in which segments were sent.
	By Key
	// Holes are stretches that never filled.
	Holes int
}

// Lost is how many segments were lost on the way to us: copies that filled a hole, less those whose original came after all.
func (r *Received) Lost() int { return r.Copies.Total() - r.Overtaken }

// Key is what tells the order in which the peer sent its segments.
type Key uint8

// ByID: the IPv4 identification rises with each segment, as Linux has it within a connection (include/net/ip.h ip_select_ident_segs, 6.18).
// ByTimestamp: the TSval, in ticks, and within one tick whether a copy could have come so soon.
const (
	KeyUnknown Key = iota
	ByID
	ByTimestamp
	ByTime
)

func (k Key) String() string {
	switch k {
	case ByID:
		return "id"
	case ByTimestamp:
		return "timestamp"
	case ByTime:
		return "time"
	case KeyUnknown:
	}
	return "unknown"
}

// hole is a stretch that later data has passed.
type hole struct {
	Range
	opened time.Time
	by     stamp // of the segment that opened it
	passed int   // segments that have passed it
}

// stamp is what a segment bears of the order in which it was sent.
type stamp struct {
	id    uint16
	tsval wire.TSval
}

func stampOf(g *Segment) stamp { return stamp{g.ID, g.TSval} }

// fill is a copy that filled a hole.
type fill struct {
	Range
	at, opened time.Time
	by         stamp
	n          int
	overtaken  bool
}

// The bounds on what a peer can make us remember, and on how far back a late original is looked for.
const (
	maxHoles = 1 << 10
	maxFills = 1 << 14
	lookBack = 1 << 8
)

// receiver follows what one side receives.
type receiver struct {
	Received
	mss    int
	rtt    time.Duration
	floor  time.Duration
	begun  bool
	max    wire.Seq
	holes  []hole
	lastIn time.Time
	fills  []fill
	// swapped is the end of what came late last.
	swapped wire.Seq
	// tail is the last segment of all that has come in order.
	tail tail
}

// tail is a last segment: what it bears, and how long nothing had come before it.
type tail struct {
	by    stamp
	quiet time.Duration
}

// begin sets the sequence number of the first octet of data.
func (r *receiver) begin(seq wire.Seq) {
	if !r.begun {
		r.begun, r.max = true, seq
	}
}

func (r *receiver) segments(octets int32) int { return max(1, (int(octets)+r.mss-1)/r.mss) }

// in takes a segment that arrived.
func (r *receiver) in(g *Segment) {
	from, to := g.Seq, g.end()
	if from == to || g.Flags&wire.RST != 0 {
		return
	}
	r.begin(from)
	if g.Length > r.mss {
		r.Merged++
	}
	if from.Before(r.max) {
		if g.Length <= 1 && g.Flags&wire.FIN == 0 && len(r.holes) == 0 && to.Sub(r.max) <= 0 {
			return // a keep-alive
		}
		r.behind(g, Range{from, earlier(to, r.max)})
		from = r.max
	}
	if r.max.Before(from) && len(r.holes) < maxHoles {
		r.holes = append(r.holes, hole{Range: Range{r.max, from}, opened: g.At, by: stampOf(g)})
	}
	if from.Before(to) {
		n := r.segments(to.Sub(from))
		r.Segments += n
		r.Octets += int64(to.Sub(from))
		r.max = to
		for i := range r.holes {
			r.holes[i].passed += n
		}
		r.tail = tail{by: stampOf(g), quiet: g.At.Sub(r.lastIn)}
	}
	r.lastIn = g.At
}

// behind takes data below the highest seen: it fills holes, or is there already.
func (r *receiver) behind(g *Segment, b Range) {
	filled := int32(0)
	for i := 0; i < len(r.holes); i++ {
		h := r.holes[i]
		part := Range{later(b.From, h.From), earlier(b.To, h.To)}
		if !part.From.Before(part.To) {
			continue
		}
		size := part.To.Sub(part.From)
		filled += size
		r.filledBy(g, &h, part)
		r.Octets += int64(size)
		r.Segments += r.segments(size)
		rest := h.without(part)
		r.holes = slices.Replace(r.holes, i, i+1, rest...)
		i += len(rest) - 1
	}
	if twice := b.To.Sub(b.From) - filled; twice > 0 {
		r.Spurious[r.needless(g, b)] += r.segments(twice)
		r.original(g, b)
	}
}

// without is what is left of a hole.
func (h *hole) without(part Range) []hole {
	var out []hole
	for _, s := range []Range{{h.From, part.From}, {part.To, h.To}} {
		if s.From.Before(s.To) {
			left := *h
			left.Range = s
			out = append(out, left)
		}
	}
	return out
}

func later(a, b wire.Seq) wire.Seq {
	if a.Before(b) {
		return b
	}
	return a
}

// filledBy judges what filled a part of a hole: sent before what passed it, or for it.
func (r *receiver) filledBy(g *Segment, h *hole, part Range) {
	n, age := r.segments(part.To.Sub(part.From)), g.At.Sub(h.opened)
	if r.sentBefore(g, h.by, age) {
		r.late(part, n)
		r.Extent = max(r.Extent, h.passed)
		r.Late = max(r.Late, age)
		return
	}
	c := Fast
	if age >= r.floor+r.rtt/2 {
		c = RTO
	}
	r.Copies[c] += n
	if len(r.fills) < maxFills {
		r.fills = append(r.fills, fill{Range: part, at: g.At, opened: h.opened, by: stampOf(g), n: n})
	}
}

// late counts n segments that came behind later ones.
func (r *receiver) late(b Range, n int) {
	r.Reordered += n
	if r.Swaps == 0 || b.From != r.swapped {
		r.Swaps++
	}
	r.swapped = b.To
}

// original looks for the copies that a late original was overtaken by. Where nothing but time tells the order, data that comes twice after a
// hole of it was filled is taken for one.
func (r *receiver) original(g *Segment, b Range) {
	for i := len(r.fills) - 1; i >= 0 && i >= len(r.fills)-lookBack; i-- {
		f := &r.fills[i]
		if f.overtaken || !f.From.Before(b.To) || !b.From.Before(f.To) {
			continue
		}
		if r.By == ByTime || r.sentBefore(g, f.by, r.rtt) {
			f.overtaken = true
			r.Overtaken += f.n
			r.late(f.Range, f.n)
			r.Late = max(r.Late, g.At.Sub(f.opened))
		}
	}
}

// moments counts the moments of loss.
func (r *receiver) moments() int {
	n := 0
	var last time.Time
	for i := range r.fills {
		f := &r.fills[i]
		if f.overtaken {
			continue
		}
		if n == 0 || f.at.Sub(last) > r.rtt {
			n++
		}
		last = f.at
	}
	return n
}

// soon is the part of a round trip within which no copy can come: a SACK has to travel to the sender, and the copy back.
const soon = 0.75

// tick is the least that a TSval tells apart: Linux counts milliseconds (include/net/tcp.h tcp_clock_ts, 6.18; microseconds only where a route
// asks for them, RTAX_FEATURE_TCP_USEC_TS).
const tick = time.Millisecond

// sentBefore reports whether g left its sender before the segment of that stamp, which arrived so long ago.
func (r *receiver) sentBefore(g *Segment, by stamp, age time.Duration) bool {
	switch {
	case r.By == ByID:
		return int16(g.ID-by.id) < 0
	case r.By == ByTimestamp && g.TSval != by.tsval:
		return g.TSval.Before(by.tsval)
	case r.By == ByTimestamp && r.rtt < tick:
		return false // within one tick a copy comes as soon as a segment that was overtaken
	}
	return float64(age) < soon*float64(r.rtt)
}

// needless says why data came that was there already: a tail loss probe repeats the last segment while nothing is missing. What comes behind its own
// copy is the late original: then it is the copy that came after a pause.
func (r *receiver) needless(g *Segment, b Range) Class {
	quiet := g.At.Sub(r.lastIn)
	if b.To == r.max && r.older(g, r.tail.by) {
		quiet = r.tail.quiet
	}
	switch {
	case len(r.holes) == 0 && b.To == r.max && quiet >= r.rtt:
		return TLP
	case quiet >= r.floor:
		return RTO
	}
	return Fast
}

// older reports whether g bears that it left its sender before the segment of that stamp.
func (r *receiver) older(g *Segment, by stamp) bool {
	switch r.By {
	case ByID:
		return int16(g.ID-by.id) < 0
	case ByTimestamp:
		return g.TSval.Before(by.tsval)
	case ByTime, KeyUnknown:
	}
	return false
}
