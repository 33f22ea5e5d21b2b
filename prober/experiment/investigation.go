package experiment

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Investigation decides which experiment comes next from all that was seen: first contact and an immediate repeat by the kernel, then
// raw SYNs beside them.
type Investigation struct {
	Source netip.AddrPort
	Dst    netip.AddrPort
	Burst  int
	Ladder plan.Ladder
	Listen time.Duration
	MSS    uint16
}

var _ Experiment = (*Investigation)(nil)

// Name implements Experiment.
func (v *Investigation) Name() string { return "diagnose" }

// Next implements Experiment.
func (v *Investigation) Next(seen []observe.Observation) (plan.Burst, bool) {
	switch len(seen) {
	case 0:
		return v.connect("first contact"), true
	case 1:
		return v.connect("repeat"), true
	case 2:
		return v.raw("raw SYNs"), true
	}
	return plan.Burst{}, false
}

func (v *Investigation) connect(label string) plan.Burst {
	c := Connect{Source: v.Source, Dst: v.Dst, Burst: v.Burst, Ladder: v.Ladder, Listen: v.Listen, Close: plan.Abort}
	b, _ := c.Next(nil)
	b.Label = label
	return b
}

func (v *Investigation) raw(label string) plan.Burst {
	s := SYN{Source: v.Source, Dst: v.Dst, Burst: v.Burst, Ladder: v.Ladder, Listen: v.Listen, MSS: v.MSS,
		Clock: plan.TSClock{Start: wire.TSval(1 << 30), Hz: 1000}}
	b, _ := s.Next(nil)
	b.Label = label
	return b
}
