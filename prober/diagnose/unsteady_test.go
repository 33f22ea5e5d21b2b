package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// swept is a burst of single SYNs, 8 ms apart: n answered after rtt, and one more for each of again, whose answer came at that time of the burst and
// was held for the listener's own repeat.
func swept(n int, rtt time.Duration, again ...time.Duration) *Input {
	began := time.Unix(1000, 0)
	o := observe.Observation{Kind: plan.KindQuadrants, Started: began, Finished: began.Add(10 * time.Second), Captured: true}
	dst := netip.MustParseAddrPort("192.0.2.1:80")
	shot := func(i int, at time.Time, late observe.Lateness, rtt time.Duration) {
		syn := began.Add(time.Duration(i) * 8 * time.Millisecond)
		o.Attempts = append(o.Attempts, observe.Attempt{Index: i, Via: plan.Raw, Flow: wire.Flow{Dst: dst}, Outcome: observe.Accepted, RTT: rtt, Late: late,
			SYNs: []observe.SYN{{At: syn}}, Answers: []observe.Answer{{At: at, Kind: observe.SYNACK}}, Handshake: at.Sub(syn)})
	}
	for i := range n {
		shot(i, began.Add(time.Duration(i)*8*time.Millisecond+rtt), observe.NotLate, rtt)
	}
	for i, at := range again {
		shot(n+i, began.Add(at), observe.LateAnswerLost, 0)
	}
	return &Input{Observations: []observe.Observation{o}}
}

func lostBack(in *Input) Finding {
	fs := fates(in, plan.KindQuadrants)
	return backLoss(Finding{Level: Inconclusive}, in, fs, sum(fs))
}

func TestLateAnswersOfOneInstantAreNoLoss(t *testing.T) {
	const ms = time.Millisecond
	var many []time.Duration
	for i := range 12 {
		many = append(many, 1400*ms+time.Duration(i)*30*ms)
	}
	apart := []time.Duration{1200 * ms, 1300 * ms, 1400 * ms, 1500 * ms}
	for name, c := range map[string]struct {
		in   *Input
		want Level
	}{
		"answers lost at several moments":              {answeredAgain(swept(40, ms, apart...), ms), Confirmed},
		"the same, and none came to a repeat":          {swept(40, ms, apart...), Inconclusive},
		"all let go at one moment: a pause that ended": {swept(40, ms, 1200*ms, 1201*ms, 1202*ms, 1203*ms), Inconclusive},
		"two lost": {swept(40, ms, 1200*ms, 1300*ms), Inconclusive},
		"a path of 300 ms, lost at several moments":                     {answeredAgain(swept(40, 300*ms, apart...), 300*ms), Confirmed},
		"answers that come in time are late by themselves now and then": {stumbling(answeredAgain(swept(40, ms, apart...), ms), 3), Inconclusive},
		"as many pauses, and losses at far more moments":                {stumbling(answeredAgain(swept(40, ms, many...), ms), 3), Confirmed},
		"one of them was late":                                          {stumbling(answeredAgain(swept(40, ms, apart...), ms), 1), Confirmed},
		"slow ones off a listener's ladder beside them":                 {tardy(answeredAgain(swept(40, ms, apart...), ms), 3), Inconclusive},
	} {
		if f := lostBack(c.in); f.Level != c.want {
			t.Errorf("%s: %s (settle: %s), want %s", name, f.Level, f.Settle, c.want)
		}
	}
}

// answeredAgain adds a SYN whose answer was lost and came to its repeat.
func answeredAgain(in *Input, rtt time.Duration) *Input {
	o := &in.Observations[0]
	a := o.Attempts[0]
	at := a.SYNs[0].At.Add(700 * time.Millisecond)
	a.SYNs = []observe.SYN{a.SYNs[0], {At: at}}
	a.Answers = []observe.Answer{{At: at.Add(rtt), Kind: observe.SYNACK}}
	a.Index, a.Retransmissions, a.Late, a.RTT, a.Handshake = len(o.Attempts), 1, observe.LateAnswerLost, 0, 700*time.Millisecond+rtt
	o.Attempts = append(o.Attempts, a)
	return in
}

// tardy makes the last n answers but one come 600 ms after their SYNs, when no listener repeats.
func tardy(in *Input, n int) *Input {
	list := in.Observations[0].Attempts
	for i := range list[len(list)-1-n : len(list)-1] {
		a := &list[len(list)-1-n+i]
		a.Late, a.RTT = observe.NotLate, 600*time.Millisecond
	}
	return in
}

// stumbling makes the first n answers of a burst come 400 ms late.
func stumbling(in *Input, n int) *Input {
	for i := range n {
		in.Observations[0].Attempts[i].RTT += 400 * time.Millisecond
	}
	return in
}
