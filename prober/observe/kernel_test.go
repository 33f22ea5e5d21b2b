package observe

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestKernelConnectsAreCountedByTapAndTCPInfo(t *testing.T) {
	t.Parallel()
	runStories(t, []story{
		{name: "answered at once", via: plan.Kernel,
			events: []event{syn(0, 100), synAck(0.2, 100), connected(-0.1, 0.3, 0, 0.2)},
			want:   judged{Outcome: Accepted, LostBy: ByBoth, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
		{name: "first SYN lost, the echo names the second", via: plan.Kernel,
			events: []event{syn(0, 100), syn(1000, 1100), synAck(1000.2, 1100), connected(-0.1, 1000.3, 1, 0.2)},
			want: judged{Outcome: Accepted, Answered: 1, Retransmissions: 1, Lost: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(1000200),
				Clock: TapClock, Stalled: true}},
		{name: "three SYNs lost", via: plan.Kernel,
			events: []event{syn(0, 0), syn(1000, 1000), syn(2000, 2000), syn(3000, 3000), synAck(3000.2, 3000), connected(-0.1, 3000.3, 3, 0.2)},
			want: judged{Outcome: Accepted, Answered: 3, Retransmissions: 3, Lost: 3, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(3000200),
				Clock: TapClock, Stalled: true}},
		{name: "one lost without timestamps: nothing names the SYN, capture and kernel agree on the count", via: plan.Kernel,
			events: []event{syn(0, -1), syn(1000, -1), synAck(1000.2, -1), connected(-0.1, 1000.3, 1, 0)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Lost: 1, LostBy: ByBoth, Handshake: µ(1000200), Clock: TapClock,
				Stalled: true}},
		{name: "rewritten echo names none of ours", via: plan.Kernel,
			events: []event{syn(0, 100), syn(1000, 1100), synAck(1000.2, 31337), connected(-0.1, 1000.3, 1, 0)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Lost: 1, LostBy: ByBoth, Handshake: µ(1000200), Clock: TapClock,
				Stalled: true}},
		{name: "equal TSvals name no SYN", via: plan.Kernel,
			events: []event{syn(0, 100), syn(1000, 100), synAck(1000.2, 100), connected(-0.1, 1000.3, 1, 0)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Lost: 1, LostBy: ByBoth, Handshake: µ(1000200), Clock: TapClock,
				Stalled: true}},
		{name: "first SYN never left: the kernel counts a repeat that the tap saw as the first", via: plan.Kernel,
			events: []event{syn(1000, 1100), synAck(1000.2, 1100), connected(0, 1000.3, 1, 0.2)},
			want: judged{Outcome: Accepted, Retransmissions: 1, Unseen: 1, Lost: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(1000300),
				Clock: UserClock, Stalled: true}},
		{name: "second SYN never left, and the first was answered late: none was lost before the answered one", via: plan.Kernel,
			events: []event{syn(0, 100), synAck(1500, 100), connected(0, 1500.1, 1, 0)},
			want: judged{Outcome: Accepted, Retransmissions: 1, Unseen: 1, Lost: 0, LostBy: ByTSecr, RTT: 1500 * ms, Handshake: µ(1500100),
				Clock: UserClock, Stalled: true}},
		{name: "without a tap TCP_INFO counts alone", via: plan.Kernel,
			events: []event{blind(), connected(0, 1000.3, 1, 0.2)},
			want: judged{Outcome: Accepted, Answered: -1, Retransmissions: 1, Lost: 1, LostBy: ByTCPInfo, RTT: µ(200), Handshake: µ(1000300),
				Clock: UserClock, Stalled: true}},
		{name: "capture drops: a SYN not seen is not a SYN lost here", via: plan.Kernel,
			events: []event{drops(3), syn(1000, 1100), synAck(1000.2, 1100), connected(0, 1000.3, 1, 0.2)},
			want:   judged{Outcome: Accepted, Retransmissions: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(200), Clock: TapClock, Stalled: true}},
		{name: "no answer: every SYN counts", via: plan.Kernel,
			events: []event{syn(0, 0), syn(1000, 1000), syn(2000, 2000), gaveUp(2)},
			want:   judged{Outcome: TimedOut, Reason: "no answer within the deadline", Answered: -1, Retransmissions: 2, Lost: 3, LostBy: ByBoth}},
		{name: "no SYN was ever seen leaving", via: plan.Kernel,
			events: []event{gaveUp(2)},
			want: judged{Outcome: LocalDrop, Reason: "no SYN of this attempt was seen leaving the host", Answered: -1, Retransmissions: 2,
				Unseen: 3, Lost: 3, LostBy: ByTCPInfo}},
		{name: "no SYN was seen leaving, but the ring lost frames: that proves nothing", via: plan.Kernel,
			events: []event{drops(1), gaveUp(2)},
			want:   judged{Outcome: TimedOut, Reason: "no answer within the deadline", Answered: -1, Retransmissions: 2, Lost: 3, LostBy: ByTCPInfo}},
		{name: "the kernel blames this host, and the tap saw nothing leave", via: plan.Kernel,
			events: []event{ended(LocalDrop, "EHOSTUNREACH", 2)},
			want: judged{Outcome: LocalDrop, Reason: "EHOSTUNREACH", Answered: -1, Retransmissions: 2, Unseen: 3, Lost: 3, LostBy: ByTCPInfo,
				Handshake: µ(3000100), Clock: UserClock}},
		{name: "the kernel blames this host, but a SYN did leave before the neighbour entry failed", via: plan.Kernel,
			events: []event{syn(0, 0), icmp(2900, 3, 1), ended(LocalDrop, "EHOSTUNREACH", 1)},
			want: judged{Outcome: Unreachable, Reason: "EHOSTUNREACH", Answered: -1, Retransmissions: 1, Unseen: 1, Lost: 2, LostBy: ByTCPInfo,
				Handshake: µ(3000100), Clock: UserClock}},
		{name: "refused", via: plan.Kernel,
			events: []event{syn(0, 0), rstToSYN(0.2), ended(Refused, "ECONNREFUSED: RST", 0)},
			want:   judged{Outcome: Refused, Reason: "ECONNREFUSED: RST", LostBy: ByBoth, RTT: µ(200), Handshake: µ(200), Clock: TapClock}},
		{name: "refused after one lost SYN", via: plan.Kernel,
			events: []event{syn(0, 0), syn(1000, 1000), rstToSYN(1000.2), ended(Refused, "ECONNREFUSED: RST", 1)},
			want: judged{Outcome: Refused, Reason: "ECONNREFUSED: RST", Answered: -1, Retransmissions: 1, Lost: 1, LostBy: ByBoth, Handshake: µ(1000200),
				Clock: TapClock}},
		{name: "unreachable names the ICMP error", via: plan.Kernel,
			events: []event{syn(0, 0), icmp(0.5, 3, 1), ended(Unreachable, "EHOSTUNREACH", 0)},
			want: judged{Outcome: Unreachable, Reason: "EHOSTUNREACH: ICMP some_error from 192.0.2.9", Answered: -1, LostBy: ByBoth,
				Handshake: µ(3000100), Clock: UserClock}},
		{name: "not sent", via: plan.Kernel, events: []event{notSent("no route")},
			want: judged{Outcome: NotSent, Reason: "no route", Answered: -1}},
		{name: "interrupted", via: plan.Kernel, events: []event{syn(0, 0), ended(OutcomeUnknown, "interrupted before an answer", 0)},
			want: judged{Outcome: OutcomeUnknown, Reason: "interrupted before an answer", Answered: -1, LostBy: ByBoth, Handshake: µ(3000100),
				Clock: UserClock}},
	})
}

func TestKernelAndTapDisagree(t *testing.T) {
	t.Parallel()
	runStories(t, []story{
		{name: "accepted, and no SYN-ACK was seen (local NAT)", via: plan.Kernel,
			events: []event{connected(0, 0.3, 0, 0.2)},
			want: judged{Outcome: Accepted, Answered: -1, Unseen: 1, LostBy: ByTCPInfo, RTT: µ(200), Handshake: µ(300), Clock: UserClock,
				Strays: map[string]int{"accepted_without_syn_ack": 1}}},
		{name: "the first SYN-ACK was dropped between tap and socket: the connect stalled all the same", via: plan.Kernel,
			events: []event{syn(0, 0), synAck(0.2, 0), syn(1000, 1000), synAck(1000.2, 0), connected(-0.1, 1000.3, 1, 0)},
			want: judged{Outcome: Accepted, Answered: 0, Retransmissions: 1, Lost: 0, LostBy: ByTSecr, Handshake: µ(1000200), Late: LateAnswerLost,
				Clock: TapClock, Stalled: true, Strays: map[string]int{"answer_not_taken": 1}}},
		{name: "every SYN-ACK was dropped between tap and socket", via: plan.Kernel,
			events: []event{syn(0, 0), synAck(0.2, 0), syn(1000, 1000), synAck(1000.2, 0), syn(2000, 2000), gaveUp(2)},
			want: judged{Outcome: TimedOut, Reason: "no answer within the deadline; a syn_ack reached this host, but its TCP did not take it",
				Answered: -1, Retransmissions: 2, Lost: 3, LostBy: ByBoth, Strays: map[string]int{"answer_not_taken": 1}}},
		{name: "a SYN-ACK came just as listening ended: it answers its SYN, and does not make the connect", via: plan.Kernel,
			events: []event{syn(0, 0), synAck(900, 0), gaveUp(0)},
			want: judged{Outcome: TimedOut, Reason: "no answer within the deadline; a syn_ack reached this host, but its TCP did not take it",
				Answered: 0, LostBy: ByBoth, RTT: 900 * ms, Handshake: 900 * ms, Clock: TapClock, Strays: map[string]int{"answer_not_taken": 1}}},
		{name: "a SYN-ACK for another ISN answers nothing", via: plan.Kernel,
			events: []event{syn(0, 0), incoming(0.2, wire.Segment{Seq: irs, Ack: iss + 2, Flags: wire.SYN | wire.ACK}), syn(1000, 1000),
				synAck(1000.2, 1000), connected(-0.1, 1000.3, 1, 0.2)},
			want: judged{Outcome: Accepted, Answered: 1, Retransmissions: 1, Lost: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(1000200),
				Clock: TapClock, Stalled: true, Strays: map[string]int{"syn_ack_not_ours": 1}}},
		{name: "a challenge ACK and the repeat that it draws", via: plan.Kernel,
			events: []event{syn(0, 0), incoming(0.2, wire.Segment{Seq: 5, Ack: 6, Flags: wire.ACK}), syn(15, 15), synAck(15.2, 15),
				connected(-0.1, 15.3, 1, 0.2)},
			want: judged{Outcome: Accepted, Answered: 1, Retransmissions: 1, Lost: 1, LostBy: ByTSecr, RTT: µ(200), Handshake: µ(15200),
				Clock: TapClock, Stalled: true}},
	})
}

func TestUnseenSYNsAreOrderedByTheLadder(t *testing.T) {
	t.Parallel()
	ladder := plan.Linear(time.Second, 4, 10).At
	for d, want := range map[time.Duration]int{0: 0, 400 * ms: 0, 600 * ms: 1, 3040 * ms: 3, 6900 * ms: 6, time.Hour: len(ladder) - 1} {
		if got := rung(ladder, d); got != want {
			t.Errorf("rung at %s: got %d, want %d", d, got, want)
		}
	}
}
