package prober

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// DiagnoseOptions shape a diagnosis.
type DiagnoseOptions struct {
	// Module gives source, interface, burst size and timeout of the single bursts.
	Module Module
	// MayPrime permits connections with a TSval of ours that the server closes first. It needs the word of whoever owns the path:
	// through an address that others share it would make a server with per-host PAWS refuse them for a minute.
	MayPrime bool
	// Prime shapes these connections.
	Prime PrimeOptions
	// LateReset waits in the end, 22 s, for what becomes of connections that are never answered: some balancers reset them.
	LateReset bool
	// Hold is how many connections at most may be held open at once, to find what limits them; 0: none. They take places at the target and
	// on the way for some seconds.
	Hold int
	// Backlog is how many requests at most may be left half-open to find how many a listener keeps; 0: none. It must be within the half-open
	// limit. Other clients meet SYN cookies for about 3 s, or where these are off no answer.
	Backlog int
	// Contrast is another service to compare the target with, as address and port; zero: a port of the target's own address.
	Contrast netip.AddrPort
	// Transfer is what the target's service exchanges; nil: no data phase is examined.
	Transfer *experiment.Transfer
	// Members are the real servers behind the target, HOST:PORT each. They are investigated directly at the same time, and compared.
	Members []string
	// Focus narrows the investigation; zero: every cause is looked for.
	Focus experiment.Focus
	// SizeBurst lets the kernel bursts be a little larger than what this host keeps for a next hop that is not resolved yet, where 32
	// connects are enough for that: a smaller one cannot overflow it.
	SizeBurst bool
	// MayForget permits deleting this host's own neighbour entry of the next hop before the first burst, so that it is a first contact. It
	// needs CAP_NET_ADMIN; everything on this host that talks to that next hop waits for it to be resolved again.
	MayForget bool
	// Follow is how long a TSval that a server remembers is followed, to see its clock tick; 0: diagnose.DefaultFollow.
	Follow time.Duration
	// Seconds is the time for the whole diagnosis; 0: 60.
	Seconds float64
	// MaxSYNs bounds the SYNs sent to each address, repeats included; 0: no bound but those of the Limits.
	MaxSYNs int
	// Testimony are servers whose own counters are read all the while: the target's, or its members'.
	Testimony []TestimonySource
	// Progress is told of every burst before it begins; nil: nobody is. Bursts to different addresses tell it at the same time.
	Progress func(Progress)

	inquest *inquest
	member  bool // what is investigated is a member of the target
}

// Progress is one burst of a diagnosis that is about to begin.
type Progress struct {
	Addr  netip.AddrPort
	Label string        // of the burst
	Why   string        // the question that it answers
	Shots int           // handshakes in it; 0: it only listens
	Spent time.Duration // since the diagnosis of this address began
	Most  time.Duration // that the burst can take; it ends when everything is answered
}

// Diagnose investigates every address of a target: experiment after experiment, until a cause is named or none is left to try.
func (p *Prober) Diagnose(ctx context.Context, target string, o DiagnoseOptions) ([]Round, error) {
	m := o.Module.withDefaults()
	ep, err := ParseEndpoint(target)
	if err != nil {
		return nil, err
	}
	if o.Seconds <= 0 {
		o.Seconds = 60
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Seconds*float64(time.Second)))
	defer cancel()
	addrs, err := p.resolve(ctx, ep, m)
	if err != nil {
		return nil, err
	}
	if o.inquest, err = inquire(ctx, target, &o); err != nil {
		return nil, err
	}
	defer o.inquest.close()
	rounds := make([]Round, len(addrs))
	var members []Round
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { rounds[i] = p.investigate(ctx, ep, netip.AddrPortFrom(a, ep.Port), m, o) })
	}
	wg.Go(func() { members = p.members(ctx, m, o) })
	wg.Wait()
	return compare(rounds, members), nil
}

// investigate is a round of the adaptive loop.
func (p *Prober) investigate(ctx context.Context, ep Endpoint, addr netip.AddrPort, m Module, o DiagnoseOptions) Round {
	r := Round{Target: ep.String(), Addr: addr, Module: m.Name, Kind: m.Kind, Started: time.Now()}
	host := p.Host()
	r.Ladder, r.Kernel, r.OwnQueue = host.Ladder, host.Kernel, p.engine.queueTowards(addr.Addr(), m)
	p.pursue(ctx, addr, m, o, &r)
	if r.Err != nil {
		r.Why = r.Err.Error()
		return r
	}
	r.Duration = time.Since(r.Started)
	if !o.member { // what its SYNs move is heard with the target's
		r.Witnesses = o.inquest.heard(ctx, r.Observations)
	}
	r.conclude()
	r.Success = r.Diagnosis.Healthy()
	return r
}

// conclude judges what an investigation showed, live or replayed.
func (r *Round) conclude() {
	in := r.input()
	r.Diagnosis = diagnose.Diagnose(in)
	r.Reasoning = experiment.Reason(in, r.Observations)
}

// pursue is the adaptive loop: what was seen decides what is tried next. It fills the round's observations; r.Err says why nothing
// could be tried, r.Why what ended it early.
func (p *Prober) pursue(ctx context.Context, addr netip.AddrPort, m Module, o DiagnoseOptions, r *Round) {
	if r.Err = p.checkTransfer(r.Target, o.Transfer); r.Err != nil {
		return
	}
	if o.SizeBurst {
		m.Burst = max(m.Burst, overflowing(r.OwnQueue))
	}
	if r.Err = p.checkControl(r.Target, addr.Addr(), m, &o); r.Err != nil {
		return
	}
	r.Priming, r.Follow = o.priming(), o.Follow
	g := guard{p: p, r: r, m: m}
	defer g.leave()
	inv := p.inquiry(addr, m, &o, r)
	for ctx.Err() == nil {
		if d, ok := ctx.Deadline(); ok {
			inv.Left = max(time.Until(d)-parting, time.Nanosecond)
		}
		b, more := inv.Next(r.Observations)
		if !more {
			var lacking string
			r.Untested, lacking = inv.Untested()
			r.Why = ended(ctx, lacking)
			return
		}
		bursts := inv.With(b, r.Observations)
		o.tell(r, bursts, inv.Trace())
		if !p.together(ctx, &g, bursts) {
			break
		}
	}
	r.cutShort(ctx, inv)
}

// tell reports that bursts are about to begin; trace ends with why they do.
func (o *DiagnoseOptions) tell(r *Round, bursts []plan.Burst, trace []experiment.Step) {
	if o.Progress == nil {
		return
	}
	for i := range bursts {
		b, why := &bursts[i], trace[len(trace)-len(bursts)+i].Why
		o.Progress(Progress{Addr: r.Addr, Label: b.Label, Why: why, Shots: len(b.Shots), Spent: time.Since(r.Started), Most: b.Span()})
	}
}

// together executes bursts that begin at the same time and keeps what they show, in their order. It is false when the round is over.
func (p *Prober) together(ctx context.Context, g *guard, bursts []plan.Burst) bool {
	seen, errs := make([]observe.Observation, len(bursts)), make([]error, len(bursts))
	if errs[0] = g.enter(ctx, &bursts[0]); errs[0] == nil {
		var wg sync.WaitGroup
		for i := 1; i < len(bursts); i++ {
			wg.Go(func() { seen[i], errs[i] = p.step(ctx, g.r, &bursts[i], g.m) })
		}
		seen[0], errs[0] = p.step(ctx, g.r, &bursts[0], g.m) // here, as a caller may be on a thread of another network namespace
		wg.Wait()
	}
	for i := range bursts {
		if !g.r.keep(seen[i], errs[i]) {
			return false
		}
		g.after(&bursts[i])
	}
	return true
}

// cutShort notes what an investigation had still open when ctx ended, if it did.
func (r *Round) cutShort(ctx context.Context, inv *experiment.Investigation) {
	if ctx.Err() == nil {
		return
	}
	inv.Left = time.Nanosecond
	inv.Next(r.Observations) // nothing fits: what is open is left untested
	r.Untested, _ = inv.Untested()
	r.Why = ended(ctx, "")
}

// inquiry is the investigation of one address as the options have it.
func (p *Prober) inquiry(addr netip.AddrPort, m Module, o *DiagnoseOptions, r *Round) *experiment.Investigation {
	host := p.Host()
	return &experiment.Investigation{Host: r.input(), Focus: o.Focus, MaxSYNs: o.MaxSYNs, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Setup: experiment.Setup{
		Source: netip.AddrPortFrom(m.Source, 0), Dst: addr, Burst: m.Burst, Ladder: host.Ladder, Listen: m.Timeout, MSS: mss(addr),
		HalfOpen: p.engine.opts.Limits.HalfOpen, NoRaw: host.CaptureError != nil, MayPrime: o.MayPrime, MayForget: o.MayForget, Transfer: o.Transfer, LateReset: o.LateReset, Hold: o.Hold, Backlog: o.Backlog, Contrast: o.Contrast,
		PrimeAnyway: o.Prime.Anyway, PrimeWith: o.Prime.With, Control: netip.AddrPortFrom(o.Prime.Control, 0), Heal: o.Prime.Heal, Others: ownAddresses(m.Interface, addr.Addr())}}
}

// parting is kept back from the time of an investigation, so that its last burst is judged within it.
const parting = 100 * time.Millisecond

// ended says what ended an investigation early: an interrupt, or a budget that lacks something. Empty: nothing did.
func ended(ctx context.Context, lacking string) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "its time was over"
	case ctx.Err() != nil:
		return "it was interrupted"
	case lacking != "":
		return "no " + lacking + " left for more"
	}
	return ""
}

// step executes one burst of an investigation; a survey only listens.
func (p *Prober) step(ctx context.Context, r *Round, b *plan.Burst, m Module) (observe.Observation, error) {
	q := p.request(r.Target, b, m)
	q.check = func(a netip.Addr) error { return p.permitted(r.Target, a, m, r) }
	if b.Kind == plan.KindSurvey {
		return p.engine.survey(ctx, q, r.Addr, b.Listen)
	}
	q.entries, q.counters = true, true // what this host dropped itself must be known before anybody else is named
	return p.engine.run(ctx, q)
}
