package fakenet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// reuse meets a TIME_WAIT bucket that expects sequence numbers above or below ours, with a TSval of 1000.
func reuse(val wire.TSval, ts, higher bool) (*fakenet.World, observe.Attempt) {
	w := fakenet.Clean(1)
	src := netip.AddrPortFrom(w.Client.Source, 26500)
	b := raws(w, 1, script(val, plan.Ignore), 900*time.Millisecond)
	if !ts {
		b.Arms[0].Script.Options = wire.LinuxSYNWithoutTimestamps(1460, 7)
	}
	b.Arms[0].Script.Ladder = plan.Custom(0, 50*time.Millisecond, 700*time.Millisecond)
	b.Shots[0].Flow.Src = src
	// The ISS is the world's first draw; the same world shows it beforehand.
	iss := w.Run(b).Attempts[0].ISS
	w = fakenet.Clean(1)
	next := iss + 1000
	if higher {
		next = iss - 1000
	}
	w.Hosts[0].Occupy(w, wire.Flow{Src: src, Dst: w.Target}, next, 1000)
	return w, w.Run(b).Attempts[0]
}

// FAULTS.md §2, seen on 6.18: TS lower → bare ACK, an immediate repeat silent; TS higher → SYN-ACK; equal or none → by sequence number.
func TestTimeWait(t *testing.T) {
	for _, c := range []struct {
		story      string
		val        wire.TSval
		ts, higher bool
		want       observe.AnswerKind
	}{
		{"TS lower, seq higher", 999, true, true, observe.BareACK},
		{"TS lower, seq lower", 999, true, false, observe.BareACK},
		{"TS zero, seq higher", 0, true, true, observe.BareACK},
		{"TS higher, seq higher", 1001, true, true, observe.SYNACK},
		{"TS higher, seq lower", 1001, true, false, observe.SYNACK},
		{"TS equal, seq higher", 1000, true, true, observe.SYNACK},
		{"TS equal, seq lower", 1000, true, false, observe.BareACK},
		{"no TS, seq higher", 0, false, true, observe.SYNACK},
		{"no TS, seq lower", 0, false, false, observe.BareACK},
	} {
		_, a := reuse(c.val, c.ts, c.higher)
		if len(a.Answers) == 0 || a.Answers[0].Kind != c.want {
			t.Errorf("%s: %v, want %s first", c.story, kinds(a), c.want)
			continue
		}
		if c.want == observe.BareACK && len(a.Answers) != 2 {
			t.Errorf("%s: %v, want one ACK to the first SYN, none 50 ms later, one 700 ms later", c.story, kinds(a))
		}
	}
}

// The kernel resets the bare ACK, which ends TIME_WAIT, and is connected at its retry some milliseconds later.
func TestKernelMeetsTimeWait(t *testing.T) {
	w := fakenet.Clean(1)
	b := connects(w, 1, 5*time.Second)
	b.Shots[0].Flow.Src = netip.AddrPortFrom(w.Client.Source, 26500)
	w.Hosts[0].Occupy(w, wire.Flow{Src: b.Shots[0].Flow.Src, Dst: w.Target}, 1, w.Client.Clock.At(time.Hour, wire.Flow{
		Src: b.Shots[0].Flow.Src, Dst: w.Target}))
	a := w.Run(b).Attempts[0]
	if a.Outcome != observe.Accepted || !has(a, observe.BareACK) || a.Kernel.Info.TotalRetrans != 1 || a.Handshake > 50*time.Millisecond {
		t.Errorf("%s after %s, %v, %d repeats", a.Outcome, a.Handshake, kinds(a), a.Kernel.Info.TotalRetrans)
	}
}

// Few SNAT ports, freed sooner than the server forgets them.
func TestTimeWaitThroughSNAT(t *testing.T) {
	w := fakenet.TimeWaitReuse(1, 4)
	collisions := 0
	for range 12 {
		o := w.Run(connects(w, 1, 4*time.Second))
		if has(o.Attempts[0], observe.BareACK) {
			collisions++
		}
		w.Wait(12 * time.Second)
	}
	if collisions == 0 {
		t.Error("no bare ACK in 12 connects through 4 ports")
	}
}

func TestPortReuse(t *testing.T) {
	w := fakenet.ReusedPort(1)
	b := connects(w, 1, 5*time.Second)
	b.Shots[0].Flow.Src = netip.AddrPortFrom(w.Client.Source, 26500)
	var repeats []int
	for range 3 {
		repeats = append(repeats, w.Run(b).Attempts[0].Retransmissions)
	}
	w.Wait(121 * time.Second)
	repeats = append(repeats, w.Run(b).Attempts[0].Retransmissions)
	if repeats[0] != 0 || repeats[1] != 1 || repeats[2] != 1 || repeats[3] != 0 {
		t.Errorf("repeats %v, want the first SYN of a reused port lost and no other", repeats)
	}
}
