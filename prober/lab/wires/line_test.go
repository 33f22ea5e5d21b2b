package wires

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// numbered is a frame that is no IP, with a number inside.
func numbered(dir Direction, i int) Packet {
	frame := make([]byte, 20)
	binary.BigEndian.PutUint16(frame[14:], uint16(i))
	return Read(dir, frame)
}

func number(p Packet) int { return int(binary.BigEndian.Uint16(p.Frame[14:])) }

func numbers(ps []Packet) []int {
	var out []int
	for _, p := range ps {
		out = append(out, number(p))
	}
	return out
}

func TestDelayKeepsTheOrderWhateverTheJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := time.Duration(rapid.IntRange(0, 1000).Draw(t, "by")) * time.Millisecond
		jitter := time.Duration(rapid.IntRange(0, 1000).Draw(t, "jitter")) * time.Millisecond
		gaps := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 40).Draw(t, "gaps")
		l := NewLine(Delay(by, jitter, Random(rapid.Uint64().Draw(t, "seed")), Any))
		now := time.Unix(0, 0)
		var out []Packet
		var sent []time.Time
		for i, g := range gaps {
			now = now.Add(time.Duration(g) * time.Millisecond)
			l.Push(now, numbered(In, i))
			sent = append(sent, now)
			out = append(out, l.Advance(now)...)
		}
		for at, ok := l.Next(); ok; at, ok = l.Next() {
			for _, p := range l.Advance(at) {
				if late := at.Sub(sent[number(p)]); late < by {
					t.Fatalf("packet %d left after %v, before %v", number(p), late, by)
				}
				out = append(out, p)
			}
		}
		if got := numbers(out); !slices.IsSorted(got) || len(got) != len(gaps) {
			t.Fatalf("left as %v", got)
		}
	})
}

func TestLineMeetsStagesInTheDirectionOfThePacket(t *testing.T) {
	var met []string
	stage := func(name string) Stage {
		return Func(func(now time.Time, p Packet) []Departure {
			met = append(met, name+" "+p.Dir.String())
			return pass(now, p)
		})
	}
	l := NewLine(stage("outer"), stage("inner"))
	now := time.Unix(0, 0)
	l.Push(now, numbered(In, 1))
	l.Advance(now)
	l.Push(now, numbered(Out, 2))
	l.Advance(now)
	if want := []string{"outer in", "inner in", "inner out", "outer out"}; !slices.Equal(met, want) {
		t.Errorf("met %v, want %v", met, want)
	}
}

func TestHoldLetsOthersOvertake(t *testing.T) {
	l := NewLine(Hold(time.Second, EveryNth(2, Any)))
	now := time.Unix(0, 0)
	for i := range 4 {
		l.Push(now, numbered(In, i))
	}
	if got := numbers(l.Advance(now)); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("at once: %v", got)
	}
	if got := numbers(l.Advance(now.Add(time.Second))); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("after the hold: %v", got)
	}
}

func TestLossAndCopiesFollowTheirSeed(t *testing.T) {
	run := func(seed uint64) []int {
		l := NewLine(Lose(0.3, Random(seed), Any), Duplicate(0.2, Random(seed+1), Any))
		now := time.Unix(0, 0)
		for i := range 1000 {
			l.Push(now, numbered(In, i))
		}
		return numbers(l.Advance(now))
	}
	a, b, c := run(1), run(1), run(2)
	if !slices.Equal(a, b) {
		t.Error("one seed, two outcomes")
	}
	if slices.Equal(a, c) {
		t.Error("two seeds, one outcome")
	}
	if n := len(slices.Compact(slices.Clone(a))); n < 640 || n > 760 {
		t.Errorf("%d of 1000 survived a loss of 30 %%", n)
	}
	if n := len(a) - len(slices.Compact(slices.Clone(a))); n < 90 || n > 190 {
		t.Errorf("%d of some 700 came twice at 20 %%", n)
	}
}

func TestOvertakenIsLetGoBehindItsCopy(t *testing.T) {
	now := time.Unix(0, 0)
	at := func(p Packet, seq wire.Seq) Packet { return p.Edited(func(s *wire.Segment) { s.Seq = seq }) }
	data := packet(Out, wire.ACK, nil)
	o := &Overtaken{M: Any, Most: 3 * time.Second}
	if got := o.Pass(now, data); got != nil {
		t.Fatalf("the first left as %v", got)
	}
	if p := passed(t, o, now, at(data, 200)); p == nil {
		t.Error("another segment of the flow was kept")
	}
	got := o.Pass(now.Add(time.Second), data)
	if len(got) != 2 || !got[1].At.Equal(now.Add(time.Second)) {
		t.Errorf("behind its copy it left as %v", got)
	}
	if at, ok := o.Wake(); ok {
		t.Errorf("wakes at %s for nothing", at)
	}
	if p := passed(t, o, now, data); p == nil {
		t.Error("a second copy was kept")
	}
	o = &Overtaken{M: Any, Most: 3 * time.Second}
	o.Pass(now, data)
	if at, ok := o.Wake(); !ok || !at.Equal(now.Add(3*time.Second)) || len(o.Fire(at)) != 1 {
		t.Errorf("without a copy it is due at %s, %t", at, ok)
	}
}

// A packet that its reader brings late takes part as of when it came, but time on the line never goes back.
func TestLatePacketsCountFromWhenTheyCame(t *testing.T) {
	c := &Clash{Within: 2 * time.Millisecond, Lost: func() bool { return true }}
	l := NewLine(c, Delay(10*time.Millisecond, 0, nil, Any))
	start := time.Unix(0, 0)
	for i := range 3 { // 4 ms apart, read all at once 50 ms later
		l.Push(start.Add(time.Duration(i)*4*time.Millisecond), packet(In, wire.SYN, port(uint16(5000+i))))
	}
	if n := len(l.Advance(start.Add(50 * time.Millisecond))); n != 3 {
		t.Errorf("%d of 3 SYNs that came 4 ms apart left at once, 50 ms later; want all", n)
	}
	l.Push(start.Add(5*time.Millisecond), packet(In, wire.SYN, port(6000))) // as of 18 ms, when the last of the three left
	if at, ok := l.Next(); !ok || !at.Equal(start.Add(18*time.Millisecond)) {
		t.Errorf("a packet from before what the line has done is due at %v, %v", at.Sub(start), ok)
	}
}
