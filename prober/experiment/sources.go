package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// maxSources is how many other addresses of this host are tried.
const maxSources = 3

// sources sends single SYNs from the usual address and, in turn, from other addresses of this host, to the target's port and to another one: what
// falls on one source alone is not the target's doing.
func (v *Investigation) sources(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	usual := v.usual(seen)
	list := []netip.Addr{usual}
	for _, a := range v.Others {
		if a != usual && len(list) <= maxSources {
			list = append(list, a)
		}
	}
	for _, src := range list {
		name := "usual source"
		if src != usual {
			name = fmt.Sprintf("from %s", src)
		}
		b.Arms = append(b.Arms, plan.Arm{Name: name, Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)})
	}
	each := max(1, v.flows(16)/len(list))
	contrast := v.contrast()
	for i := range each * len(list) {
		arm := i % len(list)
		for k, dst := range []netip.AddrPort{v.Dst, contrast} {
			b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(2*i+k) * 5 * time.Millisecond, Arm: arm,
				Flow: wire.Flow{Src: netip.AddrPortFrom(list[arm], 0), Dst: dst}})
		}
	}
	return b
}

// usual is the source address that the round's connects had; invalid where nothing was sent yet.
func (v *Investigation) usual(seen []observe.Observation) netip.Addr {
	for i := range seen {
		for j := range seen[i].Attempts {
			if a := seen[i].Attempts[j].Flow.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
				return a
			}
		}
	}
	return v.Source.Addr()
}
