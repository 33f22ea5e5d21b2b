package wires

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// The two ends of the conversations below; the wire belongs to the server.
func client() netip.AddrPort { return netip.MustParseAddrPort("10.0.0.1:4000") }
func server() netip.AddrPort { return netip.MustParseAddrPort("10.0.0.9:80") }

// packet makes a segment of the client (In) or the server (Out).
func packet(dir Direction, f wire.Flags, edit func(*wire.Segment)) Packet {
	s := wire.Segment{Src: client(), Dst: server(), Seq: 100, Flags: f, HopLimit: 64, Window: 1000, DF: true}
	if dir == Out {
		s.Src, s.Dst = s.Dst, s.Src
	}
	if edit != nil {
		edit(&s)
	}
	frame := make([]byte, ethernetHeader+s.Size())
	copy(frame, []byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00})
	if s.Src.Addr().Is6() {
		frame[12], frame[13] = 0x86, 0xdd
	}
	if _, err := s.Encode(frame[ethernetHeader:]); err != nil {
		panic(err)
	}
	return Read(dir, frame)
}

func port(p uint16) func(*wire.Segment) {
	return func(s *wire.Segment) { s.Src = netip.AddrPortFrom(s.Src.Addr(), p) }
}

// passed is the one packet that a stage lets go at once, or nil.
func passed(t *testing.T, s Stage, now time.Time, p Packet) *Packet {
	t.Helper()
	ds := s.Pass(now, p)
	if len(ds) == 0 {
		return nil
	}
	if len(ds) > 1 || !ds[0].At.Equal(now) {
		t.Fatalf("left as %v", ds)
	}
	return &ds[0].Packet
}

func TestPortReuseCostsExactlyTheFirstSYN(t *testing.T) {
	r := &PortReuse{Holds: 120 * time.Second}
	now := time.Unix(0, 0)
	for _, step := range []struct {
		story string
		after time.Duration
		p     Packet
		want  bool
	}{
		{"first use", 0, packet(In, wire.SYN, nil), true},
		{"its end", 0, packet(In, wire.FIN|wire.ACK, nil), true},
		{"the other side's end", 0, packet(Out, wire.FIN|wire.ACK, nil), true},
		{"another port", time.Second, packet(In, wire.SYN, port(4001)), true},
		{"reused within two minutes", time.Second, packet(In, wire.SYN, nil), false},
		{"its repeat", time.Second, packet(In, wire.SYN, nil), true},
		{"its end", 0, packet(Out, wire.RST, nil), true},
		{"reused after two minutes", 121 * time.Second, packet(In, wire.SYN, nil), true},
	} {
		now = now.Add(step.after)
		if got := passed(t, r, now, step.p) != nil; got != step.want {
			t.Errorf("%s: let through %v, want %v", step.story, got, step.want)
		}
	}
}

func TestExpireResetsOnlyWhoWasNotAnswered(t *testing.T) {
	l := NewLine(&Expire{After: 15 * time.Second})
	start := time.Unix(0, 0)
	l.Push(start, packet(In, wire.SYN, nil))
	l.Push(start, packet(In, wire.SYN, port(4001)))
	l.Push(start.Add(time.Second), packet(In, wire.SYN, nil)) // a repeat does not extend it
	l.Push(start.Add(2*time.Second), packet(Out, wire.SYN|wire.ACK, func(s *wire.Segment) { s.Dst = netip.AddrPortFrom(s.Dst.Addr(), 4001) }))
	if n := len(l.Advance(start.Add(14 * time.Second))); n != 4 {
		t.Fatalf("%d packets passed before the expiry, want 4", n)
	}
	got := l.Advance(start.Add(20 * time.Second))
	if len(got) != 1 {
		t.Fatalf("%d packets at the expiry, want one RST", len(got))
	}
	s := got[0].Seg
	if s.Flags != wire.RST|wire.ACK || s.Dst != client() || s.Src != server() || s.Ack != 101 || got[0].Dir != Out || s.Checksum != wire.ChecksumGood {
		t.Errorf("got %+v", s)
	}
	if want := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}; !slices.Equal(got[0].Frame[:12], want) {
		t.Errorf("sent from and to % x", got[0].Frame[:12])
	}
	if _, more := l.Next(); more {
		t.Error("something is still due")
	}
}

func TestClashSparesPacedConnections(t *testing.T) {
	always := func() bool { return true }
	c := &Clash{Within: 2 * time.Millisecond, Lost: always}
	now := time.Unix(0, 0)
	for i := range 5 {
		now = now.Add(100 * time.Millisecond)
		if passed(t, c, now, packet(In, wire.SYN, port(uint16(5000+i)))) == nil {
			t.Errorf("paced connection %d lost its SYN", i)
		}
	}
	now = now.Add(time.Millisecond)
	if passed(t, c, now, packet(In, wire.SYN, port(6000))) != nil {
		t.Error("the SYN behind another was not lost")
	}
	if passed(t, c, now.Add(time.Second), packet(In, wire.SYN, port(6000))) == nil {
		t.Error("its repeat was lost as well")
	}
}

func stamps(val, ecr wire.TSval) func(*wire.Segment) {
	return func(s *wire.Segment) {
		s.Options.AppendMSS(1460).Append(wire.OptSACKPermitted).AppendTimestamps(val, ecr).Append(wire.OptNOP).Append(wire.OptWindowScale, 7)
	}
}

func TestStripLeavesTheOtherOptionsInPlace(t *testing.T) {
	got := passed(t, StripTimestamps(SYN), time.Time{}, packet(In, wire.SYN, stamps(5, 0)))
	o := got.Seg.Options
	if _, _, ok := o.Timestamps(); ok || o.Len() != 20 {
		t.Errorf("timestamps %v, %d octets", ok, o.Len())
	}
	mss, _ := o.MSS()
	scale, _ := o.WindowScale()
	if mss != 1460 || scale != 7 || !o.SACKPermitted() || got.Seg.Checksum != wire.ChecksumGood {
		t.Errorf("after stripping: %+v", got.Seg)
	}
	if p := packet(Out, wire.SYN|wire.ACK, stamps(5, 6)); passed(t, StripTimestamps(SYN), time.Time{}, p).Seg.Options != p.Seg.Options {
		t.Error("the SYN-ACK was changed")
	}
}

// Whatever the clocks: behind Clock the world sees val+by, and the host gets its own value back as echo.
func TestClockIsInvisibleFromBothSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.Int64Range(-1<<32, 1<<32).Draw(t, "by")
		val := wire.TSval(rapid.Uint32().Draw(t, "val"))
		s := Clock(by)
		out := s.Pass(time.Time{}, packet(Out, wire.SYN, stamps(val, 0)))[0].Packet
		seen, ecr, _ := out.Seg.Options.Timestamps()
		if seen != val.Add(by) || ecr != 0 {
			t.Fatalf("left as val %d ecr %d", seen, ecr)
		}
		back := s.Pass(time.Time{}, packet(In, wire.SYN|wire.ACK, stamps(77, seen)))[0].Packet
		if theirs, echo, _ := back.Seg.Options.Timestamps(); echo != val || theirs != 77 {
			t.Fatalf("came back as val %d ecr %d, want 77 and %d", theirs, echo, val)
		}
	})
}

func TestOneClockJoinsTwoClients(t *testing.T) {
	began := time.Unix(1000, 0)
	o := &OneClock{Port: 80, Clock: func(now time.Time) wire.TSval { return wire.TSval(5_000_000).Add(now.Sub(began).Milliseconds()) }}
	// The wire is the balancer's: its own connections go Out to port 80.
	out := func(p uint16, val wire.TSval, f wire.Flags) Packet {
		return packet(Out, f, func(s *wire.Segment) {
			stamps(val, 0)(s)
			s.Src, s.Dst = netip.AddrPortFrom(s.Src.Addr(), p), server()
		})
	}
	val := func(p *Packet) wire.TSval { v, _, _ := p.Seg.Options.Timestamps(); return v }
	if got := val(passed(t, o, began, out(4000, 900_000_000, wire.SYN))); got != 5_000_000 {
		t.Errorf("first client: %d", got)
	}
	if got := val(passed(t, o, began.Add(time.Second), out(4001, 1, wire.SYN))); got != 5_001_000 {
		t.Errorf("second client, a second later: %d", got)
	}
	if got := val(passed(t, o, began.Add(2*time.Second), out(4001, 1001, wire.SYN))); got != 5_002_000 {
		t.Errorf("its repeated SYN: %d", got)
	}
	// A segment that shows how late the SYN of the first had been, and a third client right behind it.
	ahead := val(passed(t, o, began.Add(2*time.Second), out(4000, 900_002_050, wire.ACK)))
	if got := val(passed(t, o, began.Add(2*time.Second), out(4002, 7, wire.SYN))); got.Before(ahead) {
		t.Errorf("third client: %d, behind %d", got, ahead)
	}
	answer := packet(In, wire.SYN|wire.ACK, func(s *wire.Segment) {
		stamps(3, 5_001_000)(s)
		s.Src, s.Dst = server(), netip.AddrPortFrom(server().Addr(), 4001)
	})
	if _, echo, _ := passed(t, o, began.Add(2*time.Second), answer).Seg.Options.Timestamps(); echo != 1 {
		t.Errorf("echo to the second client: %d, want 1", echo)
	}
}

// Whatever is on the wire, reading and editing it neither panics nor breaks a checksum.
func TestEditingKeepsChecksumsGood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		six := rapid.Bool().Draw(t, "six")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "payload")
		p := packet(In, wire.Flags(rapid.Uint8().Draw(t, "flags")), func(s *wire.Segment) {
			if six {
				s.Src, s.Dst = netip.MustParseAddrPort("[fd00::1]:4000"), netip.MustParseAddrPort("[fd00::9]:80")
			}
			stamps(wire.TSval(rapid.Uint32().Draw(t, "val")), 9)(s)
			s.Payload, s.Length = payload, len(payload)
		})
		got := ClampMSS(700, Any).Pass(time.Time{}, p)[0].Packet
		if mss, _ := got.Seg.Options.MSS(); mss != 700 || got.Seg.Checksum != wire.ChecksumGood || !slices.Equal(got.Seg.Payload, payload) {
			t.Fatalf("after the edit: %+v", got.Seg)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add(packet(In, wire.SYN, stamps(1, 2)).Frame, true)
	f.Add(packet(Out, wire.FIN|wire.ACK, nil).Frame, false)
	f.Fuzz(func(_ *testing.T, frame []byte, in bool) {
		dir := Out
		if in {
			dir = In
		}
		l := NewLine(&Recycle{}, &PortReuse{}, &Expire{After: time.Second}, Clock(5), StripTimestamps(Any), &Clash{Lost: func() bool { return false }})
		now := time.Unix(0, 0)
		l.Push(now, Read(dir, frame))
		l.Advance(now.Add(time.Minute))
	})
}
