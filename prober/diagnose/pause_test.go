package diagnose

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// stall is one connect whose SYN was repeated after gap and whose answer came since after that; answered is the SYN that the answer echoes.
type stall struct {
	began      time.Duration
	gap, since time.Duration
	answered   int
}

// stalling is a burst with warm connects of one round trip beside stalls.
func stalling(via plan.Via, warm int, rtt time.Duration, stalls ...stall) *Input {
	began := time.Unix(1000, 0)
	o := observe.Observation{Kind: plan.KindConnect, Started: began, Finished: began.Add(10 * time.Second), Captured: true}
	if via == plan.Raw {
		o.Kind = plan.KindSticky
	}
	flow := wire.Flow{Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	for i := range warm {
		at := began.Add(time.Duration(i) * time.Millisecond)
		o.Attempts = append(o.Attempts, observe.Attempt{Via: via, Flow: flow, Outcome: observe.Accepted, RTT: rtt, Handshake: rtt, SYNs: []observe.SYN{{At: at}},
			Answers: []observe.Answer{{At: at.Add(rtt), Kind: observe.SYNACK}}})
	}
	for _, s := range stalls {
		first := began.Add(s.began)
		a := observe.Attempt{Via: via, Flow: flow, Outcome: observe.Accepted, Retransmissions: 1, Answered: s.answered, Handshake: s.gap + s.since,
			SYNs: []observe.SYN{{At: first}, {At: first.Add(s.gap)}}, Answers: []observe.Answer{{At: first.Add(s.gap + s.since), Kind: observe.SYNACK}}}
		if s.answered == 0 {
			a.Late = observe.LateAnswerLost
		}
		o.Attempts = append(o.Attempts, a)
	}
	return &Input{Observations: []observe.Observation{o}, Ladder: plan.Custom(0, time.Second, 3*time.Second), explained: map[int]bool{}}
}

func TestStallsThatEndTogetherAreOneEvent(t *testing.T) {
	t.Parallel()
	const ms, us = time.Millisecond, time.Microsecond
	together := func(gap, since time.Duration, answered int) []stall {
		return []stall{{0, gap, since, answered}, {0, gap, since + us, answered}, {us, gap, since, answered}, {us, gap, since + us, answered}}
	}
	apart := []stall{{0, 200 * ms, 27 * ms, 0}, {60 * ms, 200 * ms, 26 * ms, 0}, {120 * ms, 200 * ms, 33 * ms, 0}, {180 * ms, 200 * ms, 31 * ms, 0}}
	for name, c := range map[string]struct {
		in   *Input
		want Level
	}{
		"a queue let go of the last ones, the kernel repeats the others: one round trip after the repeat, to the tick": {
			stalling(plan.Kernel, 6, 300*us, together(time.Second, 310*us, 0)...), Suspected},
		"the same from far":                                                  {stalling(plan.Kernel, 6, 180*ms, together(time.Second, 181*ms, 0)...), Suspected},
		"a pause that ended a while after the repeat":                        {stalling(plan.Kernel, 6, 300*us, together(time.Second, 9*ms, 0)...), Inconclusive},
		"repeats of our own, 200 ms apart: a pause ends there easily":        {stalling(plan.Raw, 12, 32*ms, together(200*ms, 27*ms, 0)...), Inconclusive},
		"the same at four moments":                                           {stalling(plan.Raw, 12, 30*ms, apart...), Suspected},
		"at one moment, and the echo skips over each first SYN: it was lost": {stalling(plan.Raw, 12, 32*ms, together(200*ms, 27*ms, 1)...), Suspected},
		"three of 460, as a path may lose that nobody calls faulty":          {stalling(plan.Kernel, 457, 300*us, together(time.Second, 310*us, 1)[:3]...), Inconclusive},
		"three of 100": {stalling(plan.Kernel, 97, 300*us, together(time.Second, 310*us, 1)[:3]...), Suspected},
		"two of many, whenever they ended: too few": {stalling(plan.Kernel, 60, 300*us, together(time.Second, 310*us, 1)[:2]...), Inconclusive},
	} {
		f := checkStalls(c.in)
		if len(f) != 1 || f[0].Level != c.want {
			t.Errorf("%s: %+v, want %s", name, f, c.want)
		}
	}
}

func TestASYNACKThatThisHostDidNotTakeIsNoClashOfSYNs(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	stalls := []stall{{0, time.Second, ms, 1}, {ms, time.Second, ms, 1}, {2 * ms, time.Second, ms, 1}, {3 * ms, time.Second, ms, 1}}
	for name, c := range map[string]struct {
		early observe.AnswerKind
		want  int
	}{
		"nothing came before the repeats":                          {observe.AnswerUnknown, 1},
		"SYN-ACKs came before them, which this host's TCP refused": {observe.SYNACK, 0},
	} {
		in := stalling(plan.Kernel, 4, ms, stalls...)
		// Warm ones behind, so that the order says nothing.
		in.Observations[0].Attempts = append(in.Observations[0].Attempts, stalling(plan.Kernel, 4, ms).Observations[0].Attempts...)
		apart := stalling(plan.Raw, 48, ms).Observations[0]
		for i := range apart.Attempts {
			apart.Attempts[i].SYNs[0].At = apart.Attempts[i].SYNs[0].At.Add(10*time.Second + time.Duration(i)*4*ms)
		}
		in.Observations = append(in.Observations, apart)
		for i := range in.Observations[0].Attempts {
			a := &in.Observations[0].Attempts[i]
			if a.SYNs[0].At = a.SYNs[0].At.Add(time.Duration(i*7%5) * ms); a.Retransmissions > 0 && c.early != observe.AnswerUnknown {
				a.Answers = append([]observe.Answer{{At: a.SYNs[0].At.Add(ms), Kind: c.early}}, a.Answers...)
			}
		}
		if f := checkRace(in); len(f) != c.want {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestAllByChanceIsFishers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ps   []float64
		want float64
	}{
		{nil, 1},
		{[]float64{0.03}, 0.03},
		{[]float64{1, 1}, 1},
		{[]float64{0.05, 0.05}, 0.05 * 0.05 * (1 - math.Log(0.05*0.05))}, // the chance that a product of two is so small
	} {
		if got := allByChance(c.ps); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", c.ps, got, c.want)
		}
	}
}
