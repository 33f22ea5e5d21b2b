package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// overtaken is a flow of SYNs 200 ms apart, with TSvals 100, 300 and so on, of which one was answered at once (−1: none was), by a listener whose clock
// said 5000 at the first SYN; and a SYN-ACK that came after the burst.
func overtaken(syns, answered int, took time.Duration, val, echo wire.TSval) (*observe.Attempt, *observe.Belated) {
	const gap = 200 * time.Millisecond
	began := time.Unix(1000, 0)
	flow := wire.Flow{Src: netip.MustParseAddrPort("192.0.2.9:20000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	a := &observe.Attempt{Via: plan.Raw, Flow: flow, Outcome: observe.TimedOut, Answered: -1}
	for i := range syns {
		a.SYNs = append(a.SYNs, observe.SYN{At: began.Add(time.Duration(i) * gap), TSval: wire.TSval(100 + 200*i), HasTS: true})
	}
	if answered >= 0 {
		a.Outcome, a.Answered, a.Retransmissions = observe.Accepted, answered, syns-1
		at := time.Duration(syns-1) * gap
		a.Answers = []observe.Answer{{At: began.Add(at + time.Millisecond), Kind: observe.SYNACK, HasTS: true, TSval: wire.TSval(5000 + at.Milliseconds()),
			TSecr: a.SYNs[answered].TSval}}
	}
	return a, &observe.Belated{At: began.Add(took), Flow: flow, TSval: val, TSecr: echo, HasTS: true}
}

func TestWhatCameLateWasNotLost(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name           string
		syns, answered int
		took           time.Duration
		val, echo      wire.TSval
		want           bool
	}{
		{"an only SYN answered after 1.5 s", 1, -1, 1500 * ms, 5000, 100, true},
		{"near miss: when a listener repeats by itself", 1, -1, 1030 * ms, 6030, 100, false},
		{"near miss: its second repeat", 1, -1, 3100 * ms, 8100, 100, false},
		{"near miss: little later than the burst", 1, -1, 450 * ms, 5000, 100, false},
		{"near miss: the echo is of no SYN", 1, -1, 1500 * ms, 5000, 101, false},
		{"off the rungs of each of several SYNs", 3, -1, 1900 * ms, 5000, 100, true},
		{"near miss: on the rungs of the second", 3, -1, 1300 * ms, 6300, 100, false},
		{"sent before the answer that came", 2, 0, 1500 * ms, 5000, 100, true},
		{"near miss: sent after it", 2, 0, 1500 * ms, 6500, 100, false},
		{"its SYN came after the one that was answered", 2, 1, 1250 * ms, 6250, 100, true},
		{"near miss: on a rung, as of another listener", 2, 1, 1100 * ms, 6100, 100, false},
	} {
		a, b := overtaken(c.syns, c.answered, c.took, c.val, c.echo)
		if took, ok := cameLate(a, b, ms); ok != c.want || ok && took != c.took {
			t.Errorf("%s: %v after %s", c.name, ok, took)
		}
	}
}

func TestLateAnswersLeaveLossOpen(t *testing.T) {
	lost := []time.Duration{1200 * time.Millisecond, 1300 * time.Millisecond, 1400 * time.Millisecond, 1500 * time.Millisecond}
	for n, want := range map[int]Level{0: Confirmed, 2: Confirmed, 3: Inconclusive} {
		in := answeredAgain(swept(40, time.Millisecond, lost...), time.Millisecond)
		for i := range n {
			a, b := overtaken(1, -1, 1500*time.Millisecond, 5000, 100)
			port := netip.AddrPortFrom(a.Flow.Src.Addr(), uint16(20000+i))
			a.Flow.Src, b.Flow.Src = port, port
			in.Observations[0].Attempts = append(in.Observations[0].Attempts, *a)
			in.Observations[0].Belated = append(in.Observations[0].Belated, *b)
		}
		if f := lostBack(in); f.Level != want {
			t.Errorf("%d late: %s (settle: %s), want %s", n, f.Level, f.Settle, want)
		}
	}
}
