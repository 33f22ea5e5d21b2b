package prober

import (
	"context"
	"errors"
	"net/netip"
)

// roundTCP is the KindTCP probe: one connect, then TLS and query_response.
func (p *Prober) roundTCP(_ context.Context, _ Endpoint, _ netip.AddrPort, _ Module, r *Round) {
	r.Err = errors.New("module kind tcp: to come")
}
