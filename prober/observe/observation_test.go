package observe

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// options compares TCP option lists by their octets.
func options() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b wire.Options) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
}

func TestAWholeObservation(t *testing.T) {
	t.Parallel()
	script := plan.Script{Ladder: plan.Single(), OnSYNACK: plan.Reset}
	b := &plan.Burst{Label: "one", Kind: plan.KindSYN, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: script}}, Shots: []plan.Shot{{Flow: wire.Flow{Dst: flow.Dst}}}}
	c := NewCorrelator(b)
	c.Observation().Captured = true
	c.Bind(0, flow)
	c.ISS(0, iss)
	who := NeighborEvent{At: at(-1), Outgoing: true, Kind: NeighborRequest, IfIndex: 2, Sender: flow.Src.Addr(), Target: flow.Dst.Addr()}
	c.Neighbor(who)
	handedOver(0, 7)(c)
	syn(0.01, 7)(c)
	seg := wire.Segment{Src: flow.Dst, Dst: flow.Src, Seq: irs, Ack: iss + 1, Flags: wire.SYN | wire.ACK, Window: 65160, HopLimit: 61,
		Options: tsOptions(77, 7), Checksum: wire.ChecksumGood}
	c.Incoming(0, at(0.21), &seg)
	c.Stray("something_else")

	want := Observation{
		Label: "one", Kind: plan.KindSYN, Arms: b.Arms, Captured: true,
		Neighbor: []NeighborEvent{who}, Strays: map[string]int{"something_else": 1},
		Attempts: []Attempt{{
			Arm: "raw", Via: plan.Raw, Flow: flow, ISS: iss, Outcome: Accepted,
			SYNs: []SYN{{At: at(0.01), Handed: at(0), TSval: 7, HasTS: true, IfIndex: 2, NextHop: hop}},
			Answers: []Answer{{At: at(0.21), Kind: SYNACK, Flags: wire.SYN | wire.ACK, Seq: irs, Ack: iss + 1, TSval: 77, TSecr: 7, HasTS: true,
				Window: 65160, HopLimit: 61, Options: tsOptions(77, 7), Checksum: wire.ChecksumGood}},
			LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock,
		}},
	}
	if diff := cmp.Diff(want, c.Finish(), options()); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
}

func TestSegmentsAreClassified(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		seg   wire.Segment
		want  AnswerKind
		stray string
	}{
		{"SYN-ACK to our ISS", wire.Segment{Flags: wire.SYN | wire.ACK, Ack: iss + 1}, SYNACK, ""},
		{"SYN-ACK to another", wire.Segment{Flags: wire.SYN | wire.ACK, Ack: iss}, SYNACKStray, "syn_ack_not_ours"},
		{"SYN-ACK-RST is an RST", wire.Segment{Flags: wire.SYN | wire.ACK | wire.RST, Ack: iss + 1}, RST, ""},
		{"simultaneous open", wire.Segment{Flags: wire.SYN}, AnswerUnknown, "syn_from_peer"},
		{"FIN with data is a FIN", wire.Segment{Flags: wire.FIN | wire.ACK, Length: 3}, FIN, ""},
		{"data", wire.Segment{Flags: wire.PSH | wire.ACK, Length: 3}, Data, ""},
		{"challenge ACK", wire.Segment{Flags: wire.ACK, Ack: 5}, BareACK, ""},
		{"null segment", wire.Segment{}, BareACK, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := tell(plan.Raw, plan.Reset, []event{incoming(0, tc.seg)})
			if got := o.Attempts[0].Answers[0].Kind; got != tc.want {
				t.Errorf("kind: got %s, want %s", got, tc.want)
			}
			if tc.stray != "" && o.Strays[tc.stray] != 1 {
				t.Errorf("strays: %v, want one %s", o.Strays, tc.stray)
			}
		})
	}
}

func TestWhatAHostilePeerCanMakeUsRememberIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCorrelator(&plan.Burst{Arms: []plan.Arm{{Via: plan.Kernel}}, Shots: []plan.Shot{{Flow: flow}}})
	const n = 10000
	for k := range n {
		incoming(float64(k), wire.Segment{Flags: wire.ACK})(c)
		syn(float64(k), int64(k))(c)
		c.Neighbor(NeighborEvent{Kind: NeighborRequest})
	}
	o := c.Finish()
	a := &o.Attempts[0]
	if len(a.Answers) != maxAnswers || len(a.SYNs) != maxSYNs || len(o.Neighbor) != maxNeighbor {
		t.Errorf("kept %d answers, %d SYNs, %d neighbour frames; want %d, %d, %d", len(a.Answers), len(a.SYNs), len(o.Neighbor), maxAnswers, maxSYNs, maxNeighbor)
	}
	want := map[string]int{"answers_over_limit": n - maxAnswers, "syns_over_limit": n - maxSYNs, "neighbor_frames_over_limit": n - maxNeighbor}
	if diff := cmp.Diff(want, o.Strays); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
}

func TestForeignSYNsOnOurPortAreCountedNotBelieved(t *testing.T) {
	t.Parallel()
	c := NewCorrelator(&plan.Burst{Arms: []plan.Arm{{Via: plan.Kernel}}, Shots: []plan.Shot{{Flow: flow}}})
	syn(0, 1)(c)
	c.Outgoing(0, at(1), 2, hop, &wire.Segment{Seq: iss + 5, Flags: wire.SYN})
	c.Outgoing(0, at(1), 2, hop, &wire.Segment{Seq: iss + 1, Flags: wire.ACK})
	o := c.Finish()
	if len(o.Attempts[0].SYNs) != 1 || o.Strays["foreign_syn_on_our_port"] != 1 {
		t.Errorf("%d SYNs, strays %v", len(o.Attempts[0].SYNs), o.Strays)
	}
}

// Whatever comes in, in whatever order: no panic, and the counts stay within what can be.
func TestAnyOrderOfEventsKeepsTheCountsSane(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		via := rapid.SampledFrom([]plan.Via{plan.Kernel, plan.Raw}).Draw(t, "via")
		react := rapid.SampledFrom([]plan.Reaction{plan.Reset, plan.Acknowledge, plan.Ignore}).Draw(t, "reaction")
		o := tell(via, react, rapid.SliceOfN(rapid.Custom(anyEvent), 0, 20).Draw(t, "events"))
		a := &o.Attempts[0]
		switch {
		case a.Answered >= len(a.SYNs) || a.Answered < -1:
			t.Fatalf("answered %d of %d SYNs", a.Answered, len(a.SYNs))
		case a.Lost < 0 || a.Lost > a.Retransmissions+1 || a.Unseen < 0 || a.Unseen > a.Retransmissions+1:
			t.Fatalf("lost %d, unseen %d of %d repeats", a.Lost, a.Unseen, a.Retransmissions)
		case a.RTT < 0 || a.Handshake < 0:
			t.Fatalf("round trip of %s, handshake of %s", a.RTT, a.Handshake)
		case a.Stalled() && a.Outcome != Accepted:
			t.Fatalf("stalled and %s", a.Outcome)
		case a.Outcome.String() == "unknown" && a.Reason == "" && via == plan.Raw:
			t.Fatal("unknown outcome without a reason")
		}
	})
}

func anyEvent(t *rapid.T) event {
	ms := float64(rapid.IntRange(0, 5000).Draw(t, "ms"))
	ts := int64(rapid.IntRange(-1, 3).Draw(t, "ts"))
	n := rapid.IntRange(0, 3).Draw(t, "n")
	return rapid.SampledFrom([]event{
		syn(ms, ts), handedOver(ms, ts), sent(ms, ts), synAck(ms, ts), rstToSYN(ms), icmp(ms, 3, uint8(n)), rst(ms, irs+1),
		connected(ms, ms+1, uint32(n), 1), gaveUp(uint32(n)), ended(Unreachable, "x", uint32(n)), ended(LocalDrop, "x", uint32(n)),
		drops(uint32(n)), blind(), notSent("x"), refusedSYN(n-1, "x", ts > 0), cutShort(ts > 0, "x"), neighbour(float64(n)),
	}).Draw(t, "event")
}

func TestEveryNameIsItsOwn(t *testing.T) {
	t.Parallel()
	names := map[string][]string{}
	for _, o := range append(Outcomes(), OutcomeUnknown) {
		names["outcome"] = append(names["outcome"], o.String())
	}
	for k := AnswerUnknown; k <= ICMP; k++ {
		names["answer"] = append(names["answer"], k.String())
	}
	for p := ProofUnknown; p <= ByBoth; p++ {
		names["proof"] = append(names["proof"], p.String())
	}
	for l := NotLate; l <= LateAmbiguous; l++ {
		names["lateness"] = append(names["lateness"], l.String())
	}
	for k := NeighborUnknown; k <= NeighborGratuitous; k++ {
		names["neighbor"] = append(names["neighbor"], k.String())
	}
	for s := ParityUntested; s <= ParityDiffers; s++ {
		names["parity"] = append(names["parity"], s.String())
	}
	for k := ClockUnknown; k <= UserClock; k++ {
		names["clock"] = append(names["clock"], k.String())
	}
	for what, list := range names {
		seen := map[string]bool{}
		for _, n := range list {
			if seen[n] || n != strings.ToLower(n) {
				t.Errorf("%s %q is used twice or not lower case", what, n)
			}
			seen[n] = true
		}
	}
	if got := Outcome(200).String() + AnswerKind(200).String() + Proof(200).String(); got != strings.Repeat("unknown", 3) {
		t.Errorf("names of no value: %q", got)
	}
}

func TestLatenessStepByStep(t *testing.T) {
	t.Parallel()
	fast := plain{fastest: 100 * ms, slowest: 400 * ms}
	for _, tc := range []struct {
		name       string
		since, gap time.Duration
		base       plain
		want       Lateness
	}{
		{"sooner than any round trip", 89 * ms, time.Second, fast, LateSlow},
		{"sooner than any round trip, right behind the repeat, where they differ much", 1 * ms, 200 * ms, plain{2 * ms, 16 * ms}, LateAmbiguous},
		{"the same where they are alike", 1 * ms, 200 * ms, plain{2 * ms, 3 * ms}, LateSlow},
		{"the same, and not right behind it", 5 * ms, 200 * ms, plain{6 * ms, 16 * ms}, LateSlow},
		{"as soon as the fastest, less its jitter", 90 * ms, time.Second, fast, LateAnswerLost},
		{"twice the fastest and 10 ms", 210 * ms, time.Second, fast, LateAnswerLost},
		{"a little later, but no later than the slowest", 211 * ms, time.Second, fast, LateAmbiguous},
		{"later than the slowest", 401 * ms, time.Second, fast, LateSlow},
		{"nothing to compare with, within a tenth of the gap", 100 * ms, time.Second, plain{}, LateAnswerLost},
		{"nothing to compare with, past it", 101 * ms, time.Second, plain{}, LateAmbiguous},
	} {
		if got := lateness(tc.since, tc.gap, tc.base); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
