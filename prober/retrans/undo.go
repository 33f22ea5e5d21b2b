package retrans

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// undo is what lets a sender take back that it slowed down: tcp_may_undo in net/ipv4/tcp_input.c, 6.18. It takes it back once every copy of the
// episode is reported as a duplicate, or an acknowledgment echoes a timestamp from before the first of them.
type undo struct {
	on     bool
	marker wire.Seq
	left   int        // copies not yet reported as duplicates; −1: there were none (tcp_init_undo)
	stamp  wire.TSval // of the first copy, where has
	has    bool
}

// begin is tcp_init_undo, with so many copies that are still out.
func (u *undo) begin(una wire.Seq, out int) {
	u.on, u.marker, u.left = true, una, out
	if out == 0 {
		u.left = -1
	}
}

// copied takes n segments that left again.
func (u *undo) copied(g *Segment, n int) {
	u.left = max(u.left, 0) + n
	if !u.has && g.HasTS {
		u.stamp, u.has = g.TSval, true
	}
}

// reported takes n segments that the receiver has twice.
func (u *undo) reported(b Range, n int) {
	if u.left > 0 && u.marker.Before(b.To) {
		u.left = max(0, u.left-n)
	}
}

// spent: every copy was needless.
func (u *undo) spent() bool { return u.on && u.left == 0 }

// possible reports whether an acknowledgment that moves on shows that nothing was lost.
func (u *undo) possible(g *Segment) bool {
	return u.spent() || u.on && u.has && g.HasTS && g.TSecr.Before(u.stamp)
}

// enter follows the sender into what a copy of that class shows it to be in.
func (s *sender) enter(c Class, g *Segment) {
	switch {
	case c == RTO:
		// as tcp_enter_loss: not where a recovery was under way (new_recovery), unless the timer has fired before without progress
		s.frto = s.state == open || s.timeouts > 0
		if s.state == open || !s.una.Before(s.high) {
			s.undo.begin(s.una, s.copiesOut())
		}
		s.state, s.high, s.since = loss, s.nxt, g.At
		s.timeouts++
		s.probe = false
	case c == TLP:
		s.probe, s.probed = true, s.nxt
	case s.state == open || s.state == loss && c == Fast:
		s.undo.begin(s.una, s.copiesOut())
		s.state, s.high, s.frto = recovery, s.nxt, false
	}
}

// leave is the end of every episode. The time of its first copy counts on as long as one is out (tcp_any_retrans_done).
func (s *sender) leave() {
	s.state, s.frto = open, false
	s.undo = undo{stamp: s.undo.stamp, has: s.undo.has && s.copiesOut() > 0}
}

// delayed takes an acknowledgment of part of a recovery: where it echoes a timestamp from before the first copy, what it acknowledges was late and
// not lost (tcp_try_undo_partial, which counts TCPTSReorder).
func (s *sender) delayed(g *Segment) bool {
	if s.state != recovery || !g.Ack.Before(s.high) || !s.undo.on || !s.undo.has || !g.HasTS || !g.TSecr.Before(s.undo.stamp) {
		return false
	}
	s.overtaken(s.una)
	s.Echoed++
	if s.copiesOut() == 0 {
		s.leave()
	}
	return true
}

// copiesOut is how many pieces that left again are neither acknowledged nor SACKed (retrans_out).
func (s *sender) copiesOut() int {
	n := 0
	for i := range s.live() {
		if p := &s.live()[i]; p.copies > 0 && !p.sacked {
			n++
		}
	}
	return n
}

// turns is how many times as long as data takes to be acknowledged an oldest segment must have been out before the retransmission timer alone can
// have sent it again although acknowledgments came: a tail loss probe leaves after two, its SACK comes after three, and RACK waits for one more at
// most (RFC 8985 §6.2, §7.2).
const turns = 5

// expired reports whether the retransmission timer can have sent the oldest segment again. SACKs alone do not start it anew, so that it may fire
// between two of them (tcp_rearm_rto, FLAG_SET_XMIT_TIMER).
func (s *sender) expired(at time.Time, first *piece) bool {
	age := at.Sub(first.at)
	return age >= s.floor && (at.Sub(s.lastIn) >= s.floor || at.Sub(s.moved) >= s.floor && s.turn > 0 && age >= turns*s.turn)
}

// lostAgain reports whether a segment has left again since the timer fired: RACK has found its copy lost, and the sender is in recovery
// (FLAG_LOST_RETRANS in tcp_fastretrans_alert).
func (s *sender) lostAgain(r Range) bool {
	i := s.at(r.From)
	return i < len(s.pieces) && s.pieces[i].copies > 0 && !s.pieces[i].at.Before(s.since)
}

// measure smooths how long data takes to be acknowledged (RFC 6298 §2).
func (s *sender) measure(d time.Duration) {
	switch {
	case d <= 0:
	case s.turn == 0:
		s.turn = d
	default:
		s.turn += (d - s.turn) / 8
	}
}
