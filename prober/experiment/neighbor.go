package experiment

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Neighbor is the cold and the warm half of a pair: a burst of kernel connects as it comes, and the same again after the wire was asked
// for the next hop a few times. What only the first loses is lost for want of a link address.
type Neighbor struct {
	Source netip.AddrPort // unspecified: the route's own
	Dst    netip.AddrPort
	Burst  int
	Ladder plan.Ladder // what this machine's kernel does
	Listen time.Duration
	// Forget deletes our own entry of the next hop before the first burst.
	Forget bool
	// Questions is how often the wire is asked.
	Questions int
	// Unused is an address of the segment that nobody should have, asked for once; invalid: none.
	Unused netip.Addr
}

var _ Experiment = (*Neighbor)(nil)

// Name implements Experiment.
func (n *Neighbor) Name() string { return "neighbor" }

// Next implements Experiment.
func (n *Neighbor) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) >= 2 {
		return plan.Burst{}, false
	}
	c := Connect{Source: n.Source, Dst: n.Dst, Burst: n.Burst, Ladder: n.Ladder, Listen: min(n.Listen, kernelListen(n.Ladder)), Close: plan.Abort}
	b, _ := c.Next(nil)
	if len(seen) == 0 {
		b.Label = "first contact"
		if n.Forget {
			b.Prepare = []plan.NeighborStep{{Action: plan.Forget, Addr: n.Dst.Addr()}}
		}
		return b, true
	}
	b.Kind, b.Label = plan.KindResolve, "asked again"
	for range n.Questions {
		b.Prepare = append(b.Prepare, plan.NeighborStep{Action: plan.Ask, Addr: n.Dst.Addr()})
	}
	if n.Unused.IsValid() {
		b.Prepare = append(b.Prepare, plan.NeighborStep{Action: plan.Unused, Addr: n.Unused})
	}
	return b, true
}
