package prober

import (
	"context"
	"net/netip"
)

// NeighborQueueOptions shape a neighbor-queue module.
type NeighborQueueOptions struct{}

// roundNeighborQueue is the KindNeighborQueue probe.
func (p *Prober) roundNeighborQueue(_ context.Context, _ Endpoint, _ netip.AddrPort, m Module, r *Round) {
	r.Err = notAvailable(r.Target, m.Kind)
}
