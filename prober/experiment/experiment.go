package experiment

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Experiment proposes bursts until it has seen enough.
type Experiment interface {
	// Name is the experiment's own, as in configuration and reports.
	Name() string
	// Next returns the burst to run after what was seen, or false when the experiment is over.
	Next(seen []observe.Observation) (plan.Burst, bool)
}

// Connect is the kernel burst: n ordinary connects at once, repeated count times with pause between.
type Connect struct {
	Source netip.AddrPort // unspecified: the route's own
	Dst    netip.AddrPort
	Burst  int
	Count  int
	Ladder plan.Ladder // what this machine's kernel does
	Listen time.Duration
	// HopLimit and ToS of the SYNs; 0: the host's.
	HopLimit, ToS uint8
	Close         plan.Closing
}

var _ Experiment = (*Connect)(nil)

// Name implements Experiment.
func (c *Connect) Name() string { return "connect" }

// Next implements Experiment.
func (c *Connect) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) >= max(c.Count, 1) {
		return plan.Burst{}, false
	}
	script := plan.Script{Ladder: c.Ladder.Until(c.Listen), HopLimit: c.HopLimit, ToS: c.ToS, Then: plan.Exchange{Close: c.Close}}
	b := plan.Burst{Label: "connect", Kind: plan.KindConnect, Arms: []plan.Arm{{Name: "kernel", Via: plan.Kernel, Script: script}}, Listen: c.Listen}
	for range c.Burst {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Src: c.Source, Dst: c.Dst}})
	}
	return b, true
}

// SYN is the raw burst: n SYNs at once from n fresh source ports, with a realistic option set and a TSval of our own making.
type SYN struct {
	Source   netip.AddrPort
	Dst      netip.AddrPort
	Burst    int
	Count    int
	Ladder   plan.Ladder
	Listen   time.Duration
	HopLimit uint8
	ToS      uint8
	MSS      uint16
	// Clock of the timestamps; not used where WithoutTimestamps.
	Clock             plan.TSClock
	WithoutTimestamps bool
	// Handshake acknowledges the SYN-ACK and aborts, in place of resetting it half-open.
	Handshake bool
}

var _ Experiment = (*SYN)(nil)

// Name implements Experiment.
func (s *SYN) Name() string { return "syn" }

// scale is the window scale that Linux offers with its default receive buffer limit of 6 MiB (tcp_select_initial_window).
const scale = 7

// Next implements Experiment.
func (s *SYN) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) >= max(s.Count, 1) {
		return plan.Burst{}, false
	}
	script := plan.Script{
		Options: wire.LinuxSYN(s.MSS, s.Clock.Start, scale), Clock: s.Clock, HopLimit: s.HopLimit, ToS: s.ToS,
		Ladder: s.Ladder.Until(s.Listen), OnSYNACK: plan.Reset,
	}
	if s.WithoutTimestamps {
		script.Options = wire.LinuxSYNWithoutTimestamps(s.MSS, scale)
	}
	if s.Handshake {
		script.OnSYNACK, script.Then.Close = plan.Acknowledge, plan.Abort
	}
	b := plan.Burst{Label: "syn", Kind: plan.KindSYN, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: script}}, Listen: s.Listen}
	for range s.Burst {
		b.Shots = append(b.Shots, plan.Shot{Flow: wire.Flow{Src: s.Source, Dst: s.Dst}})
	}
	return b, true
}

// RandomClock is a TSval clock that starts anywhere on the circle and ticks at hz: no probe of ours looks older than another by
// more than chance.
func RandomClock(r *rand.Rand, hz uint32) plan.TSClock {
	return plan.TSClock{Start: wire.TSval(r.Uint32()), Hz: hz}
}
