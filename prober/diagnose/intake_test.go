package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// TestWhoDroppedTheSYNACK: what the tap sees come and this host's TCP never counts, this host dropped itself; what TCP counted and threw away it says so of; anything between stays open.
func TestWhoDroppedTheSYNACK(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	round := func(bursts int, taken, paws int64, repeatsAfter time.Duration) *Input {
		in := &Input{read: &readOnce{}, explained: map[int]bool{}}
		for b := range bursts {
			from := start.Add(time.Duration(b) * 10 * time.Second)
			o := observe.Observation{Kind: plan.KindConnect, Started: from, Captured: true, Counters: map[string]int64{"Tcp.ActiveOpens": 10, "Tcp.InSegs": taken, "TcpExt.PAWSActive": paws}}
			for k := range 10 {
				at := from.Add(time.Duration(k) * time.Microsecond)
				o.Attempts = append(o.Attempts, observe.Attempt{Via: plan.Kernel, Kernel: &observe.KernelView{HasInfo: true}, Outcome: observe.Accepted,
					SYNs:    []observe.SYN{{At: at}, {At: at.Add(time.Millisecond + repeatsAfter)}},
					Answers: []observe.Answer{{Kind: observe.SYNACK, At: at.Add(time.Millisecond), TSval: 1}, {Kind: observe.SYNACK, At: at.Add(time.Second), TSval: 1000}}})
			}
			in.Observations = append(in.Observations, o)
		}
		return in
	}
	for _, x := range []struct {
		name        string
		bursts      int
		taken, paws int64
		after       time.Duration
		verdict     Verdict
		level       Level
	}{
		{"none reaches TCP, twice", 2, 0, 0, time.Second, ProberLocalDrop, Confirmed},
		{"none reaches TCP, once", 1, 0, 0, time.Second, ProberLocalDrop, Inconclusive},
		{"half reach TCP, twice", 2, 10, 0, time.Second, ProberLocalDrop, Confirmed},
		{"all reach TCP, which rejects them", 2, 20, 10, time.Second, ClientPAWSReject, Proven},
		{"all reach TCP, which says nothing", 2, 20, 0, time.Second, ClientPAWSReject, Inconclusive},
		{"some rejected, some never reach it", 2, 10, 3, time.Second, ClientPAWSReject, Inconclusive},
		{"its timer was quicker than its softirq", 2, 0, 0, time.Millisecond, "", Inconclusive},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			fs := checkClientReject(round(x.bursts, x.taken, x.paws, x.after))
			if x.verdict == "" {
				if len(fs) != 0 {
					t.Errorf("%+v; want nothing", fs)
				}
				return
			}
			if len(fs) != 1 || fs[0].Verdict != x.verdict || fs[0].Level != x.level {
				t.Errorf("%+v; want %s, %s", fs, x.verdict, x.level)
			}
		})
	}
}

// TestRefusedByThisHostItself: an RST to a SYN that never left is this host's own, and says nothing of the port.
func TestRefusedByThisHostItself(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	for name, x := range map[string]struct {
		left   bool
		closed int
	}{"the SYNs never left": {false, 0}, "the SYNs left": {true, 1}} {
		in := &Input{read: &readOnce{}}
		o := observe.Observation{Kind: plan.KindConnect, Started: at, Captured: true}
		for range 10 {
			a := observe.Attempt{Via: plan.Kernel, Kernel: &observe.KernelView{HasInfo: true}, Outcome: observe.Refused, Unseen: 1,
				Answers: []observe.Answer{{Kind: observe.RST, At: at.Add(time.Millisecond)}}}
			if x.left {
				a.Unseen, a.SYNs = 0, []observe.SYN{{At: at}}
			}
			o.Attempts = append(o.Attempts, a)
		}
		in.Observations = []observe.Observation{o}
		if fs := checkClosed(in); len(fs) != x.closed {
			t.Errorf("%s: %+v; want %d finding(s)", name, fs, x.closed)
		}
	}
}

// TestTwoHostsAnswerOneSYN: the resets of whoever was not acknowledged are no full queue's; one answer that came twice is one host's.
func TestTwoHostsAnswerOneSYN(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	for name, x := range map[string]struct {
		second int
		want   Verdict
	}{"another number": {5000, DuplicateAddress}, "the same number": {0, AbortOnOverflow}} {
		in := &Input{read: &readOnce{}, explained: map[int]bool{}}
		o := observe.Observation{Kind: plan.KindServed, Started: at, Captured: true}
		for range 8 {
			o.Attempts = append(o.Attempts, observe.Attempt{Via: plan.Raw, Outcome: observe.Reset, SYNs: []observe.SYN{{At: at}}, Handshake: time.Millisecond, Answers: []observe.Answer{
				{Kind: observe.SYNACK, Seq: 1000, At: at.Add(time.Millisecond)},
				{Kind: observe.SYNACK, Seq: wire.Seq(1000 + x.second), At: at.Add(2 * time.Millisecond)},
				{Kind: observe.RST, At: at.Add(3 * time.Millisecond)}}})
		}
		in.Observations = []observe.Observation{o}
		if fs := checkServed(in); len(fs) != 1 || fs[0].Verdict != x.want {
			t.Errorf("%s: %+v; want %s", name, fs, x.want)
		}
	}
}

// TestFirstSYNsNeverAnswered: loss at random makes no difference between a flow's first SYN and its repeats.
func TestFirstSYNsNeverAnswered(t *testing.T) {
	t.Parallel()
	flows := func(n, sent int, answered, first bool) []fate {
		out := make([]fate, n)
		for i := range out {
			out[i] = fate{answered: answered, sent: sent}
			if answered && !first {
				out[i].back = sent - 1
			}
		}
		return out
	}
	for name, x := range map[string]struct {
		fs   []fate
		want bool
	}{
		"the third is always answered":                   {flows(40, 3, true, false), true},
		"the third is always answered, single ones lost": {append(flows(40, 3, true, false), flows(20, 1, false, false)...), true},
		"one first is answered":                          {append(flows(40, 3, true, false), flows(1, 1, true, true)...), false},
		"few flows":                                      {flows(4, 3, true, false), false},
		"most of all is lost":                            {append(flows(3, 3, true, false), flows(40, 5, false, false)...), false},
		"all is lost":                                    {flows(40, 5, false, false), false},
	} {
		if got := firstNever(x.fs); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
