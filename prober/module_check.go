package prober

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
)

// CheckOptions shape a check module: zero values are keepalived's own (experiment.DefaultCheckTiming).
type CheckOptions struct {
	Timing experiment.CheckTiming
	// NoRetry: Retry 0 is meant.
	NoRetry bool
}

// timing is the options with keepalived's defaults filled in.
func (o CheckOptions) timing() experiment.CheckTiming {
	t, d := o.Timing, experiment.DefaultCheckTiming()
	for _, f := range []struct {
		set *time.Duration
		def time.Duration
	}{{&t.DelayLoop, d.DelayLoop}, {&t.ConnectTimeout, d.ConnectTimeout}, {&t.DelayBeforeRetry, d.DelayBeforeRetry}} {
		if *f.set <= 0 {
			*f.set = f.def
		}
	}
	if t.Retry <= 0 && !o.NoRetry {
		t.Retry = d.Retry
	}
	if t.Loops <= 0 {
		t.Loops = d.Loops
	}
	return t
}

// HealthCheck is what a KindCheck module found.
type HealthCheck struct {
	experiment.CheckRun
	Timing experiment.CheckTiming
}

// roundCheck is the KindCheck probe: connects as keepalived's TCP_CHECK makes them, and what it would have done to the pool.
func (p *Prober) roundCheck(ctx context.Context, _ Endpoint, addr netip.AddrPort, m Module, r *Round) {
	h := experiment.HealthCheck{Source: netip.AddrPortFrom(m.Source, 0), Dst: addr, Ladder: r.Ladder, CheckTiming: m.Check.timing()}
	for {
		b, wait, more := h.Next(r.Observations)
		if !more {
			break
		}
		if d, ok := ctx.Deadline(); ok && time.Until(d) < wait+h.ConnectTimeout && len(r.Observations) > 0 {
			r.Why = fmt.Sprintf("no time was left for more than %d of %d loops", len(h.Read(r.Observations).Loops), h.Loops)
			break
		}
		if len(r.Observations) > 0 && !pause(ctx, wait) {
			break
		}
		obs, err := p.run(ctx, r.Target, &b, m)
		if !r.keep(obs, err) {
			break
		}
	}
	if r.Err != nil {
		return
	}
	r.readCheck(h.CheckTiming)
}

// readCheck takes what a health check of that timing found into the round.
func (r *Round) readCheck(t experiment.CheckTiming) {
	h := experiment.HealthCheck{Dst: r.Addr, Ladder: r.Ladder, CheckTiming: t}
	r.Check = &HealthCheck{h.Read(r.Observations), t}
}

// judgeCheck decides the success of a check: a connect was made, and the server was never taken out.
func judgeCheck(c *HealthCheck, why string) (bool, string) {
	switch n := len(c.Loops); {
	case n == 0:
		return false, "no connect could be made"
	case c.Evictions > 0:
		return false, fmt.Sprintf("a health check would have evicted the server %d time(s) in %d loops", c.Evictions, n)
	}
	return true, why
}
