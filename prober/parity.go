package prober

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// diversion is a kernel SYN of ours that left on another flow than the one we connected to.
type diversion struct {
	shot    int
	flow    wire.Flow
	ifindex int
}

// scoutTime is how long the scout's SYN may take to leave.
const scoutTime = 300 * time.Millisecond

// scout makes one ordinary connect to dst and compares how its SYN leaves with how a raw one would. AF_PACKET passes by local NAT
// (the OUTPUT chains), policy routing and xfrm, so where the two differ a raw arm says nothing about what applications meet.
func (e *engine) scout(ctx context.Context, q request, p *path, link [14]byte, dst netip.AddrPort) observe.Parity {
	b := plan.Burst{Label: "path parity", Kind: plan.KindParity, Listen: scoutTime,
		Arms:  []plan.Arm{{Name: "scout", Via: plan.Kernel, Script: plan.Script{Ladder: plan.Single(), Then: plan.Exchange{Close: plan.Abort}}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Dst: dst}}}}
	obs, err := e.run(ctx, request{target: q.target, burst: &b, source: q.source, iface: q.iface, check: q.check})
	if err != nil {
		return observe.Parity{Why: err.Error()}
	}
	if obs.Parity.State != observe.ParitySame || p.route.Local {
		return obs.Parity
	}
	if got, want := obs.Attempts[0].SYNs[0].NextHop, wire.MAC(link[:6]); got != want {
		return observe.Parity{State: observe.ParityDiffers,
			Why: fmt.Sprintf("the kernel's SYN left for next hop %s, a raw one would for %s", got, want)}
	}
	return obs.Parity
}

// kernelParity judges the kernel shots of a run against the route that was looked up for them. The caller holds the lock.
func kernelParity(r *run, obs *observe.Observation) observe.Parity {
	if !obs.Captured {
		return observe.Parity{Why: "no capture"}
	}
	if len(r.diverted) > 0 {
		d := r.diverted[0]
		return observe.Parity{State: observe.ParityDiffers,
			Why: fmt.Sprintf("the kernel's SYN left as %s in place of %s: NAT on this host", d.flow, obs.Attempts[d.shot].Flow)}
	}
	parity := observe.Parity{Why: "the kernel's own SYN was not seen leaving"}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Via != plan.Kernel {
			continue
		}
		if len(a.SYNs) == 0 {
			if a.Outcome == observe.Accepted || a.Outcome == observe.Refused {
				return observe.Parity{State: observe.ParityDiffers,
					Why: "a kernel connect was answered, but no SYN of it was seen on its own port: NAT, a tunnel or IPsec on this host"}
			}
			continue
		}
		if want := r.shots[i].path.route.IfIndex; a.SYNs[0].IfIndex != want {
			return observe.Parity{State: observe.ParityDiffers,
				Why: fmt.Sprintf("the kernel's SYN left on interface %d, the route says %d: policy routing", a.SYNs[0].IfIndex, want)}
		}
		parity = observe.Parity{State: observe.ParitySame}
	}
	return parity
}
