package prober

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// exact compares by value what cmp cannot look into.
func exact() cmp.Option {
	return cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, wire.Options{})
}

// Whatever the rules are asked beside the observations is stored with a round; a fact that is not would make a replay judge otherwise.
func TestEveryFactThatTheRulesAreAskedIsStored(t *testing.T) {
	t.Parallel()
	r := Round{Ladder: plan.Single(), OwnQueue: diagnose.Queue{Least: 3, Most: 3}, Priming: diagnose.Priming{Heal: true}, Follow: time.Second, Observations: []observe.Observation{{Label: "x"}}}
	in := reflect.ValueOf(r.input())
	for f, v := range in.Fields() {
		if f.IsExported() && v.IsZero() {
			t.Errorf("diagnose.Input.%s is not among what a Round holds: Store, Replay and this test must learn of it", f.Name)
		}
	}
	again := Replay(Store([]Round{r}))[0].input()
	if diff := cmp.Diff(r.input(), again, cmpopts.IgnoreUnexported(diagnose.Input{}), exact()); diff != "" {
		t.Error(diff)
	}
}

// Every field of a round comes back from what is stored of it, but those that are concluded or measured.
func TestARoundComesBackFromItsFile(t *testing.T) {
	t.Parallel()
	want := Round{Target: "web.example.org:80", Addr: netip.MustParseAddrPort("192.0.2.1:80"), Module: "connect", Kind: KindConnect,
		Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Duration: time.Second, Lookup: time.Millisecond, Ladder: plan.Linear(time.Second, 4, 6),
		Kernel: "6.18.5", OwnQueue: diagnose.Queue{Least: 3, Most: 5}, Priming: diagnose.Priming{May: true}, Follow: time.Second, Untested: []diagnose.Want{{Kind: plan.KindPaced, Why: "is it rate?"}}, Member: true, Success: true, Why: "because", TCP: &TCPResult{TLSVersion: "TLS 1.3", ExpectInfo: map[string]string{"a": "b"}},
		Witnesses: []observe.Witness{{Server: "web.example.org:80", Direct: true, Source: observe.SourceVipprobe, Kernel: "3.10.0", Port: 80, Settings: map[string]string{"net.ipv4.tcp_syncookies": "1"},
			Missing: []string{"nothing"}, Statements: []observe.Statement{{Asked: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Answered: time.Date(2026, 1, 2, 3, 4, 5, 9, time.UTC),
				Counters: map[string]int64{"TcpExt.ListenDrops": 1}, Listeners: []observe.ListenQueue{{Addr: netip.MustParseAddrPort("[::]:80"), Queued: 1, Backlog: 2, HalfOpen: 3, Counted: true}}}}}},
		Observations: []observe.Observation{{Label: "first contact", Kind: plan.KindConnect, Captured: true, Attempts: []observe.Attempt{
			{Via: plan.Kernel, Flow: wire.Flow{Dst: netip.MustParseAddrPort("192.0.2.1:80")}, Outcome: observe.Accepted, SYNs: []observe.SYN{{TSval: 7, HasTS: true}}}}}}}
	for f, v := range reflect.ValueOf(want).Fields() {
		if v.IsZero() && !slices.Contains([]string{"Diagnosis", "Err", "Queue", "Timestamps", "Reasoning", "Check"}, f.Name) {
			t.Errorf("Round.%s is not tried here", f.Name)
		}
	}
	b, err := evidence.Encode(evidence.Stored{Rounds: Store([]Round{want})})
	must(t, err)
	s, err := evidence.Decode(b)
	must(t, err)
	got := Replay(s.Rounds)
	want.conclude()
	s.Rounds[0].Reasoned = true
	if got := Replay(s.Rounds); len(want.Reasoning) == 0 || !cmp.Equal(want.Reasoning, got[0].Reasoning) {
		t.Errorf("reasoning %v became %v", want.Reasoning, got[0].Reasoning)
	}
	want.Reasoning = nil
	if diff := cmp.Diff([]Round{want}, got, exact(), cmpopts.IgnoreUnexported(diagnose.Finding{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a module read from the observations is read again.
func TestAHealthCheckIsReadAgain(t *testing.T) {
	t.Parallel()
	r := Round{Kind: KindCheck, Addr: netip.MustParseAddrPort("192.0.2.1:80"), Ladder: plan.Linear(time.Second, 4, 6), Observations: []observe.Observation{{
		Kind: plan.KindConnect, Captured: true, Attempts: []observe.Attempt{{Via: plan.Kernel, Outcome: observe.TimedOut, SYNs: []observe.SYN{{}}}}}}}
	timing := CheckOptions{}.timing()
	r.readCheck(timing)
	if again := Replay(Store([]Round{r}))[0]; again.Check == nil || again.Check.Timing != timing || len(again.Check.Loops) != len(r.Check.Loops) || len(r.Check.Loops) == 0 {
		t.Errorf("%+v became %+v", r.Check, again.Check)
	}
}

// What could not be probed stays so, and is told from what fails now.
func TestAFailureIsReplayedAsOne(t *testing.T) {
	t.Parallel()
	for _, r := range []Round{{Err: errors.New("no route")}, {Kind: KindNeighborQueue, Module: "queue"}} {
		again := Replay(Store([]Round{r}))[0]
		if !Replayed(again.Err) || r.Err != nil && again.Err.Error() != r.Err.Error() {
			t.Errorf("%v became %v", r.Err, again.Err)
		}
	}
	if Replayed(errors.New("no route")) {
		t.Error("every error passes for a replayed one")
	}
}
