package prober

import (
	"context"
	"net/netip"
)

// NeighborOptions shape a neighbor module.
type NeighborOptions struct{}

// roundNeighbor is the KindNeighbor probe.
func (p *Prober) roundNeighbor(_ context.Context, _ Endpoint, _ netip.AddrPort, m Module, r *Round) {
	r.Err = notAvailable(r.Target, m.Kind)
}
