package prober

import (
	"context"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// PAWSOptions shape a paws module.
type PAWSOptions struct {
	// Prime permits connections that the server closes first, with a TSval of ours: see DiagnoseOptions.MayPrime. It needs the word of
	// whoever owns the path, and so comes from a configuration only.
	Prime bool
	// How shapes these connections; Heal is not for a round, which is over in a minute.
	How PrimeOptions
}

// roundPAWS is the KindPAWS probe: an investigation that asks about timestamps only.
func (p *Prober) roundPAWS(ctx context.Context, _ Endpoint, addr netip.AddrPort, m Module, r *Round) {
	if err := p.Host().CaptureError; err != nil {
		r.Err = &EnvironmentError{Target: r.Target, Err: err}
		return
	}
	p.pursue(ctx, addr, m, DiagnoseOptions{MayPrime: m.PAWS.Prime, Prime: m.PAWS.How, Focus: experiment.Timestamps}, r)
	r.readTimestamps()
}

// readTimestamps takes what the observations say of timestamps into the round.
func (r *Round) readTimestamps() {
	if ts, ok := diagnose.ReadTimestamps(r.Observations); ok {
		r.Timestamps = &ts
	}
}
