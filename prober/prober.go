package prober

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Options shape a Prober.
type Options struct {
	EngineOptions
	// Allow names the addresses that may be probed. It can be replaced while running: see SetAllow.
	Allow Allow
	// Lookup resolves names; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Counters reads this host's kernel counters around every burst.
	Counters bool
}

// Prober probes targets. It is safe for concurrent use.
type Prober struct {
	opts   Options
	engine *engine

	mu     sync.RWMutex
	allow  Allow
	shared flights
	turns  turns // of measurements that must not meet at one target
	lanes  turns // of measurements that share the budget of ARP
	pauses *pauses
}

// New starts a Prober: its capture, its sockets, its goroutines. Close ends it.
func New(opts Options) (*Prober, error) {
	if opts.Lookup == nil {
		opts.Lookup = lookup
	}
	e, err := newEngine(opts.EngineOptions)
	if err != nil {
		return nil, &EnvironmentError{Err: err}
	}
	return &Prober{opts: opts, engine: e, allow: opts.Allow, shared: newFlights(), pauses: newPauses()}, nil
}

// Close resets what is open, waits for everything the Prober started, and frees its sockets.
func (p *Prober) Close() error { return p.engine.Close() }

// Host tells what was found out about this machine.
func (p *Prober) Host() Host {
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	return p.engine.host
}

// SetAllow replaces the allow list; bursts already under way finish.
func (p *Prober) SetAllow(a Allow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allow = a
}

// DefaultModule is the module called connect: a burst of ten kernel connects.
func DefaultModule() Module {
	m, _ := BuiltinModule(KindConnect)
	return m
}

// Probe runs module m against every address that target has (one chosen family where m says so) and returns a Round for each,
// also for those that could not be probed (Round.Err). The error is of the target as a whole: its spelling, its name.
// Two callers who ask the same at once share one run.
func (p *Prober) Probe(ctx context.Context, target string, m Module) ([]Round, error) {
	m = m.withDefaults()
	ep, err := ParseEndpoint(target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	began := time.Now()
	addrs, err := p.resolve(ctx, ep, m)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if ep.Addr.IsValid() {
		took = 0
	}
	rounds := make([]Round, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			rounds[i] = p.shared.do(ctx, flightKey(ep, a, m), func(ctx context.Context) Round {
				return p.round(ctx, ep, netip.AddrPortFrom(a, ep.Port), m)
			})
			rounds[i].Lookup, rounds[i].Target = took, target
		})
	}
	wg.Wait()
	return rounds, nil
}

func (m Module) withDefaults() Module {
	if m.Kind == "" {
		m.Kind = KindConnect
	}
	d := traitsOf(m.Kind)
	if m.Timeout <= 0 {
		m.Timeout = d.timeout
	}
	if m.Burst <= 0 {
		m.Burst = d.burst
	}
	if m.Kind == KindTCP {
		m.Burst = 1
	}
	if m.Count <= 0 {
		m.Count = 1
	}
	return m
}

// lookup asks the system's resolver for both families.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve returns the addresses to probe: all of a name, or one family's first where the module prefers one.
func (p *Prober) resolve(ctx context.Context, ep Endpoint, m Module) ([]netip.Addr, error) {
	if ep.Addr.IsValid() {
		return []netip.Addr{ep.Addr}, nil
	}
	addrs, err := p.opts.Lookup(ctx, ep.Host)
	if err != nil {
		return nil, &ResolveError{Host: ep.Host, Err: err}
	}
	addrs = m.choose(distinct(addrs))
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case m.IPProtocol == "":
		return nil, &ResolveError{Host: ep.Host, Err: errors.New("no address")}
	}
	return nil, &ResolveError{Host: ep.Host, Err: fmt.Errorf("no %s address", m.IPProtocol)}
}

// round probes one address.
func (p *Prober) round(ctx context.Context, ep Endpoint, addr netip.AddrPort, m Module) Round {
	r := Round{Target: ep.String(), Addr: addr, Module: m.Name, Kind: m.Kind, Started: time.Now()}
	host := p.Host()
	r.Ladder, r.Kernel, r.OwnQueue = host.Ladder, host.Kernel, p.engine.queueTowards(addr.Addr(), m)
	if run := traitsOf(m.Kind).run; run != nil {
		run(p, ctx, ep, addr, m, &r)
	} else {
		r.Err = &EnvironmentError{Target: r.Target, Err: fmt.Errorf("%q is no kind of module", m.Kind)}
	}
	r.Duration = time.Since(r.Started)
	if r.Queue != nil {
		r.Success, r.Why = judgeQueue(r.Queue)
		return r
	}
	if r.Err == nil {
		r.Diagnosis = diagnose.Diagnose(r.input())
		if r.Check != nil {
			r.Success, r.Why = judgeCheck(r.Check, r.Why)
		} else {
			r.Success, r.Why = judge(&r, m)
		}
		return r
	}
	r.Why = r.Err.Error()
	return r
}

// bursts runs the module's experiment to its end.
func (p *Prober) bursts(ctx context.Context, _ Endpoint, addr netip.AddrPort, m Module, r *Round) {
	exp := p.experiment(ctx, addr, m)
	for {
		b, more := exp.Next(r.Observations)
		if !more {
			return
		}
		if len(r.Observations) > 0 && (!pause(ctx, m.Pause) || timeLeft(ctx) < reserve) {
			return // what began just before the time is over would look like a target that does not answer
		}
		obs, err := p.run(ctx, r.Target, &b, m)
		if !r.keep(obs, err) {
			return
		}
	}
}

// timeLeft is the time until a round must be over.
func timeLeft(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return time.Hour
}

// run executes one burst for a module.
func (p *Prober) run(ctx context.Context, target string, b *plan.Burst, m Module) (observe.Observation, error) {
	return p.engine.run(ctx, p.request(target, b, m))
}

func (p *Prober) request(target string, b *plan.Burst, m Module) request {
	return request{target: target, burst: b, source: m.Source, iface: m.Interface, counters: p.opts.Counters, record: m.Record,
		check: func(a netip.Addr) error { return p.permitted(target, a, m, nil) }}
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// experiment makes the state machine of a module's kind. Each burst may last an equal share of the time left.
func (p *Prober) experiment(ctx context.Context, addr netip.AddrPort, m Module) experiment.Experiment {
	listen := m.Timeout
	if d, ok := ctx.Deadline(); ok {
		listen = min(listen, time.Until(d)-reserve)
	}
	listen = max(listen-time.Duration(m.Count-1)*m.Pause, 10*time.Millisecond)
	src := netip.AddrPortFrom(m.Source, 0)
	if m.Kind != KindSYN {
		return &experiment.Connect{Source: src, Dst: addr, Burst: m.Burst, Count: m.Count, Ladder: p.Host().Ladder, Listen: listen,
			HopLimit: m.HopLimit, ToS: m.ToS, Close: plan.Abort}
	}
	return p.syn(addr, m, listen)
}

// syn is the raw burst of a module.
func (p *Prober) syn(addr netip.AddrPort, m Module, listen time.Duration) *experiment.SYN {
	s := &experiment.SYN{Source: netip.AddrPortFrom(m.Source, 0), Dst: addr, Burst: m.Burst, Count: m.Count, Ladder: m.SYN.Ladder, Listen: listen,
		HopLimit: m.HopLimit, ToS: m.ToS, MSS: m.SYN.MSS, WithoutTimestamps: m.SYN.WithoutTimestamps, Handshake: m.SYN.Handshake,
		Clock: plan.TSClock{Start: m.SYN.TSval, Hz: m.SYN.TSHz}}
	if len(s.Ladder.At) == 0 {
		s.Ladder = p.Host().Ladder
	}
	if s.Clock.Hz == 0 {
		s.Clock.Hz = 1000
	}
	if !m.SYN.HasTSval {
		s.Clock.Start = experiment.RandomClock(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), s.Clock.Hz).Start
	}
	if s.MSS == 0 {
		s.MSS = mss(addr)
	}
	return s
}

// mss is what Ethernet leaves of 1,500 octets: less 40 for IPv4 and TCP, less 60 for IPv6 and TCP.
func mss(addr netip.AddrPort) uint16 {
	if addr.Addr().Is6() {
		return 1440
	}
	return 1460
}

// reserve is kept back from a round's timeout so that its bursts end, and are judged, within it.
const reserve = 20 * time.Millisecond

// judge decides a round's success: every attempt accepted, and no more stalls than allowed.
func judge(r *Round, m Module) (bool, string) {
	if subject := m.Subject(); subject != diagnose.SubjectUnknown {
		return judgeDiagnosis(r, subject)
	}
	s := Summarize(r.Attempts())
	if r.TCP != nil && r.Why != "" {
		return false, r.Why
	}
	if n := s.Attempts - s.Outcomes[observe.Accepted]; n > 0 {
		return false, fmt.Sprintf("%d of %d attempts were not accepted", n, s.Attempts)
	}
	if s.Attempts == 0 {
		return false, "nothing was attempted"
	}
	if m.MaxStalled >= 0 && s.Stalled > m.MaxStalled {
		return false, fmt.Sprintf("%d of %d attempts stalled; %d permitted", s.Stalled, s.Attempts, m.MaxStalled)
	}
	return true, ""
}

// Summarize counts attempts by outcome and stall.
func Summarize(attempts []*observe.Attempt) Summary {
	s := Summary{Attempts: len(attempts), Outcomes: map[observe.Outcome]int{}, StalledBy: map[int]int{}}
	for _, a := range attempts {
		s.Outcomes[a.Outcome]++
		s.Retransmissions += a.Retransmissions
		if a.Stalled() {
			s.Stalled++
			s.StalledBy[a.Retransmissions]++
		}
		if a.RTT > 0 {
			s.RTTs = append(s.RTTs, a.RTT)
		}
	}
	slices.Sort(s.RTTs)
	return s
}

// Capture is how the capture ring and the light path of scheduled rounds fare.
type Capture struct {
	Frames, Drops uint64 // since the start: frames captured, and frames lost because the ring was full
	InFlight      int    // SYNs of scheduled rounds whose round is not over
}

// Capture tells how the capture fares; zero where there is none.
func (p *Prober) Capture() Capture {
	var c Capture
	if t := p.engine.tap; t != nil {
		if st, err := t.Stats(); err == nil {
			c.Frames, c.Drops = st.Frames, st.Drops+st.Bad
		}
	}
	if l := p.engine.light.Load(); l != nil {
		c.InFlight = l.underWay()
	}
	return c
}
