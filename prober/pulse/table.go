package pulse

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Table holds the bursts in flight.
type Table struct {
	numbers wire.Numbers
	records []record
	free    []int32 // a circle, so that a record that was given back is known as long as may be
	begin   int
	count   int
	bursts  []*Burst
	vacant  []int32
	past    history
	tapes   int // octets of all tapes
	most    int
}

// Config sizes a table.
type Config struct {
	Seed     maphash.Seed
	InFlight int // SYNs in flight at most
	History  int // octets of frames kept
	Tapes    int // octets of frames of ill bursts at most
}

// ErrFull is returned where no more SYNs may be in flight.
var ErrFull = errors.New("no more SYNs may be in flight")

// New makes a table. Its memory is asked for at once but touched only as it is used.
func New(c Config) *Table {
	t := &Table{numbers: wire.Numbers{Seed: c.Seed}, records: make([]record, c.InFlight), free: make([]int32, c.InFlight), count: c.InFlight,
		past: history{mem: make([]byte, c.History)}, most: c.Tapes}
	for i := range t.free {
		t.free[i] = int32(i)
	}
	return t
}

// InFlight is how many records are taken.
func (t *Table) InFlight() int { return len(t.records) - t.count }

// Room is how many more may be.
func (t *Table) Room() int { return t.count }

// Open begins a burst from the given source ports, one shot each. Nothing is in flight until SYNs has been called.
func (t *Table) Open(b *Burst, ports []uint16) error {
	if len(ports) > t.count {
		return ErrFull
	}
	b.Handed, b.slots = b.Handed[:0], b.slots[:0]
	b.open, b.last, b.frames, b.tape, b.ill, b.parked = len(ports), 0, 0, nil, false, 0
	b.number = t.place(b)
	for k, port := range ports {
		i := t.free[t.begin]
		t.begin = (t.begin + 1) % len(t.free)
		t.count--
		mask := t.numbers.Mask(netip.AddrPortFrom(b.Src, port), b.Dst)
		t.records[i] = record{iss: wire.Seq(uint32(i) ^ mask), burst: b.number, sport: port, shot: uint16(k), state: waiting}
		b.slots = append(b.slots, i)
	}
	return nil
}

func (t *Table) place(b *Burst) int32 {
	if n := len(t.vacant); n > 0 {
		i := t.vacant[n-1]
		t.vacant = t.vacant[:n-1]
		t.bursts[i] = b
		return i
	}
	t.bursts = append(t.bursts, b)
	return int32(len(t.bursts) - 1)
}

// Close gives the burst's records back; its shots are not to be asked for any more. They go on to be known until they are taken again.
func (t *Table) Close(b *Burst) {
	for _, i := range b.slots {
		t.records[i].burst = -1
		t.free[(t.begin+t.count)%len(t.free)] = i
		t.count++
	}
	t.bursts[b.number] = nil
	t.vacant = append(t.vacant, b.number)
	if b.tape != nil {
		t.tapes -= b.tape.octets
	}
	b.slots = b.slots[:0]
}

// SYNs appends the SYNs that are due now to out: of every shot without an answer, one rung of the ladder further.
func (t *Table) SYNs(b *Burst, now time.Duration, out []SYN) []SYN {
	n := len(b.Handed)
	b.Handed = append(b.Handed, now)
	val := b.TSval(n)
	for _, i := range b.slots {
		r := &t.records[i]
		if r.state != waiting {
			continue
		}
		r.syns++
		out = append(out, SYN{Slot: i, Port: r.sport, Seq: r.iss, TSval: val})
	}
	b.next = b.Handed[0] + b.Listen
	if at := b.Arm.Ladder.At; n+1 < len(at) {
		b.next = min(b.next, b.Handed[0]+at[n+1])
	}
	return out
}

// Due says what a burst whose time has come wants.
type Due uint8

// Repeat: SYNs is to be called. Expired: listening is over. Later: nothing yet, Next has moved.
const (
	Later Due = iota
	Repeat
	Expired
)

// Due moves a burst whose Next has come. A burst that is not answered by then is ill.
func (t *Table) Due(b *Burst, now time.Duration) Due {
	switch {
	case now < b.next:
		return Later
	case now >= b.Handed[0]+b.Listen:
		t.suspect(b)
		return Expired
	}
	t.suspect(b)
	return Repeat
}

// Fail notes that the kernel did not take the SYN of a slot. Where that was the first and another could fare no better, the shot is over.
func (t *Table) Fail(slot int32, final bool) (ended *Burst) {
	r := &t.records[slot]
	if r.burst < 0 || r.state != waiting {
		return nil
	}
	b := t.bursts[r.burst]
	t.suspect(b)
	if !final {
		return nil
	}
	return t.settle(b, r, over)
}

// settle ends one shot and returns the burst where that was its last.
func (t *Table) settle(b *Burst, r *record, s state) *Burst {
	if r.state != waiting {
		return nil
	}
	r.state = s
	if b.open--; b.open > 0 {
		return nil
	}
	return b
}

// suspect marks a burst ill and gathers its frames while they are still there.
func (t *Table) suspect(b *Burst) {
	if b.ill {
		return
	}
	b.ill = true
	b.tape = &Tape{}
	if t.tapes >= t.most {
		b.tape.Missing = b.frames
		return
	}
	b.tape = t.past.gather(b.last, b.frames)
	t.tapes += b.tape.octets
}

// note keeps a frame of a burst: on its tape where it has one, else in the history.
func (t *Table) note(b *Burst, f *Frame) {
	if b.tape == nil {
		b.frames++
		b.last = t.past.add(f, b.last)
		return
	}
	if t.tapes >= t.most {
		b.tape.Missing++
		return
	}
	was := b.tape.octets
	b.tape.keep(f)
	t.tapes += b.tape.octets - was
}
