package sweep

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// probes are results of one target.
func probes(dst string, states ...State) []Result {
	var out []Result
	for i, s := range states {
		r := Result{Flow: wire.Flow{Src: netip.AddrPortFrom(src4, uint16(62000+i)), Dst: netip.MustParseAddrPort(dst)}, State: s, Left: true}
		if s == Accepted || s == Refused {
			r.Timed, r.Took = true, time.Millisecond
		}
		out = append(out, r)
	}
	return out
}

func late(rs []Result, took time.Duration) []Result {
	rs[0].Took = took
	return rs
}

func repeated(rs []Result) []Result {
	rs[0].Again = 1
	return rs
}

func TestOutcomeOfATarget(t *testing.T) {
	const dst = "10.64.0.7:443"
	for _, x := range []struct {
		story string
		in    []Result
		want  Outcome
	}{
		{"all accepted", probes(dst, Accepted, Accepted), Answers},
		{"a repeat late", late(probes(dst, Accepted), StallTime), Stalls},
		{"late, but before any repeat", late(probes(dst, Accepted), StallTime-1), Answers},
		{"accepted when its SYN was sent again", repeated(probes(dst, Accepted, Accepted)), Stalls},
		{"refused when its SYN was sent again", repeated(probes(dst, Refused)), Refuses},
		{"one of two silent", probes(dst, Accepted, Silent), Mixed},
		{"one of two refused", probes(dst, Refused, Silent), Mixed},
		{"all silent", probes(dst, Silent, Silent), Quiet},
		{"silent, and one not seen by the capture", probes(dst, Silent, Unseen), OutcomeUnknown},
		{"accepted and silent, and one not seen", probes(dst, Accepted, Silent, Unseen), Mixed},
		{"accepted, and one cut short", probes(dst, Accepted, Pending), OutcomeUnknown},
		{"accepted, and one not sent", probes(dst, Accepted, NotSent), Unsent},
		{"dropped on this host", probes(dst, Dropped), Unsent},
		{"unreachable", probes(dst, Unreachable), Unreached},
	} {
		var tally Tally
		for _, r := range x.in {
			tally.Add(r)
		}
		tally.Close()
		if tally.Targets != 1 || tally.By[x.want] != 1 {
			t.Errorf("%s: %v, want one of %d", x.story, tally.By, x.want)
		}
	}
}

func TestTallyPutsNeighboursTogether(t *testing.T) {
	tally := Tally{}
	told := 0
	tally.Each = func(*Target) { told++ }
	for _, rs := range [][]Result{
		probes("10.64.0.1:80", Silent), probes("10.64.0.2:80", Silent), probes("10.64.0.3:80", Accepted), probes("10.64.0.4:80", Silent),
		probes("10.64.0.5:81", Silent), late(probes("10.64.0.6:80", Accepted), 3*time.Second), late(probes("10.64.0.7:80", Accepted), 2*time.Second),
	} {
		for _, r := range rs {
			tally.Add(r)
		}
	}
	tally.Close()
	tally.LeaveOut(netip.MustParseAddrPort("10.64.0.6:81"), 1, Unreachable, "nobody there")
	type run struct {
		First, Last string
		N           int
		Worst       string
	}
	shown := func(o Outcome) (out []run) {
		runs, _ := tally.Runs(o)
		for _, r := range runs {
			out = append(out, run{r.First.String(), r.Last.String(), r.N, r.Worst.Dst.String()})
		}
		return out
	}
	want := map[Outcome][]run{
		Quiet:     {{"10.64.0.1", "10.64.0.2", 2, "10.64.0.1:80"}, {"10.64.0.4", "10.64.0.4", 1, "10.64.0.4:80"}, {"10.64.0.5", "10.64.0.5", 1, "10.64.0.5:81"}},
		Stalls:    {{"10.64.0.6", "10.64.0.7", 2, "10.64.0.6:80"}},
		Unreached: {{"10.64.0.6", "10.64.0.6", 1, "10.64.0.6:81"}},
	}
	for o, runs := range want {
		if diff := cmp.Diff(runs, shown(o)); diff != "" {
			t.Errorf("%d (-want +got):\n%s", o, diff)
		}
	}
	ill := []netip.AddrPort{netip.MustParseAddrPort("10.64.0.6:80"), netip.MustParseAddrPort("10.64.0.1:80"), netip.MustParseAddrPort("10.64.0.4:80")}
	if diff := cmp.Diff(ill, tally.Ill(3), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("to be diagnosed (-want +got):\n%s", diff)
	}
	if times := tally.Times(); told != 8 || tally.Targets != 8 || times.Timed != 1 || times.Most != time.Millisecond {
		t.Errorf("%d told, %d targets, %+v", told, tally.Targets, times)
	}
}

func TestTallyKeepsSoManyRuns(t *testing.T) {
	var tally Tally
	a := netip.MustParseAddr("10.64.0.0")
	for range Kept + 5 {
		for _, r := range probes(netip.AddrPortFrom(a, 80).String(), Silent) {
			tally.Add(r)
		}
		a = a.Next().Next()
	}
	tally.Close()
	if runs, more := tally.Runs(Quiet); len(runs) != Kept || more != 5 || tally.By[Quiet] != Kept+5 {
		t.Errorf("%d runs, %d more, %v", len(runs), more, tally.By)
	}
}

func TestProbesEndAndAreSentAgain(t *testing.T) {
	b := openBook(t)
	s := syn(t, b, 0)
	b.Outgoing(&s, 1000)
	if !b.Repeat(0) || b.Outgoing(&s, 2000) != Repeated {
		t.Error("the second SYN of a probe is none that was sent again")
	}
	a := answerTo(&s, wire.SYN|wire.ACK)
	b.Incoming(&a, 3000)
	if r := b.Result(0); !r.Stalled() || r.Took != 2000 || b.Repeat(0) {
		t.Errorf("answered at the second SYN: %+v", r)
	}
	left := syn(t, b, 1)
	b.Outgoing(&left, 1000)
	for i, x := range []struct {
		blind bool
		want  State
	}{{true, Accepted}, {false, Silent}, {true, Unseen}, {false, Dropped}} {
		if b.Expire(i, x.blind); b.Result(i).State != x.want {
			t.Errorf("probe %d: %s, want %s", i, b.Result(i).State, x.want)
		}
	}
	answer := answerTo(&left, wire.SYN|wire.ACK)
	if _, d, reset := b.Incoming(&answer, 9000); d != Again || !reset || b.Result(1).State != Silent {
		t.Errorf("an answer after its time: %s, reset %t, %s", d, reset, b.Result(1).State)
	}
	for state := range states {
		if known := state.String() != StateUnknown.String(); known != (state != StateUnknown) {
			t.Errorf("state %d is called %s", state, state)
		}
	}
}
