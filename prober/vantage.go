package prober

import (
	"net/netip"
	"slices"

	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
)

// Vantage says what is to be known of this machine beside the rounds that m made from it: its settings, the way to every address that was
// probed with the next hop's neighbour entry as it is now, and the counters that moved.
func (p *Prober) Vantage(rounds []Round, m Module) evidence.Host {
	host := p.Host()
	h := evidence.Host{OS: "Linux " + host.Kernel, Ladder: host.Ladder.String(), SourcePorts: host.SourcePorts.String(), HeldBy: host.HoldMethod,
		Capture: "on", Counters: map[string]int64{}, NextHops: []evidence.NextHop{}}
	if host.CaptureError != nil {
		h.Capture = host.CaptureError.Error()
	}
	interfaces := []string{"default", "all"}
	for i := range rounds {
		for k := range rounds[i].Observations {
			for name, n := range rounds[i].Observations[k].Counters {
				h.Counters[name] += n
			}
		}
		if !rounds[i].Addr.IsValid() {
			continue
		}
		hop := p.nextHop(rounds[i].Addr.Addr(), m)
		h.NextHops = append(h.NextHops, hop)
		if hop.Interface != "" && !slices.Contains(interfaces, hop.Interface) {
			interfaces = append(interfaces, hop.Interface)
		}
	}
	h.Sysctls = host.Sysctls.Table(interfaces...)
	return h
}

// nextHop is the way to an address, and what the kernel knows of the neighbour that it leads to.
func (p *Prober) nextHop(addr netip.Addr, m Module) evidence.NextHop {
	hop := evidence.NextHop{Addr: addr.String()}
	w, err := p.engine.paths.route(addr, m.Source, m.Interface, p.opts.AllowForeignSource)
	if err != nil {
		hop.Error = err.Error()
		return hop
	}
	r := &w.route
	hop.Interface, hop.Source = r.IfName, r.Src.String()
	if r.Local {
		return hop
	}
	hop.Via = r.NextHop().String()
	e, known, err := neigh.Table(r.IfIndex, r.NextHop())
	switch {
	case err != nil:
		hop.Error = err.Error()
	case !known:
		hop.State = "none"
	default:
		hop.State = e.State.String()
		if e.HasMAC {
			hop.MAC = e.MAC.String()
		}
	}
	return hop
}
