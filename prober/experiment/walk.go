package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// walkHops is how many hop limits one walk tries; the next walk goes on from there.
const walkHops = 16

// walk sends SYNs that live for one hop, two hops and so on, to the target's port and beside each one to a port that answers: where the
// first sort ends and the second goes on, something tells the ports apart. Routers answer few such errors a second (net.ipv4.icmp_ratelimit
// is one a second to one peer with a burst of six, net/ipv4/route.c inet_peer_xrlim_allow, 6.18), so the SYNs are well apart.
func (v *Investigation) walk(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	first := 1 + walkHops*count(seen, plan.KindWalk)
	contrast := v.contrast()
	for i := range min(walkHops, v.flows(walkHops)) {
		hops := first + i
		s := v.script(v.clock(seen), plan.Single(), plan.Reset)
		s.HopLimit = uint8(hops)
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("%d hops", hops), Via: plan.Raw, Script: s})
		for k, dst := range []netip.AddrPort{v.Dst, contrast} {
			b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(2*i+k) * 30 * time.Millisecond, Arm: i, Flow: wire.Flow{Src: v.Source, Dst: dst}})
		}
	}
	return b
}
