package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// transfers makes the connections of a burst that have a data phase, and gives each that is accepted a goroutine of its own. It returns when
// all are over or ctx is.
func (e *engine) transfers(ctx context.Context, r *run, conns []kdial.Conn) {
	ctx, cancel := context.WithTimeout(ctx, r.burst.Span())
	defer cancel()
	for k := range conns {
		t := r.script(conns[k].Index).Then.Transfer
		conns[k].Data, conns[k].Keep = kdial.Data{Congestion: t.Congestion, Pace: t.Pace, Buffer: t.Buffer, MSS: t.MSS}, true
	}
	var wg sync.WaitGroup
	started := func(i int, local netip.AddrPort, _ time.Time) { e.starts(r, i, local) }
	done := func(res kdial.Result) {
		e.connected(ctx, r, res)
		if res.Conn != nil {
			wg.Go(func() { e.transfer(ctx, r, res) })
		}
	}
	if err := e.dialer.Run(ctx, conns, max(r.burst.Listen, time.Nanosecond), started, done); err != nil && ctx.Err() == nil {
		e.mu.Lock()
		obs := r.corr.Observation()
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("the connect loop ended early: %v", err))
		e.mu.Unlock()
	}
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	list := r.corr.Observation().Transfers
	slices.SortFunc(list, func(a, b observe.Transfer) int { return a.Attempt - b.Attempt })
}

// transfer is one accepted connection, to our RST.
func (e *engine) transfer(ctx context.Context, r *run, res kdial.Result) {
	defer func() { _ = res.Conn.Close() }()
	s := &r.shots[res.Index]
	x := exchange{conn: res.Conn, what: *r.script(res.Index).Then.Transfer, dst: s.flow.Dst}
	x.run(ctx)
	out := observe.Transfer{Attempt: res.Index, Began: res.View.Completed, Ended: time.Now(), Sent: x.sent.Load(), Received: x.received.Load(), Done: x.why == nil,
		Stood: errors.Is(x.why, errStood), Cut: errors.Is(x.why, errCut), Status: x.status, Congestion: x.congestion, Info: x.info, HasInfo: x.hasInfo, RTO: x.rto}
	if x.why != nil {
		out.Why = x.why.Error()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	obs := r.corr.Observation()
	obs.Transfers = append(obs.Transfers, out)
	r.settle(s)
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
		switch then := &r.script(i).Then; {
		case r.shots[i].raw && then.Holed != nil:
			r.shots[i].trace = &trace{}
		case !r.shots[i].raw && then.Transfer != nil:
			r.shots[i].trace, r.traced = &trace{}, true
		}
	}
}

// holed tells what came of the raw shots whose data had a hole in front.
func (r *run) holed(o *observe.Observation) {
	for i := range r.shots {
		h := r.script(i).Then.Holed
		if t := r.shots[i].trace; r.shots[i].raw && h != nil && t != nil {
			x := observe.Holed{Attempt: i, Gap: h.Gap, Segments: t.list, Over: t.over}
			x.Judge()
			o.Holed = append(o.Holed, x)
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
