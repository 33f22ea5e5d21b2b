package handshake

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func anyScript(t *rapid.T) plan.Script {
	delay := rapid.SampledFrom([]time.Duration{0, 10 * ms, 700 * ms})
	s := plan.Script{
		Ladder:   rapid.SampledFrom([]plan.Ladder{{}, plan.Single(), plan.Linear(time.Second, 4, 6), plan.Exponential(time.Second, 3)}).Draw(t, "ladder"),
		OnSYNACK: rapid.SampledFrom([]plan.Reaction{plan.Reset, plan.Acknowledge, plan.Ignore}).Draw(t, "reaction"),
		Persist:  rapid.Bool().Draw(t, "persist"), Undeterred: rapid.Bool().Draw(t, "undeterred"),
		Then: plan.Exchange{
			Data:       rapid.SampledFrom([][]byte{nil, []byte("hello")}).Draw(t, "data"),
			DataDelay:  delay.Draw(t, "data delay"),
			Close:      rapid.SampledFrom([]plan.Closing{plan.Abort, plan.CloseFirst, plan.WaitForPeer}).Draw(t, "close"),
			CloseDelay: delay.Draw(t, "close delay"),
			AckDelay:   delay.Draw(t, "ACK delay"),
			Alive:      rapid.Bool().Draw(t, "alive"),
			Withhold:   rapid.Bool().Draw(t, "withhold"),
			Selective:  rapid.SampledFrom([]*plan.Selective{nil, nil, {Segments: 3, Size: 2, Delay: 100 * ms, Wait: 10 * ms}}).Draw(t, "selective"),
			Holed:      rapid.SampledFrom([]*plan.Holed{nil, nil, {Segments: 3, Size: 2, Gap: ms}}).Draw(t, "holed"),
		},
	}
	if rapid.Bool().Draw(t, "timestamps") {
		s.Options = wire.LinuxSYN(1460, 0, 7)
	}
	return s
}

// anySegment is one of a peer that may be honest, lost or hostile.
func anySegment(t *rapid.T) *wire.Segment {
	near := rapid.OneOf(rapid.IntRange(-2, 9), rapid.SampledFrom([]int{window - 1, window, window + 1, 1 << 30, -1 << 31}))
	flags := rapid.SampledFrom([]wire.Flags{wire.SYN | wire.ACK, wire.ACK, wire.ACK | wire.PSH, wire.ACK | wire.FIN, wire.RST, wire.RST | wire.ACK, wire.SYN,
		wire.FIN, 0, wire.SYN | wire.FIN | wire.RST | wire.ACK})
	s := from(flags.Draw(t, "flags"), near.Draw(t, "seq"), near.Draw(t, "ack"), rapid.SampledFrom([]string{"", "x", "world"}).Draw(t, "payload"))
	if rapid.Bool().Draw(t, "has timestamps") {
		s.Options.AppendTimestamps(wire.TSval(rapid.Uint32().Draw(t, "val")), 0)
	}
	return s
}

// honest reports whether a segment can be the answer of the peer whom our SYN reached: it acknowledges something that we sent.
func honest(c *Conn, seg *wire.Segment) bool {
	return seg.Flags&wire.ACK != 0 && seg.Ack.Sub(iss+1) >= 0 && seg.Ack.Sub(c.sndNxt) <= 0
}

// maxSends is how many segments one segment of the peer's may draw: an acknowledgment and the next step of the exchange, which may be two where
// the connection is shown to be alive before it is closed.
func maxSends(script *plan.Script) int {
	if script.Then.Alive {
		return 3
	}
	return 2
}

func TestNothingForeignIsEverAnswered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		script := anyScript(t)
		c := New(&script, iss)
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += rapid.SampledFrom([]time.Duration{0, ms, 300 * ms, 2 * time.Second}).Draw(t, "wait")
			if rapid.Bool().Draw(t, "time passes") {
				check(t, &script, c.Step(now, nil, nil))
				continue
			}
			seg := anySegment(t)
			mayAnswer := honest(&c, seg) && c.State() != Unsent
			was := c.State()
			got := c.Step(now, seg, nil)
			check(t, &script, got)
			switch {
			case len(got) > 0 && !mayAnswer:
				t.Fatalf("in %s %s drew %s", was, seg, show(&got[0]))
			case len(got) > maxSends(&script):
				t.Fatalf("in %s %s drew %d segments", was, seg, len(got))
			case len(got) > 0 && seg.Flags&wire.RST != 0:
				t.Fatalf("an RST was answered: %s", show(&got[0]))
			case len(got) > 0 && (was == SynSent || was >= Reset) && !seg.Flags.Has(wire.SYN|wire.ACK):
				t.Fatalf("in %s a segment without SYN drew %s", was, show(&got[0]))
			}
		}
		check(t, &script, c.Stop(now, nil))
		if !c.Settled() || len(c.Stop(now, nil)) > 0 {
			t.Fatalf("not at an end after Stop: %s", c.State())
		}
		if got := c.Step(now+time.Hour, nil, nil); len(got) > 0 {
			t.Fatalf("sends after the end: %v", got)
		}
	})
}

// check holds every segment to what a connection may send: our own numbers, no SYN beyond the ladder, no timestamps unasked.
func check(t *rapid.T, script *plan.Script, sends []Send) {
	_, _, ts := script.Options.Timestamps()
	for i := range sends {
		s := &sends[i]
		last := 2 + len(script.Then.Data)
		if h := script.Then.Holed; h != nil {
			n, size := h.Payload()
			last = max(last, 2+(n+1)*size) // the hole in front is as long as a segment
		}
		switch {
		case s.Seq.Sub(iss) < 0 || s.Seq.Sub(iss) > int32(last):
			t.Fatalf("sequence number out of ours: %s", show(s))
		case s.HasTS && !ts:
			t.Fatalf("timestamps never offered: %s", show(s))
		case (s.SYN >= 0) != (s.Flags == wire.SYN) || s.SYN >= max(1, len(script.Ladder.At)):
			t.Fatalf("SYN %d: %s", s.SYN, show(s))
		}
	}
}

// server is a peer that keeps to the protocol: it answers SYNs, takes data, closes when the client does or by itself.
type server struct {
	rcv, snd wire.Seq // next expected, next to send
	open     bool
	closes   bool // closes first
	fin, got bool
}

// take returns what the server answers to one segment of ours.
func (s *server) take(in *Send) []*wire.Segment {
	reply := func(f wire.Flags) *wire.Segment { return &wire.Segment{Flags: f, Seq: s.snd, Ack: s.rcv} }
	switch {
	case in.Flags == wire.SYN:
		s.rcv, s.snd = in.Seq+1, irs
		return []*wire.Segment{reply(wire.SYN | wire.ACK)}
	case in.Flags&wire.RST != 0:
		if in.Seq == s.rcv {
			s.open, s.got = false, true
		}
		return nil
	}
	if !s.open {
		s.open, s.snd = true, irs+1
	}
	var out []*wire.Segment
	if end := in.Seq.Add(len(in.Payload)); in.Seq == s.rcv && (len(in.Payload) > 0 || in.Flags&wire.FIN != 0) {
		s.rcv = end
		if in.Flags&wire.FIN != 0 {
			s.rcv, s.got = end+1, true
		}
		out = append(out, reply(wire.ACK))
	}
	if (s.closes || s.got) && !s.fin {
		s.fin = true
		out = append(out, reply(wire.ACK|wire.FIN))
		s.snd++
	}
	return out
}

// With an honest server that is sometimes deaf, every conversation reaches an end, and the server's side of it is ended too.
func TestEveryConversationEndsOnBothSides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		script := anyScript(t)
		if script.OnSYNACK == plan.Ignore {
			script.OnSYNACK = plan.Acknowledge
		}
		lossy := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 3).Draw(t, "lost segments of ours")
		c := New(&script, iss)
		srv := &server{closes: rapid.Bool().Draw(t, "server closes first")}
		now, n := time.Duration(0), 0
		deliver := func(sends []Send) (in []*wire.Segment) {
			for i := range sends {
				lost := slices.Contains(lossy, n) && sends[i].Flags&wire.RST == 0 // an RST is sent once: nothing can repeat it
				n++
				if !lost {
					in = append(in, srv.take(&sends[i])...)
				}
			}
			return in
		}
		queue := deliver(c.Step(now, nil, nil))
		for range 200 {
			if len(queue) > 0 {
				now += ms
				seg := queue[0]
				queue = append(queue[1:], deliver(c.Step(now, seg, nil))...)
				continue
			}
			next, armed := c.Next()
			if !armed {
				break
			}
			now = max(now, next)
			queue = deliver(c.Step(now, nil, nil))
		}
		lossy = nil
		deliver(c.Stop(now, nil))
		if !c.Settled() {
			t.Fatalf("ends in %s", c.State())
		}
		if srv.open && !srv.got {
			t.Fatalf("the server still has the connection; ours is %s", c.State())
		}
	})
}

func FuzzStep(f *testing.F) {
	f.Add([]byte("\x12\x00\x01\x00\x10\x01\x01\x05")) // SYN-ACK, then an ACK of data: the numbers are small distances
	f.Add([]byte("\x12\x00\x01\x00\x11\x01\x01\x00\x11\x01\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		script := plan.Script{OnSYNACK: plan.Reaction(1 + b[0]%3), Then: plan.Exchange{Close: plan.Closing(1 + b[0]/3%3)}, Ladder: plan.Linear(time.Second, 4, 6)}
		if b[0]&0x80 != 0 {
			script.Then.Data = []byte("hello")
		}
		c := New(&script, iss)
		c.Step(0, nil, nil)
		for now := ms; len(b) >= 4; b, now = b[4:], now+100*ms {
			seg := &wire.Segment{Flags: wire.Flags(b[0]), Seq: irs.Add(int(int8(b[1]))), Ack: iss.Add(int(int8(b[2]))), Length: int(b[3])}
			if n := len(c.Step(now, seg, nil)); n > maxSends(&script) {
				t.Fatalf("%s drew %d segments", seg, n)
			}
			c.Step(now, nil, nil)
		}
		c.Stop(time.Hour, nil)
		if !c.Settled() {
			t.Fatalf("not settled: %s", c.State())
		}
	})
}
