package prober

import (
	"context"
	"net/netip"
	"sync"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/witness"
)

// MaxMembers is how many real servers one diagnosis takes, and membersAtOnce how many of them are investigated at a time, so that they
// do not disturb each other's timing, or the VIP's.
const (
	MaxMembers    = 64
	membersAtOnce = 4
)

// members investigates the real servers of a VIP: timestamps, and what else could look so. Each has at least one round, be it that it could
// not be probed.
func (p *Prober) members(ctx context.Context, m Module, o DiagnoseOptions) []Round {
	names := o.Members[:min(len(o.Members), MaxMembers)]
	o.Focus, o.Members, o.MayPrime, o.LateReset, o.Hold, o.Backlog, o.member = experiment.Timestamps, nil, false, false, 0, 0, true
	all := make([][]Round, len(names))
	slots := make(chan struct{}, membersAtOnce)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i] = p.member(ctx, name, m, o)
		})
	}
	wg.Wait()
	var out []Round
	for i := range all {
		out = append(out, all[i]...)
	}
	return out
}

func (p *Prober) member(ctx context.Context, name string, m Module, o DiagnoseOptions) []Round {
	broken := func(err error) []Round { return []Round{{Target: name, Member: true, Err: err, Why: err.Error()}} }
	ep, err := ParseEndpoint(name)
	if err != nil {
		return broken(err)
	}
	addrs, err := p.resolve(ctx, ep, m)
	if err != nil {
		return broken(err)
	}
	var rounds []Round
	for _, a := range addrs {
		r := p.investigate(ctx, ep, netip.AddrPortFrom(a, ep.Port), m, o)
		r.Member = true
		rounds = append(rounds, r)
	}
	return rounds
}

// compare holds each round of the VIP against what its servers say of themselves and against its members, and puts these behind it.
func compare(vip, members []Round) []Round {
	var met []diagnose.Member
	var behind []observe.Observation
	for i := range members {
		r := &members[i]
		x := diagnose.Member{Name: r.Target, Observations: r.Observations, Diagnosis: r.Diagnosis}
		if r.Err != nil {
			x.Why = r.Err.Error()
		}
		met, behind = append(met, x), append(behind, r.Observations...)
	}
	for i := range vip {
		if r := &vip[i]; r.Err == nil {
			witness.Hear(&r.Diagnosis, r.Observations, r.Witnesses, behind...)
			r.Diagnosis.Compare(r.Observations, met)
			r.Success = r.Diagnosis.Healthy()
		}
	}
	return append(vip, members...)
}
