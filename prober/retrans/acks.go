package retrans

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// in takes a segment of the peer's: its acknowledgment, its SACKs.
func (s *sender) in(g *Segment) {
	if g.Flags&wire.ACK == 0 || !s.begun || s.nxt.Before(g.Ack) || g.Ack.Before(s.una) {
		return // an acknowledgment of what was never sent, or an old one
	}
	before := s.fack
	block, twice := g.duplicate()
	if twice {
		s.DSACKs++
		s.needless(block)
		s.undo.reported(block, s.segments(block.To.Sub(block.From)))
	}
	original := s.sacked(g, before, twice)
	advanced := s.una.Before(g.Ack)
	switch {
	case advanced:
		s.takeBack(g)
		original = s.acknowledged(g, before) || original
		s.duplicates, s.timeouts, s.Stuck, s.moved = 0, 0, Stuck{}, g.At
	case g.Length == 0 && s.una != s.nxt:
		s.duplicates++
	}
	s.leaveState(g, advanced, original)
	if s.state == open && s.undo.has && s.copiesOut() == 0 {
		s.undo.has = false
	}
	s.lastIn = g.At
}

// takeBack looks whether an acknowledgment that moves on shows that what was thought lost was late.
func (s *sender) takeBack(g *Segment) {
	told := s.delayed(g)
	late := s.echoed(g)
	if late && !told && s.una.Before(s.fack) {
		s.overtaken(s.una)
		s.Echoed++
	}
	if s.state == loss && (late || s.undo.possible(g)) {
		s.leave() // as tcp_try_undo_loss
	}
}

// sacked takes the SACK blocks, lowest first. It reports whether data that left only once, before the last timeout, was among them.
func (s *sender) sacked(g *Segment, before wire.Seq, twice bool) (original bool) {
	blocks := g.SACK
	if twice {
		blocks = blocks[1:]
	}
	blocks = slices.Clone(blocks)
	slices.SortFunc(blocks, func(a, b Range) int { return int(a.From.Sub(b.From)) })
	low, found := s.twice(g, twice)
	for _, b := range blocks {
		if b.From.Before(g.Ack) || s.nxt.Before(b.To) || !b.From.Before(b.To) {
			continue
		}
		s.each(b, func(p *piece) {
			if p.sacked {
				return
			}
			p.sacked = true
			if p.copies > 0 {
				return
			}
			s.measure(g.At.Sub(p.at))
			original = original || !s.high.Before(p.to)
			if p.from.Before(before) && p.from.Before(low) {
				low, found = p.from, true
			}
		})
		if s.fack.Before(b.To) {
			s.fack = b.To
		}
	}
	// As tcp_sacktag_write_queue in net/ipv4/tcp_input.c, 6.18, which counts TCPSACKReorder once an acknowledgment.
	if found && (s.state != loss || s.undo.on) {
		s.overtaken(low)
	}
	return original
}

// twice is where the lowest data begins of what a duplicate SACK above the acknowledgment reports, that was SACKed and had left again: its original
// came late (tcp_sacktag_one, which counts it as reordering).
func (s *sender) twice(g *Segment, reported bool) (low wire.Seq, found bool) {
	low = s.nxt
	if !reported || g.SACK[0].From.Before(g.Ack) || s.nxt.Before(g.SACK[0].To) {
		return low, false
	}
	s.each(g.SACK[0], func(p *piece) {
		if p.sacked && p.copies > 0 && p.from.Before(low) {
			low, found = p.from, true
		}
	})
	return low, found
}

// acknowledged takes what is acknowledged for good. A hole that filled without having left again was late, not lost (tcp_clean_rtx_queue).
func (s *sender) acknowledged(g *Segment, before wire.Seq) (original bool) {
	low, found := s.nxt, false
	s.acknowledge(g.Ack, func(p *piece) {
		s.Acknowledged += int64(p.to.Sub(p.from))
		if p.sacked || p.copies > 0 {
			return
		}
		s.measure(g.At.Sub(p.at))
		original = original || !s.high.Before(p.to)
		if p.from.Before(before) && p.from.Before(low) {
			low, found = p.from, true
		}
	})
	s.una = g.Ack
	if s.fack.Before(s.una) {
		s.fack = s.una
	}
	if found {
		s.overtaken(low)
	}
	return original
}

// overtaken notes that data from low on, which left once, arrived behind what is SACKed.
func (s *sender) overtaken(low wire.Seq) {
	if !low.Before(s.fack) {
		return
	}
	s.Reordered++
	s.Extent = max(s.Extent, s.segments(s.fack.Sub(low)))
}

// needless marks the copies of what the receiver reports to have twice: of each stretch the first that is not marked yet.
func (s *sender) needless(b Range) {
	var done []Range
	for i := range s.log {
		d := &s.log[i]
		if d.reported || !d.From.Before(b.To) || !b.From.Before(d.To) || overlaps(done, d.Range) {
			continue
		}
		s.mark(d)
		d.reported = true
		done = append(done, d.Range)
	}
	if len(done) == 0 {
		s.Unprompted++
	}
}

func overlaps(done []Range, r Range) bool {
	return slices.ContainsFunc(done, func(d Range) bool { return d.From.Before(r.To) && r.From.Before(d.To) })
}

func (s *sender) mark(d *duplicated) {
	if !d.needless {
		d.needless = true
		s.Spurious[d.class]++
	}
}

// echoed looks at the acknowledgment of a head that left twice: an echo older than the copy is the original's (RFC 3522 §3.2).
func (s *sender) echoed(g *Segment) bool {
	p := s.first()
	if p == nil || p.from != s.una || p.copies != 1 || !g.HasTS || !g.TSecr.Before(p.tsval) {
		return false
	}
	for i := len(s.log) - 1; i >= 0; i-- {
		if d := &s.log[i]; d.From == p.from {
			s.mark(d)
			break
		}
	}
	return true
}

// leaveState follows the sender out of its recovery (tcp_fastretrans_alert, tcp_process_loss).
func (s *sender) leaveState(g *Segment, advanced, original bool) {
	if s.probe && !g.Ack.Before(s.probed) {
		s.probe = false
	}
	switch {
	case s.state == open:
	case !g.Ack.Before(s.high):
		s.leave()
	case s.state == recovery && s.undo.spent():
		s.leave() // as tcp_try_undo_dsack
	case s.state == loss && s.frto && original:
		s.leave() // the timeout was needless: RFC 5682 §2.1 (3b)
	case s.state == loss && s.frto && s.high.Before(s.nxt):
		s.frto = advanced // RFC 5682 §2.1 (3a): a duplicate after new data says that the loss was real
	case s.state == loss && s.frto:
		s.high = s.nxt
	}
}

// moments counts the moments of loss.
func (s *sender) moments() int {
	n := 0
	for i := range s.log {
		d := &s.log[i]
		if d.needless || d.class == TLP {
			continue
		}
		if n == 0 || d.at.Sub(s.lastLoss) > s.rtt {
			n++
		}
		s.lastLoss = d.at
	}
	return n
}
