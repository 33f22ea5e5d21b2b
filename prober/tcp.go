package prober

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// userTimed is what the capture does not see: a tcp module's socket has a source port of the kernel's choice.
const userTimed = "a tcp module's connect is not captured: its times are the program's clock, its repeats are counted by TCP_INFO"

// roundTCP is the KindTCP probe: one connect, then TLS and query_response, all before ctx ends. The connect is an observation like that of
// any other kernel connect; what follows is in r.TCP. r.Err says that nothing was tried, r.Why what failed.
func (p *Prober) roundTCP(ctx context.Context, ep Endpoint, addr netip.AddrPort, m Module, r *Round) {
	if d, ok := ctx.Deadline(); ok && time.Until(d) > 2*reserve {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.Add(-reserve))
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := connectOnce(ctx, addr, m, r.Ladder)
	held := newRun(&b, cancel) // so that Close ends it and waits for it
	if err := p.engine.begin(held); err != nil {
		r.Err = err
		return
	}
	defer p.engine.running.Done()
	defer p.engine.leave(held)
	conn, err := p.connectTCP(ctx, p.request(r.Target, &b, m), held, r)
	if err != nil {
		r.Err = err
		return
	}
	r.TCP = &TCPResult{}
	if conn == nil {
		r.Why = notConnected(&r.Observations[0].Attempts[0])
		return
	}
	// Whatever the peer does, and whatever crypto/tls grants a close_notify, nothing outlives ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	var o TCPOptions
	if m.TCP != nil {
		o = *m.TCP
	}
	if err := newDialogue(conn, ep.Host, o.TLSConfig, r.TCP).run(ctx, o); err != nil {
		r.Why = err.Error()
	}
}

// connectOnce is the burst of a tcp module: one kernel connect that our FIN closes.
func connectOnce(ctx context.Context, dst netip.AddrPort, m Module, l plan.Ladder) plan.Burst {
	listen := m.Timeout
	if d, ok := ctx.Deadline(); ok {
		listen = time.Until(d)
	}
	return plan.Burst{
		Label: "tcp", Kind: plan.KindConnect, Listen: listen,
		Arms: []plan.Arm{{Name: "kernel", Via: plan.Kernel, Script: plan.Script{
			Ladder: l.Until(listen), HopLimit: m.HopLimit, ToS: m.ToS, Then: plan.Exchange{Close: plan.CloseFirst},
		}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Src: netip.AddrPortFrom(m.Source, 0), Dst: dst}}},
	}
}

// connectTCP makes the connect within the limits and adds its observation to the round. The connection is nil where it was not accepted; the
// error says that none was tried.
func (p *Prober) connectTCP(ctx context.Context, q request, held *run, r *Round) (net.Conn, error) {
	if err := q.check(r.Addr.Addr()); err != nil {
		return nil, err
	}
	release, err := p.engine.budget.take(ctx, q.target, held.demand())
	if err != nil {
		return nil, err
	}
	if err := q.check(r.Addr.Addr()); err != nil { // again: the list may have changed meanwhile
		release(nil)
		return nil, err
	}
	before := p.engine.snapshot(q)
	started := time.Now()
	script := held.script(0)
	conn, res := kdial.Dial(ctx, kdial.Conn{Src: held.burst.Shots[0].Flow.Src, Dst: r.Addr, Close: script.Then.Close,
		HopLimit: script.HopLimit, ToS: script.ToS, Interface: q.iface})
	finished := time.Now()
	after := p.engine.snapshot(q)

	c := held.corr
	if res.View.Local.IsValid() {
		c.Bind(0, wire.Flow{Src: unmapped(res.View.Local), Dst: r.Addr})
	}
	if res.Outcome == observe.NotSent {
		c.NotSent(0, res.Reason)
	}
	c.Kernel(0, res.View, res.Outcome, res.Reason)
	o := c.Observation()
	o.Started, o.Finished, o.ClockStep = started, finished, clockStep(started, finished)
	o.Unmeasured = append(o.Unmeasured, userTimed)
	before.compare(&after, o)
	r.Observations = append(r.Observations, c.Finish())
	release(r.Observations[len(r.Observations)-1].Attempts)
	return conn, nil
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// notConnected is the sentence for a connect that was not accepted. The reason of one that was not sent names itself what was tried.
func notConnected(a *observe.Attempt) string {
	switch a.Outcome {
	case observe.NotSent:
		return "no SYN was sent: " + a.Reason
	case observe.OutcomeUnknown:
		return fmt.Sprintf("connect to %s: %s", a.Flow.Dst, a.Reason)
	default:
		return fmt.Sprintf("connect to %s: %s: %s", a.Flow.Dst, strings.ReplaceAll(a.Outcome.String(), "_", " "), a.Reason)
	}
}
