package profile

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The arms of a Revisit: how the first connections are made, and what comes to them later.
const (
	armClosed1st = "closed by the server"
	armStamped   = "closed by the server, with timestamps"
	armKill      = "RST into TIME_WAIT"

	armHigher    = "higher ISN"
	armLower     = "lower ISN"
	armKilled    = "lower ISN after an RST"
	armNewer     = "lower ISN, newer timestamp"
	armOlder     = "higher ISN, older timestamp"
	revisitEach  = 2
	revisitSkip  = 1 << 20 // in sequence numbers, more than any connection here has sent
	revisitTicks = 1 << 20 // in ticks: 17 minutes at 1000 Hz
)

const (
	// closeListen is how long the server may take to close; closeEnough what answers the rest of the close.
	closeListen = 2500 * time.Millisecond
	// revisitAgain is when an unanswered SYN is repeated: Linux answers what it does not accept in TIME_WAIT no more often than twice a second
	// (tcp_invalid_ratelimit, net/ipv4/tcp_minisocks.c tcp_timewait_check_oow_rate_limit, 6.18).
	revisitAgain = 700 * time.Millisecond
	// killListen gives the RST time to arrive.
	killListen = 300 * time.Millisecond
)

// Revisit asks what a host's TIME_WAIT makes of later SYNs of the same ports. It makes some connections that the host closes first, and comes back to
// each once. Where Stamped, some of them have timestamps: a host with per-host PAWS would remember them for a minute, so the caller rules that out.
type Revisit struct {
	Source netip.AddrPort // port 0: the engine's choice
	Dst    netip.AddrPort
	MSS    uint16
	// Request is what the server answers and then closes.
	Request []byte
	Stamped bool
	Rand    *rand.Rand
}

// Name implements experiment.Experiment.
func (v *Revisit) Name() string { return "TIME_WAIT" }

// visits are the arms of the SYNs that come back, and whether their connections have timestamps.
func (v *Revisit) visits() (arms []string, stamped int) {
	arms = []string{armHigher, armLower, armKilled}
	stamped = len(arms)
	if v.Stamped {
		arms = append(arms, armNewer, armOlder)
	}
	return arms, stamped
}

// Next implements experiment.Experiment: connections, an RST to some of those that were closed, and a SYN to each.
func (v *Revisit) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) == 0 {
		return v.connections(), true
	}
	if len(seen) == 1 {
		if b := v.kill(&seen[0]); len(b.Shots) > 0 {
			return b, true
		}
	}
	if len(seen) > 1 && !asked(seen[1:2], armKill) || len(seen) > 2 {
		return plan.Burst{}, false
	}
	b := v.again(&seen[0])
	return b, len(b.Shots) > 0
}

func (v *Revisit) script(stamped bool) plan.Script {
	val := wire.TSval(v.Rand.Uint32())
	s := plan.Script{Options: wire.LinuxSYNWithoutTimestamps(v.MSS, scale), Ladder: plan.Custom(0, revisitAgain)}
	if stamped {
		s.Options, s.Clock = wire.LinuxSYN(v.MSS, val, scale), plan.TSClock{Start: val, Hz: 1000}
	}
	return s
}

func (v *Revisit) connections() plan.Burst {
	arms, stamped := v.visits()
	b := plan.Burst{Label: "the server closes first", Kind: plan.KindProfile, Listen: closeListen, Enough: revisitEach * len(arms)}
	for i, name := range []string{armClosed1st, armStamped} {
		s := v.script(i == 1)
		s.OnSYNACK = plan.Acknowledge
		s.Then = plan.Exchange{Data: v.Request, Close: plan.WaitForPeer}
		b.Arms = append(b.Arms, plan.Arm{Name: name, Via: plan.Raw, Script: s})
	}
	for i := range revisitEach * len(arms) {
		arm := 0
		if i/revisitEach >= stamped {
			arm = 1
		}
		b.Shots = append(b.Shots, plan.Shot{Arm: arm, Offset: time.Duration(i) * gap, Flow: wire.Flow{Src: v.Source, Dst: v.Dst}})
	}
	return b
}

// kill resets the connections of one arm where the server expects our next octet.
func (v *Revisit) kill(o *observe.Observation) plan.Burst {
	s := plan.Script{First: wire.RST, Ladder: plan.Custom(0, killListen/2), OnSYNACK: plan.Reset}
	b := plan.Burst{Label: armKill, Kind: plan.KindProfile, Listen: killListen, Arms: []plan.Arm{{Name: armKill, Via: plan.Raw, Script: s}}}
	arms, _ := v.visits()
	for i := range o.Attempts {
		c, ok := closedFirst(&o.Attempts[i])
		if ok && arms[i/revisitEach] == armKilled {
			b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(len(b.Shots)) * gap, Flow: c.flow, Again: true, ISS: &c.next})
		}
	}
	return b
}

// again sends a SYN to every connection that the server closed first, and so holds in TIME_WAIT.
func (v *Revisit) again(o *observe.Observation) plan.Burst {
	b := plan.Burst{Label: "SYNs into TIME_WAIT", Kind: plan.KindProfile, Listen: revisitAgain + 500*time.Millisecond}
	arms, stamped := v.visits()
	for i := range o.Attempts {
		c, ok := closedFirst(&o.Attempts[i])
		if !ok {
			continue
		}
		name := arms[i/revisitEach]
		s := v.script(false)
		iss := c.next.Add(revisitSkip)
		if i/revisitEach >= stamped {
			ticks := int64(revisitTicks)
			if name == armOlder {
				ticks = -ticks
			}
			s = v.script(true)
			s.Clock.Start = c.tsval.Add(ticks)
			s.Options.SetTimestamps(s.Clock.Start, 0)
		}
		if name == armLower || name == armKilled || name == armNewer {
			iss = c.iss.Add(-revisitSkip)
		}
		s.OnSYNACK = plan.Reset
		b.Arms = append(b.Arms, plan.Arm{Name: name, Via: plan.Raw, Script: s})
		b.Shots = append(b.Shots, plan.Shot{Arm: len(b.Arms) - 1, Offset: time.Duration(len(b.Shots)) * gap, Flow: c.flow, Again: true, ISS: &iss})
	}
	return b
}

// kept is a connection that the server closed first and whose TIME_WAIT it holds.
type kept struct {
	flow wire.Flow
	// iss and next are our first sequence number and the one after our FIN, peer that after the server's.
	iss, next, peer wire.Seq
	tsval           wire.TSval
}

// closedFirst reads a connection; ok is false where the server did not close first, or not to the end: its FIN left before ours had come to it, we
// acknowledged it, and it acknowledged ours.
func closedFirst(a *observe.Attempt) (k kept, ok bool) {
	ans := synACK(a)
	fin := slices.IndexFunc(a.Answers, func(x observe.Answer) bool { return x.Flags&(wire.FIN|wire.RST|wire.SYN) == wire.FIN })
	ours := slices.IndexFunc(a.Sent, func(s observe.Sent) bool { return s.Flags&wire.FIN != 0 })
	if ans == nil || fin < 0 || ours < 0 {
		return k, false
	}
	f, mine := &a.Answers[fin], &a.Sent[ours]
	k = kept{flow: a.Flow, iss: a.ISS, next: mine.Seq.Add(mine.Length + 1), peer: f.Seq.Add(f.Length + 1)}
	if k.next.Before(f.Ack) || f.Ack == k.next || mine.Ack != k.peer {
		return k, false
	}
	for i := range a.Sent {
		if s := &a.Sent[i]; s.Flags&wire.RST != 0 {
			return k, false
		} else if s.HasTS {
			k.tsval = s.TSval
		}
	}
	acked := false
	for i := range a.Answers {
		x := &a.Answers[i]
		acked = acked || x.Flags&wire.RST == 0 && x.Ack == k.next
		if x.Kind == observe.RST {
			return k, false
		}
	}
	return k, acked
}
