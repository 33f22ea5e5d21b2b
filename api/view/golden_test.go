package view_test

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

var update = flag.Bool("update", false, "write the golden file anew")

// golden compares v's JSON with the file. Its fields are a promise to scripts: a changed file is a changed promise.
func golden(t *testing.T, file string, v any) {
	t.Helper()
	var got bytes.Buffer
	if err := view.WriteJSON(&got, v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

var (
	vip    = netip.MustParseAddr("192.0.2.10")
	self   = netip.MustParseAddr("192.0.2.1")
	router = netip.MustParseAddr("192.0.2.254")
)

func at(d time.Duration) time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC).Add(d) }

func flow(port uint16) wire.Flow {
	return wire.Flow{Src: netip.AddrPortFrom(self, port), Dst: netip.AddrPortFrom(vip, 443)}
}

// stalled is a kernel connect whose first SYN was lost, with everything that can be known of it.
func stalled() observe.Attempt {
	return observe.Attempt{
		Index: 0, Arm: "kernel", Via: plan.Kernel, Flow: flow(61000), ISS: 100, Outcome: observe.Accepted,
		SYNs: []observe.SYN{
			{At: at(0), TSval: 7, HasTS: true, IfIndex: 2, NextHop: wire.MAC{2, 0, 0, 0, 0, 1}},
			{At: at(time.Second), TSval: 1007, HasTS: true, IfIndex: 2, NextHop: wire.MAC{2, 0, 0, 0, 0, 1}},
		},
		Answers: []observe.Answer{{
			At: at(1001500 * time.Microsecond), Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK, Seq: 900, Ack: 101, TSval: 55, TSecr: 1007, HasTS: true,
			Window: 65160, HopLimit: 64, Options: wire.LinuxSYN(1460, 55, 7), Checksum: wire.ChecksumGood,
		}},
		Kernel: &observe.KernelView{
			Started: at(-time.Microsecond), Completed: at(1001600 * time.Microsecond), HasInfo: true,
			Info: observe.TCPInfo{State: 1, TotalRetrans: 1, RTT: 1500 * time.Microsecond, RTTVar: 750 * time.Microsecond, RTO: 201 * time.Millisecond, SndMSS: 1448, Options: 7},
		},
		Answered: 1, Retransmissions: 1, Lost: 1, LostBy: observe.ByTSecr, RTT: 1500 * time.Microsecond, Handshake: 1001500 * time.Microsecond, Clock: observe.TapClock,
	}
}

// bare is a raw shot that got an ICMP error and nothing else.
func bare() observe.Attempt {
	return observe.Attempt{
		Index: 1, Arm: "raw", Via: plan.Raw, Flow: flow(63300), ISS: 0, Outcome: observe.Unreachable, Reason: "host_unreachable",
		SYNs:     []observe.SYN{{Handed: at(0)}},
		Answers:  []observe.Answer{{At: at(time.Millisecond), Kind: observe.ICMP, From: router, ICMPType: 3, ICMPCode: 1, ICMPName: "host_unreachable", HopLimit: 63}},
		Answered: -1,
	}
}

// unsent never left: nothing is known of it but that.
func unsent() observe.Attempt {
	return observe.Attempt{Index: 2, Arm: "kernel", Via: plan.Kernel, Outcome: observe.NotSent, Reason: "EADDRNOTAVAIL", Answered: -1}
}

func fullRound() prober.Round {
	return prober.Round{
		Target: "vip.example:443", Addr: netip.AddrPortFrom(vip, 443), Module: "connect", Kind: prober.KindConnect, Started: at(0),
		Duration: 1100 * time.Millisecond, Lookup: 3 * time.Millisecond, Kernel: "6.18.5", Ladder: plan.Linear(time.Second, 4, 6),
		Observations: []observe.Observation{{
			Label: "burst 1", Started: at(0), Finished: at(1100 * time.Millisecond), Captured: true, CaptureDrops: 2, SendLag: 40 * time.Microsecond,
			Attempts: []observe.Attempt{stalled(), bare(), unsent()},
			Pings: []observe.Ping{
				{Src: self, Dst: vip, ID: 61000, Seq: 7, Handed: at(0), At: at(0), Replies: []observe.Reply{{At: at(time.Millisecond), From: vip, HopLimit: 63}}},
				{Dst: vip, Refused: "no raw shot of the burst goes to this address"},
			},
			Neighbor: []observe.NeighborEvent{
				{At: at(-time.Millisecond), Outgoing: true, Kind: observe.NeighborRequest, IfIndex: 2, Sender: self, Target: vip, SenderMAC: "02:00:00:00:00:02", FrameMAC: "02:00:00:00:00:02"},
				{At: at(0), Kind: observe.NeighborReply, IfIndex: 2, Sender: vip},
			},
			Counters: map[string]int64{"TcpExt.ListenDrops": 1}, Strays: map[string]int{"fragment": 2},
			Parity: observe.Parity{State: observe.ParityDiffers, Why: "another interface"}, Unmeasured: []string{"arp_cache: not readable here"},
		}},
		Diagnosis: diagnose.Diagnosis{
			Headline: "SYNs are lost on the way there",
			Causes: []diagnose.Cause{{
				Verdict: diagnose.ForwardSYNLoss, Level: diagnose.Confirmed, Summary: "1 of 3", Evidence: []string{"attempt 0"}, Disproof: "a SYN-ACK", Remedy: "look there", P: 1e-5,
			}},
			Notes: []diagnose.Finding{{Verdict: diagnose.AcceptQueueOverflow, Level: diagnose.Inconclusive, Settle: "counters of the server"}},
		},
		Why: "2 of 3 connections were not accepted",
		TCP: &prober.TCPResult{
			FailedDueToRegex: true, ExpectInfo: map[string]string{"v": "9"}, TLSVersion: "TLS 1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
			EarliestExpiry: at(time.Hour), Fingerprint: "ab12", Subject: "CN=vip", Issuer: "CN=ca", SubjectAltNames: "vip.example", Serial: "1f",
		},
	}
}

func TestRoundJSON(t *testing.T) {
	r := fullRound()
	golden(t, "testdata/round.json", view.NewRound(&r))
}

// TestClocksJSON: the timestamp clocks that a cause is about.
func TestClocksJSON(t *testing.T) {
	r := prober.Round{Target: "vip.example:443", Module: "connect", Kind: prober.KindConnect, Started: at(0)}
	r.Diagnosis.Measurements = []diagnose.Measurement{
		{Name: diagnose.ListenerBacklog, Value: 64, Most: 65, Unit: "connections", How: "counted"},
		{Name: diagnose.PoolMembers, Value: 2, Unit: "members", How: "by fingerprint"},
		{Name: diagnose.ListenerBacklog, Unit: "connections", How: "counted", Missing: "nothing was answered"},
	}
	r.Diagnosis.Stacks = []diagnose.Stack{{Fingerprint: "2,4,8,1,3, mss 1460 wscale 7 initial ttl 64", Flows: 20, Share: diagnose.FlowShare{Low: 0.1, High: 0.4}, Lost: 3,
		LossyFlows: 2, Least: 1e6, Median: 2e6, Most: 3e6}}
	r.Diagnosis.Responders = diagnose.Responders{Flows: 42, Clocks: 2, Unplaced: 2, HostClocks: 1, Apart: []string{"loses more than the rest: B, 2 of 20"},
		List: []diagnose.Responder{{Name: "A", Clock: 1, Hz: 250, Stack: r.Diagnosis.Stacks[0]}, {Name: "B", Clock: 2, Stack: r.Diagnosis.Stacks[0]}}}
	r.Diagnosis.RateLimit = &diagnose.RateLimit{RateLow: 4.9, RateHigh: 5.1, BurstLow: 5, BurstHigh: 6, Exact: true, Scope: diagnose.ScopeShared, AtOnce: 1,
		Sources: []diagnose.LimitedSource{{Addr: netip.MustParseAddr("192.0.2.10"), Asked: 40, Answered: 8, PerSecond: 2.5}}}
	r.Diagnosis.Clocks = []diagnose.ClockSeries{
		{Of: diagnose.OwnKernel, Hz: 1000, Points: []diagnose.ClockPoint{{At: at(0), TSval: 481284815}}},
		{Of: diagnose.Remembered, HzLow: 961.5, HzHigh: 1044, Note: "fixed", Points: []diagnose.ClockPoint{{At: at(time.Second), TSval: 517740536, Within: 4}}},
	}
	golden(t, "testdata/clocks.json", view.NewRound(&r))
}

// TestRefusedJSON: a target off the list and a name that does not resolve; nothing invalid is spelt out.
func TestRefusedJSON(t *testing.T) {
	refused := prober.Round{
		Target: "198.51.100.1:443", Module: "connect", Kind: prober.KindConnect, Started: at(0),
		Err: &prober.NotAllowedError{Target: "198.51.100.1:443", Addr: netip.MustParseAddr("198.51.100.1"), Why: "not on the allow list", Entry: "198.51.100.1"},
	}
	gone := view.NewTargetError("nope.invalid:443", &prober.ResolveError{Host: "nope.invalid", Err: errors.New("no such host")})
	golden(t, "testdata/refused.json", view.NewDocument([]prober.Round{refused}, []view.TargetError{gone}))
}

func TestRank(t *testing.T) {
	ten := make([]time.Duration, 10)
	for i := range ten {
		ten[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.1: 1, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		if got := view.Rank(ten, q); got != want {
			t.Errorf("rank %v of ten is %d, want %d", q, got, want)
		}
	}
	if got := view.Rank(ten[:1], 0.99); got != 1 {
		t.Errorf("rank of one is %d", got)
	}
}

func TestKindOf(t *testing.T) {
	for want, err := range map[view.ErrorKind]error{
		"": nil, view.NotAllowed: &prober.NotAllowedError{}, view.NotResolved: &prober.ResolveError{}, view.BadTarget: &prober.TargetError{},
		view.Budget: &prober.BudgetError{}, view.Environment: &prober.EnvironmentError{Err: os.ErrPermission}, view.Failed: errors.New("else"),
	} {
		if got := view.KindOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
