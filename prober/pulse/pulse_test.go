package pulse

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestRecordOctets(t *testing.T) {
	if n := int(unsafe.Sizeof(record{})); n != RecordOctets || n > 64 {
		t.Errorf("a record takes %d octets, RecordOctets says %d", n, RecordOctets)
	}
}

var dst = netip.MustParseAddrPort("192.0.2.10:443")

func small() *Table {
	return New(Config{Seed: maphash.MakeSeed(), InFlight: 16, History: 1 << 12, Tapes: 1 << 16})
}

// opened is a burst of n shots whose SYNs have left, 1 ms after they were handed over.
func opened(t testing.TB, tab *Table, n int) (*Burst, []SYN) {
	t.Helper()
	b := &Burst{Src: netip.MustParseAddr("192.0.2.1"), Dst: dst, Listen: 5 * time.Second,
		Arm: &plan.Script{Clock: plan.TSClock{Hz: 1000}, Ladder: plan.Ladder{At: []time.Duration{0, time.Second, 3 * time.Second}}}}
	ports := make([]uint16, n)
	for i := range ports {
		ports[i] = uint16(40000 + i)
	}
	if err := tab.Open(b, ports); err != nil {
		t.Fatal(err)
	}
	return b, leave(t, tab, b, time.Second)
}

// leave sends what is due and shows it to the table.
func leave(t testing.TB, tab *Table, b *Burst, now time.Duration) []SYN {
	t.Helper()
	syns := tab.SYNs(b, now, nil)
	for _, x := range syns {
		seg := wire.Segment{Src: netip.AddrPortFrom(b.Src, x.Port), Dst: b.Dst, Seq: x.Seq, Flags: wire.SYN}
		if d := tab.Outgoing(&Frame{At: int64(now + time.Millisecond), IfIndex: 2, Outgoing: true, Net: []byte{1, byte(x.Slot)}}, &seg); d != Taken {
			t.Fatalf("a SYN of ours: %d", d)
		}
	}
	return syns
}

func answer(b *Burst, x SYN, flags wire.Flags) wire.Segment {
	return wire.Segment{Src: b.Dst, Dst: netip.AddrPortFrom(b.Src, x.Port), Ack: x.Seq + 1, Flags: flags}
}

func in(at time.Duration) *Frame { return &Frame{At: int64(at), IfIndex: 2, Net: []byte{2}} }

func TestABurstAnsweredAtOnceLeavesNoFrames(t *testing.T) {
	tab := small()
	b, syns := opened(t, tab, 3)
	for i, x := range syns {
		seg := answer(b, x, wire.SYN|wire.ACK)
		d, reset, ended := tab.Incoming(in(time.Second+3*time.Millisecond), &seg)
		if d != Taken || !reset || (ended == b) != (i == 2) {
			t.Errorf("answer %d: %d, reset %t, ended %t", i, d, reset, ended != nil)
		}
	}
	if b.Ill() || b.Tape() != nil || b.Open() != 0 {
		t.Errorf("ill %t, %d open", b.Ill(), b.Open())
	}
	for i := range 3 {
		if s := tab.Shot(b, i); !s.Accepted || s.RTT != 2*time.Millisecond || s.SYNs != 1 || s.ISS != syns[i].Seq {
			t.Errorf("shot %d: %+v", i, s)
		}
	}
	tab.Close(b)
	if tab.InFlight() != 0 {
		t.Errorf("%d in flight", tab.InFlight())
	}
}

// What is not a prompt SYN-ACK makes a burst ill, and its frames are had, those from before that too.
func TestWhatMakesABurstIll(t *testing.T) {
	second := wire.Segment{}
	for name, c := range map[string]struct {
		do     func(tab *Table, b *Burst, syns []SYN)
		frames int
		ends   bool
	}{
		"RST": {func(tab *Table, b *Burst, syns []SYN) {
			seg := answer(b, syns[0], wire.RST|wire.ACK)
			tab.Incoming(in(time.Second+2*time.Millisecond), &seg)
		}, 3, false},
		"bare ACK": {func(tab *Table, b *Burst, syns []SYN) {
			seg := answer(b, syns[0], wire.ACK)
			tab.Incoming(in(time.Second+2*time.Millisecond), &seg)
		}, 3, false},
		"SYN-ACK with a broken checksum": {func(tab *Table, b *Burst, syns []SYN) {
			seg := answer(b, syns[0], wire.SYN|wire.ACK)
			seg.Checksum = wire.ChecksumBad
			if _, reset, _ := tab.Incoming(in(time.Second+2*time.Millisecond), &seg); reset {
				t.Error("a broken segment was answered")
			}
		}, 3, false},
		"SYN-ACK twice": {func(tab *Table, b *Burst, syns []SYN) {
			second = answer(b, syns[0], wire.SYN|wire.ACK)
			tab.Incoming(in(time.Second+2*time.Millisecond), &second)
			if b.Ill() {
				t.Error("ill at the first SYN-ACK")
			}
			tab.Incoming(in(time.Second+900*time.Millisecond), &second)
		}, 4, false},
		"ICMP error": {func(tab *Table, b *Burst, syns []SYN) {
			tab.Quoted(in(time.Second+2*time.Millisecond), netip.AddrPortFrom(b.Src, syns[0].Port), b.Dst, syns[0].Seq, true)
		}, 3, false},
		"no answer by the first repeat": {func(tab *Table, b *Burst, _ []SYN) {
			if d := tab.Due(b, b.Next()); d != Repeat {
				t.Errorf("due: %d", d)
			}
		}, 2, false},
		"the kernel refused the SYN": {func(tab *Table, _ *Burst, syns []SYN) { tab.Fail(syns[0].Slot, true) }, 2, false},
	} {
		tab := small()
		b, syns := opened(t, tab, 2)
		c.do(tab, b, syns)
		if !b.Ill() || b.Tape() == nil || len(b.Tape().Frames) != c.frames || b.Tape().Missing != 0 {
			t.Errorf("%s: ill %t, tape %+v", name, b.Ill(), b.Tape())
		}
	}
}

func TestTheLadderOfABurst(t *testing.T) {
	tab := small()
	b, syns := opened(t, tab, 2)
	seg := answer(b, syns[1], wire.SYN|wire.ACK)
	tab.Incoming(in(time.Second+2*time.Millisecond), &seg)
	var at []time.Duration
	for {
		now := b.Next()
		at = append(at, now-time.Second)
		due := tab.Due(b, now)
		if due == Expired {
			break
		}
		again := leave(t, tab, b, now)
		if due != Repeat || len(again) != 1 || again[0].Seq != syns[0].Seq || again[0].TSval.Sub(syns[0].TSval) != int32((now-time.Second)/time.Millisecond) {
			t.Fatalf("after %s: %d, %+v", now, due, again)
		}
	}
	if want := []time.Duration{time.Second, 3 * time.Second, 5 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("due at %v, want %v", at, want)
	}
	if s := tab.Shot(b, 0); s.Accepted || s.Answered || s.SYNs != 3 {
		t.Errorf("%+v", s)
	}
	if n := len(b.Tape().Frames); n != 5 {
		t.Errorf("%d frames, want 4 SYNs and an answer", n)
	}
}

// A forged answer leads nowhere; a true one after the burst, or from another device, is known for what it is.
func TestWhoseASegmentIs(t *testing.T) {
	tab := small()
	b, syns := opened(t, tab, 1)
	seg := answer(b, syns[0], wire.SYN|wire.ACK)
	forged := seg
	forged.Ack ^= 1 << 20
	if d, reset, _ := tab.Incoming(in(time.Second), &forged); d != NotOurs || reset {
		t.Errorf("another number: %d, reset %t", d, reset)
	}
	other := seg
	other.Src = netip.MustParseAddrPort("192.0.2.11:443")
	if d, _, _ := tab.Incoming(in(time.Second), &other); d == Taken || d == Late {
		t.Errorf("another sender: %d", d)
	}
	tab.Incoming(in(time.Second+2*time.Millisecond), &seg)
	twin := in(time.Second + 2*time.Millisecond + time.Microsecond)
	twin.IfIndex = 3
	if d, reset, _ := tab.Incoming(twin, &seg); d != Stacked || reset {
		t.Errorf("on another device: %d, reset %t", d, reset)
	}
	tab.Close(b)
	if d, reset, _ := tab.Incoming(in(3*time.Second), &seg); d != Late || !reset {
		t.Errorf("after the end: %d, reset %t", d, reset)
	}
	for range 16 { // every record is taken anew
		x, _ := opened(t, tab, 1)
		tab.Close(x)
	}
	if d, reset, _ := tab.Incoming(in(9*time.Second), &seg); d == Taken || d == NotOurs || !reset {
		t.Errorf("its record is another's: %d, reset %t", d, reset)
	}
}

func TestFull(t *testing.T) {
	tab := small()
	b, _ := opened(t, tab, 16)
	if err := tab.Open(&Burst{Arm: b.Arm, Dst: dst, Src: b.Src}, []uint16{1}); err == nil {
		t.Error("17 SYNs in a table for 16")
	}
	tab.Close(b)
	if tab.Room() != 16 {
		t.Errorf("room for %d", tab.Room())
	}
}

// TestHistoryForgetsTheOldest: frames that were overwritten are missing, and said to be; never are another's taken for them.
func TestHistoryForgetsTheOldest(t *testing.T) {
	h := history{mem: make([]byte, 1<<12)}
	var last uint64
	const n = 200
	for i := range n {
		last = h.add(&Frame{At: int64(i), Net: make([]byte, 40+i%50)}, last)
	}
	tape := h.gather(last, n)
	if len(tape.Frames) == 0 || len(tape.Frames)+tape.Missing != n {
		t.Fatalf("%d frames, %d missing", len(tape.Frames), tape.Missing)
	}
	for i, f := range tape.Frames {
		if k := n - len(tape.Frames) + i; f.At != int64(k) || len(f.Net) != 40+k%50 {
			t.Errorf("frame %d: at %d, %d octets", k, f.At, len(f.Net))
		}
	}
}

// TestCursor: bursts as often as CursorPorts says are never refused, and no place returns within the quarantine; more often, they are.
func TestCursor(t *testing.T) {
	const interval, n = 10 * time.Second, 10
	for _, c := range []struct {
		size    int
		refused bool
	}{{CursorPorts(n, interval), false}, {plan.PortsNeeded(n, interval) - 2*n, true}} {
		var cur Cursor
		cur.Start(77)
		used := map[int]time.Duration{}
		refused := false
		for now := time.Second; now < time.Hour; now += interval {
			first, ok := cur.Take(n, c.size, now)
			if !ok {
				refused = true
				continue
			}
			for i := range n {
				p := (first + i) % c.size
				if last, known := used[p]; known && now-last < plan.PortQuarantine {
					t.Fatalf("size %d: place %d again after %s", c.size, p, now-last)
				}
				used[p] = now
			}
		}
		if refused != c.refused {
			t.Errorf("size %d: refused %t", c.size, refused)
		}
	}
	if _, ok := new(Cursor).Take(5, 4, time.Second); ok {
		t.Error("5 of 4 places")
	}
}

// A healthy burst from its SYNs to its end allocates nothing.
// healthyBursts returns a function that opens a burst of ten, sends, hears and closes it.
func healthyBursts(t testing.TB) func() {
	tab := New(Config{Seed: maphash.MakeSeed(), InFlight: 1 << 12, History: 1 << 20, Tapes: 1 << 16})
	x := &Burst{Src: netip.MustParseAddr("192.0.2.1"), Dst: dst, Listen: 5 * time.Second, Arm: &plan.Script{Clock: plan.TSClock{Hz: 1000}, Ladder: plan.Single()}}
	ports := []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	var syns []SYN
	f := Frame{IfIndex: 2, Link: make([]byte, 14), Net: make([]byte, 60)}
	return func() {
		if err := tab.Open(x, ports); err != nil {
			t.Fatal(err)
		}
		syns = tab.SYNs(x, time.Second, syns[:0])
		for _, s := range syns {
			seg := wire.Segment{Src: netip.AddrPortFrom(x.Src, s.Port), Dst: x.Dst, Seq: s.Seq, Flags: wire.SYN}
			f.At = 1e9
			tab.Outgoing(&f, &seg)
			seg = answer(x, s, wire.SYN|wire.ACK)
			f.At = 2e9
			tab.Incoming(&f, &seg)
		}
		if x.Ill() {
			t.Fatal("ill")
		}
		tab.Close(x)
	}
}

func TestHealthyBurstsAllocateNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, healthyBursts(t)); n != 0 {
		t.Errorf("%v allocations a burst of ten", n)
	}
}

func BenchmarkHealthyBurst(b *testing.B) {
	burst := healthyBursts(b)
	b.ReportAllocs()
	for b.Loop() {
		burst()
	}
}
