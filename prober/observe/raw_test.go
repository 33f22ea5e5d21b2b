package observe

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func rst(ms float64, seq wire.Seq) event {
	return incoming(ms, wire.Segment{Seq: seq, Flags: wire.RST})
}

func TestRawShotsAreCountedByTheTap(t *testing.T) {
	t.Parallel()
	runStories(t, []story{
		{name: "answered at once", via: plan.Raw, events: []event{sent(0, 7), synAck(0.21, 7)},
			want: judged{Outcome: Accepted, LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
		{name: "two SYNs lost", via: plan.Raw, events: []event{sent(0, 0), sent(1000, 1000), sent(2000, 2000), synAck(2000.21, 2000)},
			want: judged{Outcome: Accepted, Answered: 2, Retransmissions: 2, Lost: 2, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(2000200),
				Clock: TapClock, Stalled: true}},
		{name: "duplicate SYN-ACKs count once", via: plan.Raw, events: []event{sent(0, 7), synAck(0.21, 7), synAck(0.22, 7), synAck(1000, 7)},
			want: judged{Outcome: Accepted, LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
		{name: "a SYN-ACK after the repeat that echoes the first: its first answer was lost", via: plan.Raw,
			events: []event{neighbour(0.2), sent(0, 0), sent(1000, 1000), synAck(1000.21, 0)},
			want: judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(1000200), Late: LateAnswerLost, Clock: TapClock,
				Stalled: true}},
		{name: "a SYN-ACK that takes 1.3 s when others take 0.2 ms: slow, no stall", via: plan.Raw,
			events: []event{neighbour(0.2), sent(0, 0), sent(1000, 1000), synAck(1300, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(1299990), Late: LateSlow, Clock: TapClock}},
		{name: "a SYN-ACK of 1.3 s with nothing to compare: ambiguous, not called a stall", via: plan.Raw,
			events: []event{sent(0, 0), sent(1000, 1000), synAck(1300, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(1299990), Late: LateAmbiguous, Clock: TapClock}},
		{name: "an answer sooner after the repeat than any round trip is the first's", via: plan.Raw,
			events: []event{neighbour(300), sent(0, 0), sent(1000, 1000), synAck(1100, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(1099990), Late: LateSlow, Clock: TapClock}},
		{name: "soon after the repeat, and nothing behind it: the first answer was lost", via: plan.Raw,
			events: []event{neighbour(8), sent(0, 0), sent(200, 200), synAck(210, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(209990), Late: LateAnswerLost, Clock: TapClock, Stalled: true}},
		{name: "soon after the repeat, and the repeat's own answer behind it: held back, not lost", via: plan.Raw,
			events: []event{neighbour(8), sent(0, 0), sent(200, 200), synAck(210, 0), laterSYNACK(211, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(209990), Late: LateSlow, Clock: TapClock}},
		{name: "long after the repeat, and the repeat's own answer behind it: held back, not lost", via: plan.Raw,
			events: []event{sent(0, 0), sent(200, 200), synAck(261, 0), laterSYNACK(262, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(260990), Late: LateSlow, Clock: TapClock}},
		{name: "the same behind two repeats: which one was not answered is open", via: plan.Raw,
			events: []event{sent(0, 0), sent(200, 200), sent(400, 400), synAck(461, 0), laterSYNACK(462, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 2, LostBy: ByTSecr, Handshake: µ(460990), Late: LateAmbiguous, Clock: TapClock}},
		{name: "the same with one TSval: held back, or doubled on the way", via: plan.Raw,
			events: []event{neighbour(8), sent(0, 0), sent(200, 200), synAck(210, 0), synAck(211, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(209990), Late: LateAmbiguous, Clock: TapClock}},
		{name: "what is behind it is the listener's own repeat: the first answer was lost", via: plan.Raw,
			events: []event{neighbour(900), sent(0, 0), sent(200, 200), synAck(1100, 0), laterSYNACK(1900, 0)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, Handshake: µ(1099990), Late: LateAnswerLost, Clock: TapClock, Stalled: true}},
		{name: "no answer", via: plan.Raw, events: []event{sent(0, 0), sent(1000, 1000)},
			want: judged{Outcome: TimedOut, Answered: -1, Retransmissions: 1, Lost: 2, LostBy: ByCapture}},
		{name: "refused", via: plan.Raw, events: []event{sent(0, 7), rstToSYN(0.21)},
			want: judged{Outcome: Refused, LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
		{name: "an RST that acknowledges another SYN settles nothing", via: plan.Raw,
			events: []event{sent(0, 7), incoming(0.2, wire.Segment{Ack: iss + 2, Flags: wire.RST | wire.ACK})},
			want:   judged{Outcome: TimedOut, Answered: -1, Lost: 1, LostBy: ByCapture}},
		{name: "an RST without ACK settles nothing", via: plan.Raw, events: []event{sent(0, 7), rst(0.2, irs)},
			want: judged{Outcome: TimedOut, Answered: -1, Lost: 1, LostBy: ByCapture}},
		{name: "unreachable", via: plan.Raw, events: []event{sent(0, 7), icmp(0.21, 3, 13)},
			want: judged{Outcome: Unreachable, Reason: "ICMP some_error from 192.0.2.9", Answered: -1, LostBy: ByCapture}},
		{name: "fragmentation needed ends nothing", via: plan.Raw, events: []event{sent(0, 7), icmp(0.21, 3, 4)},
			want: judged{Outcome: TimedOut, Answered: -1, Lost: 1, LostBy: ByCapture}},
		{name: "a SYN-ACK after an ICMP error wins", via: plan.Raw, events: []event{sent(0, 7), icmp(0.21, 3, 1), synAck(0.51, 7)},
			want: judged{Outcome: Accepted, LostBy: ByCapture, RTT: µ(500), Handshake: µ(500), Clock: TapClock}},
		{name: "listening ended before the SYN was due", via: plan.Raw,
			want: judged{Outcome: NotSent, Reason: "the burst ended before its SYN was due", Answered: -1}},
		{name: "the caller gave up", via: plan.Raw, events: []event{sent(0, 7), cutShort(false, "context canceled")},
			want: judged{Outcome: OutcomeUnknown, Reason: "interrupted before an answer: context canceled", Answered: -1, LostBy: ByCapture}},
		{name: "the round's time was over", via: plan.Raw, events: []event{sent(0, 7), cutShort(true, "the time was over"), cutShort(false, "later")},
			want: judged{Outcome: TimedOut, Reason: "the time was over", Answered: -1, Lost: 1, LostBy: ByCapture}},
		{name: "the caller gave up after the answer", via: plan.Raw, events: []event{sent(0, 7), synAck(0.21, 7), cutShort(false, "context canceled")},
			want: judged{Outcome: Accepted, LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
	})
}

func TestRawSYNsLostInsideThisHost(t *testing.T) {
	t.Parallel()
	runStories(t, []story{
		{name: "handed over and never seen", via: plan.Raw, events: []event{handedOver(0, 0), handedOver(1000, 1000)},
			want: judged{Outcome: LocalDrop, Reason: "no SYN of this attempt was seen leaving the host", Answered: -1, Retransmissions: 1, Unseen: 2,
				Lost: 2, LostBy: ByCapture}},
		{name: "the first never seen, the second answered", via: plan.Raw,
			events: []event{handedOver(0, 0), sent(1000, 1000), synAck(1000.21, 1000)},
			want: judged{Outcome: Accepted, Answered: 1, Retransmissions: 1, Unseen: 1, Lost: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(1000210),
				Clock: UserClock, Stalled: true}},
		{name: "alike without timestamps: the one on the tap is the newest handed over", via: plan.Raw,
			events: []event{handedOver(0, -1), handedOver(1000, -1), syn(1000.01, -1), synAck(1000.21, -1)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Unseen: 1, Lost: 1, LostBy: ByCapture, Handshake: µ(1000210),
				Clock: UserClock, Stalled: true}},
		{name: "one of two alike is on the tap at once: the first", via: plan.Raw,
			events: []event{handedOver(0, -1), handedOver(0.001, -1), syn(0.01, -1), synAck(0.21, -1)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Unseen: 1, Lost: 1, LostBy: ByCapture, Handshake: µ(200), Clock: TapClock,
				Stalled: true}},
		{name: "refused for want of room: dropped here", via: plan.Raw, events: []event{handedOver(0, 0), refusedSYN(0, "no buffer space", true)},
			want: judged{Outcome: LocalDrop, Reason: "no buffer space", Answered: -1, Unseen: 1, Lost: 1, LostBy: ByCapture}},
		{name: "the device is down: never sent", via: plan.Raw, events: []event{handedOver(0, 0), refusedSYN(0, "network is down", false)},
			want: judged{Outcome: NotSent, Reason: "network is down", Answered: -1}},
		{name: "the device went down after the first SYN: it was sent, and timed out", via: plan.Raw,
			events: []event{sent(0, 0), handedOver(1000, 1000), refusedSYN(1, "network is down", false)},
			want:   judged{Outcome: TimedOut, Answered: -1, Retransmissions: 1, Unseen: 1, Lost: 2, LostBy: ByCapture}},
		{name: "refused by errno, yet on the tap (a full queue behind it): it left as far as we can tell", via: plan.Raw,
			events: []event{sent(0, 0), refusedSYN(0, "no buffer space", true)},
			want:   judged{Outcome: TimedOut, Answered: -1, Lost: 1, LostBy: ByCapture}},
		{name: "capture drops: nothing is called a local drop", via: plan.Raw, events: []event{drops(1), handedOver(0, 0)},
			want: judged{Outcome: TimedOut, Answered: -1, Lost: 1, LostBy: ByCapture}},
	})
}

func TestRawHandshakesThatThePeerResets(t *testing.T) {
	t.Parallel()
	shaken := []event{sent(0, 7), synAck(0.21, 7)}
	accepted := judged{Outcome: Accepted, LostBy: ByCapture, RTT: µ(200), Handshake: µ(200), Clock: TapClock}
	reset := accepted
	reset.Outcome, reset.Reason = Reset, "RST 50ms after the SYN-ACK"
	runStories(t, []story{
		{name: "RST to our ACK", via: plan.Raw, react: plan.Acknowledge, events: append(shaken[:2:2], rst(50.21, irs+1)), want: reset},
		{name: "RST one window ahead is not the peer's", via: plan.Raw, react: plan.Acknowledge, events: append(shaken[:2:2], rst(50.21, irs+1+1<<16)), want: accepted},
		{name: "RST with an old number is not the peer's", via: plan.Raw, react: plan.Acknowledge, events: append(shaken[:2:2], rst(50.21, irs)), want: accepted},
		{name: "RST after we reset a half-open connection means nothing", via: plan.Raw, react: plan.Reset, events: append(shaken[:2:2], rst(50.21, irs+1)), want: accepted},
	})
}

func TestABareACKSentFirstIsSettledByItsRST(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		rst  wire.Segment
		want Outcome
	}{
		{"its RST", wire.Segment{Seq: plan.FirstAck(iss), Flags: wire.RST}, Refused},
		{"an RST of another number", wire.Segment{Seq: plan.FirstAck(iss) + 1, Flags: wire.RST}, TimedOut},
		{"an RST as to a SYN", wire.Segment{Ack: iss + 1, Flags: wire.RST | wire.ACK}, TimedOut},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &plan.Burst{Arms: []plan.Arm{{Via: plan.Raw, Script: plan.Script{First: wire.ACK}}}, Shots: []plan.Shot{{Flow: flow}}}
			c := NewCorrelator(b)
			c.Observation().Captured = true
			c.ISS(0, iss)
			handedOver(0, -1)(c)
			c.Outgoing(0, at(0.005), 2, hop, &wire.Segment{Seq: iss + 1, Flags: wire.ACK})
			c.Outgoing(0, at(0.01), 2, hop, &wire.Segment{Seq: iss, Ack: plan.FirstAck(iss), Flags: wire.ACK})
			incoming(0.2, tc.rst)(c)
			o := c.Finish()
			if a := &o.Attempts[0]; a.Outcome != tc.want || a.Unseen != 0 || len(a.SYNs) != 1 || !a.SYNs[0].At.Equal(at(0.01)) {
				t.Errorf("%s, unseen %d, %+v", a.Outcome, a.Unseen, a.SYNs)
			}
		})
	}
}
