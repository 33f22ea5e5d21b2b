package diagnose

import (
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// completedAt are handshakes of one burst, which begin at a time; after their SYN-ACK come the answers of more, each so long after it.
func completedAt(kind plan.Kind, at time.Time, n int, window uint16, more ...time.Duration) observe.Observation {
	o := observe.Observation{Kind: kind, Started: at, Captured: true}
	for range n {
		a := observe.Attempt{Via: plan.Raw, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: at}},
			Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(time.Millisecond), Window: window}}}
		for _, d := range more {
			a.Answers = append(a.Answers, observe.Answer{Kind: observe.SYNACK, At: at.Add(time.Millisecond + d), Window: window})
		}
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

// miss makes the first n attempts of a burst silent.
func miss(n int, o observe.Observation) observe.Observation {
	for k := range n {
		o.Attempts[k].Outcome, o.Attempts[k].Answers, o.Attempts[k].Answered = observe.TimedOut, nil, -1
	}
	return o
}

// secondly makes all attempts of a burst answered at their second SYN.
func secondly(o observe.Observation) observe.Observation {
	for k := range o.Attempts {
		o.Attempts[k].Retransmissions = 1
	}
	return o
}

func serve(n int, o observe.Observation) observe.Observation {
	for k := range n {
		o.Attempts[k].Answers = append(o.Attempts[k].Answers, observe.Answer{Kind: observe.Data, At: o.Started.Add(2 * time.Second)})
	}
	return o
}

func round(seen ...observe.Observation) *Input {
	return &Input{read: &readOnce{}, explained: map[int]bool{}, Observations: seen}
}

// TestEveryHandshakeIgnored: a queue that is full drops SYNs as well; where none is dropped and nobody is served, what follows the SYN does not arrive. What was lost
// before the handshakes that were ignored is none of that queue's doing.
func TestEveryHandshakeIgnored(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	first, later := completedAt(plan.KindConnect, at, 10, 65160), at.Add(5*time.Second)
	ignored := func() observe.Observation {
		return completedAt(plan.KindServed, at.Add(2*time.Second), 8, 65160, time.Second)
	}
	beside := func(dropped int) observe.Observation {
		return miss(dropped, completedAt(plan.KindSizes, at.Add(2*time.Second+30*time.Millisecond), 8, 65160))
	}
	since := func() observe.Observation { return completedAt(plan.KindReuse, later, 12, 65160) }
	for name, x := range map[string]struct {
		seen []observe.Observation
		want Verdict
	}{
		"no SYN dropped, none served":                                         {[]observe.Observation{first, ignored(), since()}, SYNStallUnclassified},
		"first contact stalled":                                               {[]observe.Observation{secondly(completedAt(plan.KindConnect, at, 10, 65160)), ignored(), since()}, SYNStallUnclassified},
		"one SYN of twenty lost since":                                        {[]observe.Observation{first, ignored(), since(), miss(1, since())}, SYNStallUnclassified},
		"half of the SYNs dropped since, none served":                         {[]observe.Observation{first, ignored(), miss(6, since())}, AcceptQueueOverflow},
		"SYNs dropped beside those that were ignored":                         {[]observe.Observation{first, ignored(), miss(6, completedAt(plan.KindQuadrants, at.Add(2*time.Second), 16, 65160)), since()}, AcceptQueueOverflow},
		"SYNs before were answered, and none was sent since":                  {[]observe.Observation{first, ignored()}, AcceptQueueOverflow},
		"all were answered before, and all of them dropped since":             {[]observe.Observation{first, ignored(), miss(12, since())}, AcceptQueueOverflow},
		"two served, none dropped, but none was sent while they were ignored": {[]observe.Observation{first, serve(2, ignored()), since()}, AcceptQueueOverflow},
		"two served, none dropped while the others were ignored":              {[]observe.Observation{first, serve(2, ignored()), beside(0), since()}, SYNStallUnclassified},
		"two served, and SYNs dropped while the others were ignored":          {[]observe.Observation{first, serve(2, ignored()), beside(6), since()}, AcceptQueueOverflow},
	} {
		if fs := checkServed(round(x.seen...)); len(fs) != 1 || fs[0].Verdict != x.want {
			t.Errorf("%s: %+v; want %s", name, fs, x.want)
		}
	}
}

// TestMasksWantASign: handshakes whose data draws nothing are a proxy's where the proxy shows; silence alone may be the path's.
func TestMasksWantASign(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	served := func(window uint16, sec int) observe.Observation {
		return completedAt(plan.KindServed, at.Add(time.Duration(sec)*time.Second), 8, window)
	}
	held := func(repeats ...time.Duration) observe.Observation {
		return completedAt(plan.KindStateful, at.Add(20*time.Second), 4, 65160, repeats...)
	}
	half := served(0, 8)
	half.Attempts[3].Answers[0].Window = 65160
	for name, x := range map[string]struct {
		seen  []observe.Observation
		want  Verdict
		level Level
		more  plan.Kind
	}{
		"window 0, twice":                           {[]observe.Observation{served(0, 0), served(0, 8)}, LBFullProxyMasks, Confirmed, ""},
		"window 0, once":                            {[]observe.Observation{served(0, 0)}, LBFullProxyMasks, Inconclusive, plan.KindServed},
		"window 0 but for one":                      {[]observe.Observation{served(0, 0), half}, SYNStallUnclassified, Suspected, plan.KindStateful},
		"a window, twice":                           {[]observe.Observation{served(65160, 0), served(65160, 8)}, SYNStallUnclassified, Suspected, plan.KindStateful},
		"a window, and the listener keeps state":    {[]observe.Observation{served(65160, 0), served(65160, 8), held(time.Second)}, SYNStallUnclassified, Suspected, ""},
		"a window, and nobody keeps state":          {[]observe.Observation{served(65160, 0), served(65160, 8), held()}, SYNStallUnclassified, Suspected, ""},
		"a window, and SYN-ACKs come twice at once": {[]observe.Observation{served(65160, 0), served(65160, 8), held(time.Millisecond)}, SYNStallUnclassified, Suspected, ""},
	} {
		fs := checkServed(round(x.seen...))
		if len(fs) != 1 || fs[0].Verdict != x.want || fs[0].Level != x.level {
			t.Errorf("%s: %+v; want %s (%s)", name, fs, x.want, x.level)
			continue
		}
		if got := slices.ContainsFunc(fs[0].Wants, func(w Want) bool { return w.Kind == x.more }); got != (x.more != "") || x.more == "" && len(fs[0].Wants) > 0 {
			t.Errorf("%s: wants %+v; want %q", name, fs[0].Wants, x.more)
		}
	}
}
