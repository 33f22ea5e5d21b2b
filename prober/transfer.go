package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// transfers makes the connections of a burst that have a data phase, each in a goroutine of its own, and returns when all are over or ctx
// is.
func (e *engine) transfers(ctx context.Context, r *run, conns []kdial.Conn) {
	ctx, cancel := context.WithTimeout(ctx, r.burst.Span())
	defer cancel()
	out := make([]observe.Transfer, len(conns))
	var wg sync.WaitGroup
	for k := range conns {
		wg.Go(func() { out[k] = e.transfer(ctx, r, conns[k]) })
	}
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for k := range out {
		if !out[k].Began.IsZero() {
			obs := r.corr.Observation()
			obs.Transfers = append(obs.Transfers, out[k])
		}
	}
}

// transfer is one connection from its SYN to our RST.
func (e *engine) transfer(ctx context.Context, r *run, c kdial.Conn) observe.Transfer {
	t := r.script(c.Index).Then.Transfer
	out := observe.Transfer{Attempt: c.Index}
	if !pause(ctx, c.Offset) {
		e.connected(ctx, r, kdial.Result{Index: c.Index, Outcome: observe.NotSent, Reason: timeOver})
		return out
	}
	c.Data = kdial.Data{Congestion: t.Congestion, Pace: t.Pace, Buffer: t.Buffer, MSS: t.MSS,
		Started: func(local netip.AddrPort) { e.starts(r, c.Index, local) }}
	conn, res := kdial.Dial(ctx, c)
	res.Index = c.Index
	e.connected(ctx, r, res)
	if conn == nil {
		return out
	}
	defer func() { _ = conn.Close() }()
	x := exchange{conn: conn, what: *t, dst: c.Dst}
	x.run(ctx)
	out.Began, out.Ended = res.View.Completed, time.Now()
	out.Sent, out.Received, out.Status = x.sent.Load(), x.received.Load(), x.status
	out.Done, out.Why, out.RTO = x.why == nil, "", x.rto
	if x.why != nil {
		out.Why = x.why.Error()
	}
	out.Info, out.Congestion, out.HasInfo = x.info, x.congestion, x.hasInfo
	e.mu.Lock()
	r.settle(&r.shots[c.Index])
	e.mu.Unlock()
	return out
}

// starts puts a kernel connect into the flow table before its SYN leaves.
func (e *engine) starts(r *run, i int, local netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &r.shots[i]
	if a := local.Addr().Unmap(); a.IsValid() && !a.IsUnspecified() {
		s.flow.Src = netip.AddrPortFrom(a, local.Port())
		r.corr.Bind(i, s.flow)
	}
	s.rec, _ = e.flows.add(s.flow, r.slot, uint32(i), nil)
}

// connected notes how a kernel connect with a data phase ended; one that was accepted stays open.
func (e *engine) connected(ctx context.Context, r *run, res kdial.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if res.Outcome == observe.OutcomeUnknown && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		res.Outcome, res.Reason = observe.TimedOut, timeOver
	}
	if res.Outcome == observe.NotSent {
		r.corr.NotSent(res.Index, res.Reason)
	}
	r.corr.Kernel(res.Index, res.View, res.Outcome, res.Reason)
	if res.Outcome != observe.Accepted {
		r.settle(&r.shots[res.Index])
	}
}

// trace makes the traces of a run's shots that have a data phase.
func (r *run) trace() {
	for i := range r.shots {
		if !r.shots[i].raw && r.script(i).Then.Transfer != nil {
			r.shots[i].trace, r.traced = &trace{}, true
		}
	}
}

// The bounds of what a data phase may ask of a target: flows at once, and payload of all of them together, each way, in one burst.
const (
	MaxTransferFlows = 256
	MaxTransferBytes = 1 << 30
)

// checkTransfer refuses, before anything is sent, a data phase that this kernel cannot make or that asks for too much.
func (p *Prober) checkTransfer(target string, t *experiment.Transfer) error {
	if t == nil {
		return nil
	}
	if t.Flows < 1 || t.Flows > MaxTransferFlows || t.Bytes < 1 || t.Bytes > MaxTransferBytes/int64(t.Flows) {
		return fmt.Errorf("a data phase of %d flows with %d octets each: want 1 to %d flows, and %d octets at most in all", t.Flows, t.Bytes, MaxTransferFlows, MaxTransferBytes)
	}
	for _, name := range t.Congestion {
		if err := kdial.Congestion(name); err != nil {
			return &EnvironmentError{Target: target, Err: err}
		}
	}
	return nil
}
