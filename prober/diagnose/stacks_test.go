package diagnose_test

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// TestStacks: of two stacks each has its flows, its losses and its round trips; one alone is none of several.
func TestStacks(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	flow := func(i int, ttl uint8, rtt time.Duration, lost int) observe.Attempt {
		at := start.Add(time.Duration(i) * time.Millisecond)
		return observe.Attempt{Via: plan.Raw, Outcome: observe.Accepted, Lost: lost, RTT: rtt, SYNs: []observe.SYN{{At: at, HasTS: true, TSval: wire.TSval(i)}},
			Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(rtt), HasTS: true, TSecr: wire.TSval(i), HopLimit: ttl}}}
	}
	stacks := func(list ...observe.Attempt) []diagnose.Stack {
		d := diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{{Kind: plan.KindSticky, Captured: true, Started: start, Finished: start.Add(time.Second), Attempts: list}}})
		return d.Stacks
	}
	got := stacks(flow(0, 64, time.Millisecond, 0), flow(1, 64, 3*time.Millisecond, 0), flow(2, 128, 9*time.Millisecond, 2), flow(3, 64, 2*time.Millisecond, 0),
		flow(4, 128, 7*time.Millisecond, 0))
	if len(got) != 2 {
		t.Fatalf("%d stacks, want 2: %+v", len(got), got)
	}
	if a := got[0]; a.Flows != 3 || a.Lost != 0 || a.Least != time.Millisecond || a.Median != 2*time.Millisecond || a.Most != 3*time.Millisecond {
		t.Errorf("first stack: %+v", a)
	}
	if b := got[1]; b.Flows != 2 || b.Lost != 2 || b.LossyFlows != 1 || b.Share.Low >= 0.4 || b.Share.High <= 0.4 {
		t.Errorf("second stack: %+v", b)
	}
	if one := stacks(flow(0, 64, time.Millisecond, 0), flow(1, 64, time.Millisecond, 0)); one != nil {
		t.Errorf("one stack: %+v", one)
	}
}

// TestAnMSSThatShrinksOnceIsOneStack: a server that learns of a smaller MTU announces less from then on; members with an MSS each take turns.
func TestAnMSSThatShrinksOnceIsOneStack(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	flow := func(i int, mss uint16) observe.Attempt {
		at := start.Add(time.Duration(i) * time.Millisecond)
		a := observe.Attempt{Via: plan.Raw, Outcome: observe.Accepted, RTT: time.Millisecond, SYNs: []observe.SYN{{At: at, HasTS: true, TSval: wire.TSval(i)}},
			Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(time.Millisecond), HasTS: true, TSecr: wire.TSval(i), HopLimit: 64}}}
		a.Answers[0].Options.AppendMSS(mss)
		return a
	}
	for _, c := range []struct {
		story string
		mss   []uint16
		want  int // stacks; 0: not several
	}{
		{"once", []uint16{1460, 1460, 1460, 1240, 1240, 1240}, 0},
		{"twice, ever less", []uint16{1460, 1460, 1400, 1400, 1240, 1240}, 0},
		{"in turn", []uint16{1460, 1240, 1460, 1240, 1460, 1240}, 2},
		{"there and back", []uint16{1460, 1460, 1240, 1240, 1460, 1460}, 2},
	} {
		var list []observe.Attempt
		for i, mss := range c.mss {
			list = append(list, flow(i, mss))
		}
		d := diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{{Kind: plan.KindSticky, Captured: true, Started: start, Finished: start.Add(time.Second), Attempts: list}}})
		if len(d.Stacks) != c.want {
			t.Errorf("%s: %d stacks, want %d: %+v", c.story, len(d.Stacks), c.want, d.Stacks)
		}
	}
}
