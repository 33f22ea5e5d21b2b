package prober

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// halfSeen is a light round of ten SYNs, each repeated after a second; of the last silent ones no answer is on the tape, the others are answered at once.
func halfSeen(t *testing.T, silent int) *illRound {
	t.Helper()
	const shots = 10
	began := time.Unix(1_800_000_000, 0)
	x := &illRound{src: netip.MustParseAddr("192.0.2.1"), dst: netip.MustParseAddrPort("192.0.2.10:443"), ifindex: 2, listen: 2 * time.Second,
		started: began, finished: began.Add(2 * time.Second), handed: []time.Time{began, began.Add(time.Second)}, tape: &pulse.Tape{},
		parity: observe.Parity{State: observe.ParitySame}, script: plan.Script{}}
	seen := func(i int, after time.Duration, s wire.Segment, out bool) {
		s.HopLimit = 64
		b := make([]byte, s.Size())
		if _, err := s.Encode(b); err != nil {
			t.Fatal(err)
		}
		x.tape.Frames = append(x.tape.Frames, pulse.Frame{At: began.Add(after).UnixNano(), IfIndex: 2, Orig: int32(len(b)), Shot: uint16(i), Outgoing: out, Net: b})
	}
	for i := range shots {
		s := pulse.Shot{Port: uint16(62000 + i), ISS: wire.Seq(1000 * i), SYNs: 1, Accepted: i < shots-silent}
		flow := wire.Flow{Src: netip.AddrPortFrom(x.src, s.Port), Dst: x.dst}
		seen(i, time.Microsecond, wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: s.ISS, Flags: wire.SYN, Window: 1024}, true)
		if s.Accepted {
			seen(i, time.Millisecond, wire.Segment{Src: flow.Dst, Dst: flow.Src, Seq: 7, Ack: s.ISS + 1, Flags: wire.SYN | wire.ACK, Window: 1024}, false)
		} else {
			s.SYNs = 2
			seen(i, time.Second, wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: s.ISS, Flags: wire.SYN, Window: 1024}, true)
		}
		x.shots = append(x.shots, s)
	}
	return x
}

// TestALightRoundUnderOverloadJudgesNoLoss: frames that the ring lost, that nobody came to read in time, or that the history had no room for, may
// have been the answers: this host is named and no loss is. One step away, with every frame seen, it is the network's.
func TestALightRoundUnderOverloadJudgesNoLoss(t *testing.T) {
	loss := []diagnose.Verdict{diagnose.ForwardSYNLoss, diagnose.SYNACKLoss, diagnose.SYNStallUnclassified, diagnose.BlackholeBackend, diagnose.ACLDrop,
		diagnose.ECMPPathLoss, diagnose.SYNRateLimited}
	for _, tt := range []struct {
		name   string
		silent int
		change func(x *illRound)
		own    bool
	}{
		{"the ring lost one frame", 3, func(x *illRound) { x.drops = 1 }, true},
		{"one frame was not read in time", 3, func(x *illRound) { x.unread = 1 }, true},
		{"the history had no room for one frame", 3, func(x *illRound) { x.tape.Missing = 1 }, true},
		{"the ring lost a hundred thousand frames, and all answers", 10, func(x *illRound) { x.drops = 100_000 }, true},
		{"every frame was seen", 3, func(*illRound) {}, false},
		{"the ring lost one frame, and yet nothing is missing", 0, func(x *illRound) { x.drops = 1 }, false},
	} {
		x := halfSeen(t, tt.silent)
		tt.change(x)
		d := diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{x.observation()}})
		var named []diagnose.Verdict
		for _, c := range d.Causes {
			named = append(named, c.Verdict)
		}
		if own := slices.Contains(named, diagnose.ProberLocalDrop); own != tt.own {
			t.Errorf("%s: %v", tt.name, named)
		}
		blamed := slices.ContainsFunc(named, func(v diagnose.Verdict) bool { return slices.Contains(loss, v) })
		if lost := tt.silent > 0 && !tt.own; blamed != lost {
			t.Errorf("%s: %v", tt.name, named)
		}
	}
}
