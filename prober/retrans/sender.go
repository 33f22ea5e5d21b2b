package retrans

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Sent is what one side of a connection sent, seen from its own end.
type Sent struct {
	// Segments of at most MSS octets that left for the first time, and Octets of payload in them.
	Segments int
	Octets   int64
	// Copies are the segments that left again, by class, in Frames frames.
	Copies Counts
	Frames int
	// Spurious are those of them that are proven needless: the receiver reported the data twice (RFC 2883), or its first acknowledgment
	// echoed the original's timestamp (RFC 3522 §3.2).
	Spurious Counts
	// DSACKs are the acknowledgments that reported data which had arrived before, Unprompted those of data that never left twice: the network
	// has copied it.
	DSACKs, Unprompted int
	// Reordered is how many acknowledgments showed that data which left only once arrived behind later data; Extent is the most segments that
	// it fell behind.
	Reordered, Extent int
	// Echoed of them are told by an echo from before the first copy (RFC 3522 §3.2). Linux counts those that end a part of a recovery (TCPTSReorder),
	// and some more where it meant to send a copy that pacing still held back.
	Echoed int
	// Lossy counts the moments of loss: copies not proven needless, those of one round trip as one.
	Lossy int
	// Acknowledged are the octets that were acknowledged; Stuck says that the oldest segment left again and again and never was.
	Acknowledged int64
	Stuck        Stuck
}

// Stuck is a segment that was repeated to the end of what was seen without an answer.
type Stuck struct {
	Length int // octets of the segment; 0: none is stuck
	Times  int // that it left again
	For    time.Duration
}

// Lost is how many segments were lost on the way, as far as it is known: what left again and was not proven needless. Tail loss
// probes are left out: that one was needed cannot be told from an answer that was merely late.
func (s *Sent) Lost() int {
	n := 0
	for c := range s.Copies {
		if Class(c) != TLP {
			n += s.Copies[c] - s.Spurious[c]
		}
	}
	return n
}

// phase is the sender's state: as in tcp_ca_state, Disorder being open.
type phase uint8

const (
	open phase = iota
	recovery
	loss
)

// duplicated is one copy, of at most MSS octets.
type duplicated struct {
	Range
	at       time.Time
	class    Class
	needless bool // proven
	reported bool // by a duplicate SACK
}

// recall is how many copies a duplicate SACK is held against.
const recall = 1 << 16

// sender follows one side's sending.
type sender struct {
	Sent
	board
	mss   int
	floor time.Duration // less than this after the last event the retransmission timer cannot have fired
	rtt   time.Duration
	sack  bool

	begun      bool
	una, nxt   wire.Seq
	fack       wire.Seq // end of the highest SACK; una where there is none
	state      phase
	high       wire.Seq // what must be acknowledged for the state to end
	frto       bool     // the last timeout may turn out needless (RFC 5682)
	timeouts   int      // since the last progress
	probe      bool     // a tail loss probe is out
	probed     wire.Seq
	duplicates int // acknowledgments in a row
	lastIn     time.Time
	moved      time.Time     // una, last
	since      time.Time     // the last timeout
	turn       time.Duration // what data that left once takes to be acknowledged, smoothed
	undo       undo
	firstStuck time.Time
	log        []duplicated
	lastLoss   time.Time
}

// begin sets the sequence number of the first octet of data.
func (s *sender) begin(seq wire.Seq) {
	if !s.begun {
		s.begun, s.una, s.nxt, s.fack = true, seq, seq, seq
	}
}

// out takes a segment that left.
func (s *sender) out(g *Segment) {
	from, to := g.Seq, g.end()
	if from == to || g.Flags&wire.RST != 0 {
		return
	}
	s.begin(from)
	if to == s.una || to.Before(s.una) {
		if g.Length <= 1 {
			return // a keep-alive or a probe of a closed window repeats one octet below what is acknowledged (RFC 9293 §3.8.4, §3.8.6.1)
		}
	}
	if from.Before(s.nxt) {
		s.again(g, Range{from, earlier(to, s.nxt)})
	}
	if s.nxt.Before(to) {
		if from.Before(s.nxt) {
			from = s.nxt
		}
		s.pieces = append(s.pieces, piece{from: from, to: to, at: g.At, tsval: g.TSval})
		s.Segments += s.segments(to.Sub(from))
		s.Octets += int64(to.Sub(from))
		s.nxt = to
	}
}

func earlier(a, b wire.Seq) wire.Seq {
	if a.Before(b) {
		return a
	}
	return b
}

// segments is how many segments so many octets are.
func (s *sender) segments(octets int32) int {
	return max(1, (int(octets)+s.mss-1)/s.mss)
}

// again takes what left before.
func (s *sender) again(g *Segment, r Range) {
	c := s.classify(g.At, r)
	s.enter(c, g)
	s.undo.copied(g, s.segments(r.To.Sub(r.From)))
	if f := s.first(); f != nil && r.From == f.from {
		if s.Stuck.Length == 0 {
			s.firstStuck = f.at
		}
		s.Stuck = Stuck{int(r.To.Sub(r.From)), s.Stuck.Times + 1, g.At.Sub(s.firstStuck)}
	}
	s.each(r, func(p *piece) {
		p.at, p.tsval = g.At, g.TSval
		p.copies++
	})
	s.Frames++
	for from := r.From; from.Before(r.To); from = from.Add(s.mss) {
		s.Copies[c]++
		if len(s.log) == recall {
			s.log = append(s.log[:0], s.log[recall/2:]...)
		}
		s.log = append(s.log, duplicated{Range: Range{from, earlier(from.Add(s.mss), r.To)}, at: g.At, class: c})
	}
}

// classify says why r leaves again.
func (s *sender) classify(at time.Time, r Range) Class {
	first := s.first()
	head := first != nil && !first.from.Before(r.From)
	quiet := head && s.expired(at, first)
	sacked := s.una.Before(s.fack)
	switch {
	case s.state == loss && quiet:
		return RTO
	case s.state == loss && s.lostAgain(r):
		return Fast
	case s.state == loss:
		return AfterRTO
	case s.state == open && s.sack && !sacked && !s.probe && r.To == s.nxt && s.duplicates == 0:
		return TLP // at most one is out (tcp_send_loss_probe), and only while nothing is SACKed (tcp_schedule_loss_probe)
	case quiet:
		return RTO
	case s.state == recovery || sacked || s.duplicates > 0:
		return Fast
	}
	return ClassUnknown
}
