package pulse

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Burst is one scheduled burst in flight, or just over. The caller owns it, fills the first part, and may use it again once it is over.
type Burst struct {
	Src   netip.Addr // no zone, unmapped
	Dst   netip.AddrPort
	Arm   *plan.Script // what every shot follows; OnSYNACK is plan.Reset
	Start wire.TSval   // of the burst's clock, in place of the arm's
	// Listen is how long it lasts after its first SYN.
	Listen time.Duration
	// Owner is the caller's own mark.
	Owner int32

	// Handed are the times of the SYNs, monotonic: of all shots still open at each rung of the ladder.
	Handed []time.Duration
	slots  []int32
	open   int
	number int32
	next   time.Duration // when it wants to be called; monotonic
	last   uint64        // place of its newest frame in the history
	frames int
	tape   *Tape
	ill    bool
	parked time.Duration // when it was found over for want of time; 0: it was not
}

// Size is how many shots the burst has.
func (b *Burst) Size() int { return len(b.slots) }

// Open is how many of its shots have no answer yet.
func (b *Burst) Open() int { return b.open }

// Next is when the burst wants Due to be called, on the caller's monotonic clock.
func (b *Burst) Next() time.Duration { return b.next }

// Ill reports whether anything but prompt SYN-ACKs has been seen, or missed, so far: such a burst has a tape.
func (b *Burst) Ill() bool { return b.ill }

// TSval of the SYN number n.
func (b *Burst) TSval(n int) wire.TSval {
	c := b.Arm.Clock
	c.Start = b.Start
	return c.SYN(n, b.Handed[n]-b.Handed[0])
}

// SYN is one SYN to send: PutPort takes it as it is.
type SYN struct {
	Slot  int32
	Port  uint16
	Seq   wire.Seq
	TSval wire.TSval
}

// Shot is what came of one shot of a burst that is over.
type Shot struct {
	Port     uint16
	ISS      wire.Seq
	SYNs     int
	Accepted bool
	// Answered: something came that could be an answer.
	Answered bool
	// RTT is from the first SYN to the answer, both on the tap; 0: not measured.
	RTT time.Duration
}

// Shot returns what shot i came to.
func (t *Table) Shot(b *Burst, i int) Shot {
	r := &t.records[b.slots[i]]
	s := Shot{Port: r.sport, ISS: r.iss, SYNs: int(r.syns), Accepted: r.state == accepted, Answered: r.answered != 0 || r.state == over}
	if r.sent > 0 && r.answered > r.sent {
		s.RTT = time.Duration(r.answered - r.sent)
	}
	return s
}

// Index is which of a burst's shots has a slot; −1: none.
func (t *Table) Index(b *Burst, slot int32) int {
	if r := &t.records[slot]; r.burst == b.number {
		return int(r.shot)
	}
	return -1
}

// Tape returns the frames of a burst that is over and was ill; nil: there are none.
func (b *Burst) Tape() *Tape { return b.tape }
