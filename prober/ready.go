package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/handshake"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ways finds the way to every destination of a burst. An error means that there is none to any of them, or that one is not allowed.
func (e *engine) ways(ctx context.Context, q request, r *run) error {
	for _, g := range r.groups {
		if err := q.check(g.dst.Addr()); err != nil {
			return err
		}
	}
	var first error
	found := false
	for _, g := range r.groups {
		if g.err = e.way(ctx, q, r, g); g.err == nil {
			found = true
			continue
		}
		if ctx.Err() != nil {
			return &EnvironmentError{Target: q.target, Err: g.err}
		}
		if first == nil {
			first = g.err
		}
	}
	if found || first == nil {
		return nil
	}
	if paced, ok := errors.AsType[*BudgetError](first); ok {
		paced.Target = q.target
		return paced
	}
	return &EnvironmentError{Target: q.target, Err: first}
}

// way finds the way to one destination, for raw shots with everything that they need to leave. A source that the shots name goes before
// the request's.
func (e *engine) way(ctx context.Context, q request, r *run, g *group) error {
	if g.src.IsValid() {
		q.source = g.src
	}
	p, err := e.paths.route(g.dst.Addr(), q.source, q.iface, e.opts.AllowForeignSource || r.lent.IsValid())
	if err != nil {
		return err
	}
	if r.lent.IsValid() {
		if p, err = q.borrowed(p, r.lent); err != nil {
			return err
		}
	}
	if err := p.fits(); err != nil {
		return err
	}
	g.path = p
	e.mu.Lock()
	if !p.route.Local {
		r.near[hopKey{p.route.IfIndex, p.route.Src.WithZone("")}] = ownAddr
		r.near[hopKey{p.route.IfIndex, p.route.NextHop().WithZone("")}] = nextHop
		if o := r.corr.Observation(); !o.NextHop.IsValid() {
			o.NextHop = p.route.NextHop()
		}
	}
	e.mu.Unlock()
	if g.raws == 0 {
		return nil
	}
	if g.raw, err = e.readyRaw(ctx, q, p, g.dst); err != nil {
		return err
	}
	e.mu.Lock()
	r.corr.Observation().Parity = g.raw.parity
	e.mu.Unlock()
	return nil
}

// demand is what the burst's shots that can be sent ask of each target.
func (r *run) demand() map[netip.AddrPort]demand {
	m := map[netip.AddrPort]demand{}
	for _, g := range r.groups {
		if g.err != nil {
			continue
		}
		d := m[g.dst]
		for _, i := range g.shots {
			if r.shots[i].raw && g.raw.whyNotRaw() != "" {
				continue
			}
			d.flows++
			if r.shots[i].raw && halfOpens(r.script(i)) {
				d.halfOpen++
			}
		}
		if g.raws > 0 && g.raw.whyNotRaw() == "" {
			d.flows += r.pingsWith(g)
		}
		if d.flows > 0 {
			m[g.dst] = d
		}
	}
	return m
}

// halfOpens reports whether a raw shot can leave a half-open connection behind for as long as its SYN-ACK is on the way: not where we complete
// the handshake at once, where nothing listens, or where no SYN is sent.
func halfOpens(s *plan.Script) bool {
	return (s.OnSYNACK != plan.Acknowledge || s.Then.AckDelay > 0) && !s.Closed && (s.First == 0 || s.First&wire.SYN != 0)
}

// ready gives every shot that can be sent its source port and flow. An error means that the burst as a whole must not begin.
func (e *engine) ready(ctx context.Context, q request, r *run) error {
	for _, g := range r.groups {
		if err := q.check(g.dst.Addr()); err != nil { // again: the list may have changed while the burst waited its turn
			return err
		}
		if err := e.assign(ctx, q, r, g); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return &EnvironmentError{Target: q.target, Err: err}
	}
	return nil
}

// assign gives the shots towards one destination their source ports and puts the raw ones into the flow table.
func (e *engine) assign(ctx context.Context, q request, r *run, g *group) error {
	var fresh [2][]int // kernel shots, raw shots that leave the port to us
	for _, i := range g.shots {
		s, asked := &r.shots[i], r.burst.Shots[i].Flow.Src.Port()
		s.path, s.way = g.path, g.raw.way
		why := ""
		switch {
		case g.err != nil:
			why = g.err.Error()
		case s.raw:
			why = g.raw.whyNotRaw()
		}
		switch {
		case why != "":
			e.refuse(r, i, why)
		case r.burst.Shots[i].Again:
			e.resume(r, i, e.want(g, 1, true), asked)
		case asked != 0:
			w := e.want(g, 1, s.raw)
			if err := e.ports.ask(w, asked); err != nil {
				e.refuse(r, i, err.Error())
				continue
			}
			e.open(r, i, &w, asked)
		case s.raw:
			fresh[1] = append(fresh[1], i)
		default:
			fresh[0] = append(fresh[0], i)
		}
	}
	for via, shots := range fresh {
		if err := e.assignFresh(ctx, q, r, g, shots, via == 1); err != nil {
			return err
		}
	}
	return nil
}

// assignFresh takes ports for all the shots or refuses the burst: half of a burst would be another experiment.
func (e *engine) assignFresh(ctx context.Context, q request, r *run, g *group, shots []int, raw bool) error {
	if len(shots) == 0 {
		return nil
	}
	w := e.want(g, len(shots), raw)
	list, err := e.ports.take(ctx, w)
	var few *plan.ErrPorts
	switch {
	case errors.As(err, &few):
		return &EnvironmentError{Target: q.target, Err: err}
	case err != nil:
		for _, i := range shots {
			e.refuse(r, i, err.Error())
		}
		return nil
	}
	for k, i := range shots {
		e.open(r, i, &w, list[k])
	}
	if raw {
		method := e.ports.holdMethod()
		e.mu.Lock()
		e.host.HoldMethod = method
		e.mu.Unlock()
	}
	return nil
}

// want describes what a group needs of the port keeper.
func (e *engine) want(g *group, n int, raw bool) want {
	src := g.path.route.Src
	if src.Is6() && src.IsLinkLocalUnicast() {
		src = src.WithZone(g.path.route.IfName)
	}
	return want{src: src, dst: g.dst, n: n, raw: raw, lent: g.path.lent, bindAny: !g.path.bound, busy: func(port uint16) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.flows.byFlow(wire.Flow{Src: netip.AddrPortFrom(src, port), Dst: g.dst}) >= 0
	}}
}

// resume readies shot i on the flow of an earlier raw shot, which is still known because a late answer to it would have been reset.
func (e *engine) resume(r *run, i int, w want, port uint16) {
	w.busy = nil
	if err := e.ports.ask(w, port); err != nil {
		e.refuse(r, i, err.Error())
		return
	}
	if why := e.revive(r, i, &w, port); why != "" {
		e.ports.done(w, port)
		e.refuse(r, i, why)
	}
}

// revive gives shot i the record of the earlier flow, or says why it cannot.
func (e *engine) revive(r *run, i int, w *want, port uint16) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &r.shots[i]
	if !s.raw {
		return "only a raw shot can go on with an earlier flow"
	}
	flow := wire.Flow{Src: netip.AddrPortFrom(w.src, port), Dst: w.dst}
	rec, iss, ok := e.flows.revive(flow, r.slot, uint32(i), s.way)
	if !ok {
		return fmt.Sprintf("no earlier flow of ours is known on source port %d", port)
	}
	if anew := r.burst.Shots[i].ISS; anew != nil {
		iss = *anew
		e.flows.renumber(rec, iss)
	}
	s.want, s.flow, s.rec, s.open = w, flow, rec, true
	r.corr.Bind(i, flow)
	r.open++
	s.conn = handshake.New(r.script(i), iss)
	s.conn.Acknowledge(r.burst.Shots[i].Acks)
	r.corr.ISS(i, iss)
	return ""
}

// refuse notes that shot i will not be sent.
func (e *engine) refuse(r *run, i int, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.corr.NotSent(i, why)
}

// open readies shot i on its flow; a raw one enters the flow table and so gets its ISS.
func (e *engine) open(r *run, i int, w *want, port uint16) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &r.shots[i]
	s.want = w
	s.flow = wire.Flow{Src: netip.AddrPortFrom(w.src, port), Dst: w.dst}
	r.corr.Bind(i, s.flow)
	s.open = true
	r.open++
	if !s.raw {
		return
	}
	rec, iss := e.flows.add(s.flow, r.slot, uint32(i), s.way)
	if anew := r.burst.Shots[i].ISS; anew != nil {
		iss = *anew
		e.flows.renumber(rec, iss)
	}
	s.rec = rec
	s.conn = handshake.New(r.script(i), iss)
	s.conn.Acknowledge(r.burst.Shots[i].Acks)
	r.first++
	r.corr.ISS(i, iss)
}

// due is when shot i is to be sent first in a burst that began at start.
func (r *run) due(i int, start time.Time) time.Time { return start.Add(r.burst.Shots[i].Offset) }
