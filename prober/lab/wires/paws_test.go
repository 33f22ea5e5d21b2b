package wires

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// talk plays the segments of one connection through a Recycle. The client's are In.
type talk struct {
	r              *Recycle
	now            time.Time
	client, server netip.AddrPort
}

func newTalk(r *Recycle) *talk {
	return &talk{r, time.Unix(1_000_000, 0), netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("10.0.0.9:80")}
}

// say plays one segment and reports whether it went through. tsval 0 means without timestamps.
func (k *talk) say(dir Direction, f wire.Flags, seq, ack wire.Seq, tsval wire.TSval) bool {
	s := wire.Segment{Src: k.client, Dst: k.server, Seq: seq, Ack: ack, Flags: f, HopLimit: 64}
	if dir == Out {
		s.Src, s.Dst = s.Dst, s.Src
	}
	if tsval != 0 {
		s.Options.AppendTimestamps(tsval, 0)
	}
	frame := make([]byte, ethernetHeader+s.Size())
	frame[12], frame[13] = 0x08, 0x00
	if _, err := s.Encode(frame[ethernetHeader:]); err != nil {
		panic(err)
	}
	return len(k.r.Pass(k.now, Read(dir, frame))) == 1
}

// open plays a handshake with the client's clock at val.
func (k *talk) open(val wire.TSval) {
	serverVal := wire.TSval(7)
	if val == 0 {
		serverVal = 0
	}
	k.say(In, wire.SYN, 100, 0, val)
	k.say(Out, wire.SYN|wire.ACK, 500, 101, serverVal)
	k.say(In, wire.ACK, 101, 501, val)
}

// syn reports whether a SYN from a fresh port with that clock is let through.
func (k *talk) syn(val wire.TSval) bool {
	k.client = netip.AddrPortFrom(k.client.Addr(), k.client.Port()+1)
	return k.say(In, wire.SYN, 9000, 0, val)
}

const fin = wire.FIN | wire.ACK

// The cases seen on 3.10.0-1160 and 2.6.32-431. Clocks: 1000 in the handshake, 1010 where the closing begins, 1020 at its end.
func TestRecycleRemembersWhatOldKernelsRemember(t *testing.T) {
	for _, c := range []struct {
		story string
		close func(k *talk)
		want  wire.TSval // 0: nothing
	}{
		{"server closes first, full close", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, wire.ACK, 101, 502, 1010)
			k.say(In, fin, 101, 502, 1020)
			k.say(Out, wire.ACK, 502, 102, 9)
		}, 1020},
		{"server closes first, one FIN-ACK answers", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, fin, 101, 502, 1010)
			k.say(Out, wire.ACK, 502, 102, 9)
		}, 1010},
		{"server's FIN acknowledged, client never closes", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, wire.ACK, 101, 502, 1010)
		}, 1010},
		{"the same, then RST", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, wire.ACK, 101, 502, 1010)
			k.say(In, wire.RST|wire.ACK, 101, 502, 1020)
		}, 1010},
		{"both close at once", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, fin, 101, 501, 1010)
			k.say(Out, wire.ACK, 502, 102, 9)
			k.say(In, wire.ACK, 102, 502, 1020)
		}, 1020},
		{"client closes first", func(k *talk) {
			k.say(In, fin, 101, 501, 1010)
			k.say(Out, fin, 501, 102, 8)
			k.say(In, wire.ACK, 102, 502, 1020)
		}, 0},
		{"client closes first, server's FIN later", func(k *talk) {
			k.say(In, fin, 101, 501, 1010)
			k.say(Out, wire.ACK, 501, 102, 8)
			k.say(Out, fin, 501, 102, 9)
			k.say(In, wire.ACK, 102, 502, 1020)
		}, 0},
		{"server's FIN unanswered", func(k *talk) { k.say(Out, fin, 501, 101, 8) }, 0},
		{"server's FIN answered by RST", func(k *talk) {
			k.say(Out, fin, 501, 101, 8)
			k.say(In, wire.RST, 101, 0, 1010)
		}, 0},
		{"client aborts", func(k *talk) { k.say(In, wire.RST|wire.ACK, 101, 501, 1010) }, 0},
		{"server aborts", func(k *talk) { k.say(Out, wire.RST|wire.ACK, 501, 101, 8) }, 0},
		{"established", func(*talk) {}, 0},
	} {
		t.Run(c.story, func(t *testing.T) {
			k := newTalk(&Recycle{NoTS: NoTSAccepted})
			k.open(1000)
			c.close(k)
			got, ok := k.r.Remembered(k.now, k.client.Addr())
			if got != c.want || ok != (c.want != 0) {
				t.Errorf("remembers %d, %v; want %d", got, ok, c.want)
			}
		})
	}
}

func serverCloses(k *talk, val wire.TSval) {
	k.say(Out, fin, 501, 101, 8)
	k.say(In, fin, 101, 502, val)
}

func TestRecycleNothingWithoutTimestamps(t *testing.T) {
	k := newTalk(&Recycle{})
	k.open(0)
	serverCloses(k, 0)
	if _, ok := k.r.Remembered(k.now, k.client.Addr()); ok {
		t.Error("remembered a connection without timestamps")
	}
}

// As measured there with T recorded; every SYN from a port of its own.
func TestRecycleRefusesByOneTick(t *testing.T) {
	const T = wire.TSval(517740536)
	for _, c := range []struct {
		story string
		val   wire.TSval
		after time.Duration
		want  bool
	}{
		{"T−100000", T - 100000, 0, false},
		{"T−2", T - 2, 0, false},
		{"T−1", T - 1, 0, true},
		{"T", T, 0, true},
		{"T+1", T + 1, 0, true},
		{"T+100000", T + 100000, 0, true},
		{"T+2³¹+5", T.Add(1<<31 + 5), 0, false},
		{"T+2³¹−5", T.Add(1<<31 - 5), 0, true},
		{"T−2 at 59 s", T - 2, 59 * time.Second, false},
		{"T−2 at 60 s", T - 2, 60 * time.Second, true},
		{"the SYN of the CAL incident", 481284815, 42 * time.Second, false},
	} {
		k := newTalk(&Recycle{NoTS: NoTSAccepted})
		k.open(T)
		serverCloses(k, T)
		k.now = k.now.Add(c.after)
		if got := k.syn(c.val); got != c.want {
			t.Errorf("%s: let through %v, want %v", c.story, got, c.want)
		}
		if want := map[bool]int{false: 1, true: 0}[c.want]; k.r.Drops() != want {
			t.Errorf("%s: counted %d drops, want %d", c.story, k.r.Drops(), want)
		}
	}
}

func TestRecycleControls(t *testing.T) {
	k := newTalk(&Recycle{NoTS: NoTSDropped, Ports: []uint16{80, 81}})
	k.open(1000)
	serverCloses(k, 1000)
	k.server = netip.AddrPortFrom(k.server.Addr(), 81)
	if k.syn(900) {
		t.Error("another open port answered")
	}
	if k.syn(0) {
		t.Error("a SYN without timestamps was let through where they are dropped")
	}
	k.server = netip.AddrPortFrom(k.server.Addr(), 99)
	if !k.syn(900) {
		t.Error("a closed port was silent")
	}
	k.server = netip.AddrPortFrom(k.server.Addr(), 80)
	k.client = netip.MustParseAddrPort("10.0.0.2:4000")
	if !k.syn(900) {
		t.Error("another source address was refused")
	}
	if !k.syn(0) {
		t.Error("another source address was refused without timestamps")
	}
}

func TestRecycleKeepsTheNewestUntilItIsOld(t *testing.T) {
	k := newTalk(&Recycle{})
	next := func(val wire.TSval) wire.TSval {
		k.client = netip.AddrPortFrom(k.client.Addr(), k.client.Port()+1)
		k.open(val)
		serverCloses(k, val)
		got, _ := k.r.Remembered(k.now, k.client.Addr())
		return got
	}
	if got := next(5000); got != 5000 {
		t.Errorf("first: %d", got)
	}
	if got := next(6000); got != 6000 {
		t.Errorf("a later value did not raise it: %d", got)
	}
	if got := next(5999); got != 6000 {
		t.Errorf("one tick lower moved it: %d", got)
	}
	k.now = k.now.Add(61 * time.Second)
	if got := next(100); got != 100 {
		t.Errorf("not replaced once old: %d", got)
	}
}

func TestRecycleLetsALiveTimeWaitAnswer(t *testing.T) {
	k := newTalk(&Recycle{})
	k.open(1000)
	serverCloses(k, 1000)
	if !k.say(In, wire.SYN, 9000, 0, 900) {
		t.Error("the SYN on the flow in TIME_WAIT never reached the server")
	}
	k.now = k.now.Add(time.Second)
	k2 := *k
	if k2.say(In, wire.SYN, 9999, 0, 900) {
		t.Error("after TIME_WAIT the rule did not apply")
	}
}

// Whatever the values: refused if and only if the remembered one is ahead by more than a tick on the circle, within 60 s.
func TestRecycleRuleHoldsOnTheWholeCircle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		known := wire.TSval(rapid.Uint32Min(1).Draw(t, "remembered"))
		val := wire.TSval(rapid.Uint32Min(1).Draw(t, "syn"))
		age := rapid.IntRange(0, 120).Draw(t, "age")
		k := newTalk(&Recycle{})
		k.r.Remember(k.now, k.client.Addr(), known)
		k.now = k.now.Add(time.Duration(age) * time.Second)
		ahead := int32(uint32(known) - uint32(val))
		if got, want := k.syn(val), !(age < 60 && ahead > 1); got != want {
			t.Fatalf("let through %v, want %v", got, want)
		}
	})
}
