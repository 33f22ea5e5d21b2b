package prober

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// NeighborOptions shape a neighbor module.
type NeighborOptions struct {
	// Questions is how often the wire is asked for the next hop, 1 … 20; 0 means 5. They are paced by Limits.ARPRate.
	Questions int
	// Forget deletes our own entry of the next hop first: see DiagnoseOptions.MayForget.
	Forget bool
	// Unused is an address of the segment that nobody should have, asked for once, so that proxy ARP shows; invalid: none.
	Unused netip.Addr
}

// neighborQuestions is how often the wire is asked by default.
const neighborQuestions = 5

// roundNeighbor is the KindNeighbor probe: a burst as it comes, a few questions, and the burst again.
func (p *Prober) roundNeighbor(ctx context.Context, _ Endpoint, addr netip.AddrPort, m Module, r *Round) {
	exp := &experiment.Neighbor{Source: netip.AddrPortFrom(m.Source, 0), Dst: addr, Burst: max(m.Burst, overflowing(r.OwnQueue)), Ladder: r.Ladder,
		Listen: m.Timeout, Forget: m.Neighbor.Forget, Questions: cmp.Or(m.Neighbor.Questions, neighborQuestions), Unused: m.Neighbor.Unused}
	for {
		b, more := exp.Next(r.Observations)
		if !more || ctx.Err() != nil {
			return
		}
		q := p.request(r.Target, &b, m)
		q.entries = true
		obs, err := p.engine.run(ctx, q)
		if !r.keep(obs, err) {
			return
		}
	}
}

// NeighborTimes are how long the answers to this host's questions for link addresses took in a round, sorted, and how many questions had to be
// repeated or had no answer.
type NeighborTimes struct {
	Answers              []time.Duration
	Repeated, Unanswered int
}

// NeighborTimes reads them from the round's own frames.
func (r *Round) NeighborTimes() NeighborTimes {
	var t NeighborTimes
	for i := range r.Observations {
		o := &r.Observations[i]
		for _, x := range observe.Exchanges(o.Neighbor) {
			if !x.Outgoing || !o.Awaits(&x) {
				continue
			}
			if x.Requests > 1 {
				t.Repeated++
			}
			if took, ok := x.Took(); ok {
				t.Answers = append(t.Answers, took)
			} else {
				t.Unanswered++
			}
		}
	}
	slices.Sort(t.Answers)
	return t
}
