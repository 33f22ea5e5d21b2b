package minute

import (
	"encoding/binary"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Point is one connection of a target.
type Point struct {
	// At is when its first SYN left, since the begin of the minute in which its round began, exact to the millisecond.
	At time.Duration
	// Handshake is from then to the answer, exact to the microsecond; 0: not known.
	Handshake time.Duration
	Outcome   observe.Outcome
	// Lost is how many SYNs went before the one that was answered, 7 for more.
	Lost    int
	Stalled bool
}

// A point is stored as the milliseconds since the one before it, an octet
//
//	 7 6 5 4 3 2 1 0
//	+-+-----+-------+
//	|S| lost|outcome|    S: stalled
//	+-+-----+-------+
//
// and the microseconds of its handshake. The points of one round follow their number.
const (
	outcomeBits = 4
	lostMax     = 7
	stalledBit  = 0x80
)

// maxPoints is more than a round has (4,096 connections, 1,000 bursts, bounded by the time of a round).
const maxPoints = 1 << 20

// AppendPoints encodes the points of one round behind b. They should be in order of time: one that is earlier than the point before it is
// stored with that one's time.
func AppendPoints(b []byte, points []Point) []byte {
	b = binary.AppendUvarint(b, uint64(len(points)))
	last := uint64(0)
	for i := range points {
		p := &points[i]
		at := max(last, uint64(max(p.At, 0)/time.Millisecond))
		b = binary.AppendUvarint(b, at-last)
		c := byte(min(int(p.Outcome), Outcomes-1)) | byte(min(max(p.Lost, 0), lostMax))<<outcomeBits
		if p.Stalled {
			c |= stalledBit
		}
		b = append(b, c)
		b = binary.AppendUvarint(b, uint64(max(p.Handshake, 0)/time.Microsecond))
		last = at
	}
	return b
}

// maxSpan is a time that no point can have.
const maxSpan = uint64(24 * time.Hour / time.Millisecond)

// ParsePoints appends to out the points of all rounds that AppendPoints wrote, one after the other.
func ParsePoints(out []Point, b []byte) ([]Point, error) {
	r := &reader{b: b}
	for len(r.b) > 0 {
		n := r.next()
		if n > maxPoints {
			return out, errBad
		}
		last := uint64(0)
		for range n {
			step, c, us := r.next(), r.octet(), r.next()
			if r.err != nil {
				return out, r.err
			}
			last += step
			if step > maxSpan || last > maxSpan || us > uint64(24*time.Hour/time.Microsecond) {
				return out, errBad
			}
			out = append(out, Point{At: time.Duration(last) * time.Millisecond, Handshake: time.Duration(us) * time.Microsecond,
				Outcome: observe.Outcome(c & (1<<outcomeBits - 1)), Lost: int(c >> outcomeBits & lostMax), Stalled: c&stalledBit != 0})
		}
		if r.err != nil {
			return out, r.err
		}
	}
	return out, nil
}
