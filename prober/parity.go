package prober

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
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

// divert records a kernel SYN that left with our port on a flow that is not the one we asked for: this host's own NAT sent it elsewhere,
// or policy routing chose another source address. Its answers come back on that flow. False: it is none of ours. The caller holds
// the lock.
func (e *engine) divert(f *rawsock.Frame, seg *wire.Segment) bool {
	i := e.flows.byPort(seg.Src.Port())
	if i < 0 {
		return false
	}
	shot := int(e.flows.records[i].shot)
	r := e.runs[e.flows.records[i].run]
	if a := &r.corr.Observation().Attempts[shot]; len(a.SYNs) > 0 && a.ISS != seg.Seq {
		return false // forwarded for somebody else
	}
	r.diverted = append(r.diverted, diversion{shot: shot, flow: seg.Flow(), ifindex: f.IfIndex})
	alias, _ := e.flows.add(seg.Flow(), r.slot, uint32(shot), nil)
	r.aliases = append(r.aliases, alias)
	r.corr.Stray("locally_rewritten")
	r.tape.keep(f, shot)
	r.corr.Outgoing(shot, time.Unix(0, f.At), f.IfIndex, nextHopMAC(f), seg)
	return true
}

// kernelParity judges the kernel shots of a run against the route that was looked up for them. The caller holds the lock.
func kernelParity(r *run, obs *observe.Observation) observe.Parity {
	switch {
	case !obs.Captured:
		return observe.Parity{Why: "no capture"}
	case len(r.diverted) > 0:
		return differs(r.diverted[0].why(obs))
	}
	parity := observe.Parity{Why: "the kernel's own SYN was not seen leaving"}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		switch {
		case a.Via != plan.Kernel:
		case len(a.SYNs) > 0 && a.SYNs[0].IfIndex != r.shots[i].path.route.IfIndex:
			return differs(fmt.Sprintf("the kernel's SYN left on interface %d, the route says %d: policy routing",
				a.SYNs[0].IfIndex, r.shots[i].path.route.IfIndex))
		case len(a.SYNs) > 0:
			parity = observe.Parity{State: observe.ParitySame}
		case (a.Outcome == observe.Accepted || a.Outcome == observe.Refused) && obs.CaptureDrops == 0:
			return differs("a kernel connect was answered, but no SYN of it was seen on its own port: NAT, a tunnel or IPsec on this host")
		}
	}
	return parity
}

func differs(why string) observe.Parity {
	return observe.Parity{State: observe.ParityDiffers, Why: why}
}

func (d *diversion) why(obs *observe.Observation) string {
	asked := obs.Attempts[d.shot].Flow
	if d.flow.Dst == asked.Dst {
		return fmt.Sprintf("the kernel's SYN left from %s in place of %s: policy routing or NAT on this host", d.flow.Src, asked.Src)
	}
	return fmt.Sprintf("the kernel's SYN left as %s in place of %s: NAT on this host", d.flow, asked)
}
