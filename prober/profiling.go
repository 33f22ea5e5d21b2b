package prober

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/profile"
)

// ProfileOptions shape a profile. What can disturb a host is opt-in.
type ProfileOptions struct {
	// Module gives source, interface and protocol.
	Module Module
	// Patience is how long SYN-ACK repeats are waited for; 0: profile.Patience.
	Patience time.Duration
	// Request is sent to see the initial window; empty: it is not measured.
	Request []byte
	// Backlog is how many requests at most may be left half-open; 0: none. It must be within the half-open limit.
	Backlog int
	// TimeWait permits connections that the server closes first, and SYNs of the same ports afterwards; they have timestamps only where the host
	// is known not to remember them.
	TimeWait bool
	// Overflow completes, once the backlog is known, as many connections at once as the listener has room for. It needs Backlog.
	Overflow bool
	// Queue permits the measurement of the neighbour queue; nil: it is not made.
	Queue *NeighborQueueOptions
	// MayPrime permits connections that the server closes first: see DiagnoseOptions.MayPrime.
	MayPrime bool
	Prime    PrimeOptions
	// Seconds is the time for each address; 0: 90.
	Seconds float64
	// Progress is told what is measured next; nil: nobody is. Several addresses tell it at the same time.
	Progress func(addr netip.AddrPort, what string)
}

// Profiled is one address's profile and what it rests on. Where Err is set nothing could be measured at all.
type Profiled struct {
	profile.Profile
	Rounds []Round
	Err    error
}

// Profile measures what the hosts behind every address of a target are like. The error is of the target as a whole.
func (p *Prober) Profile(ctx context.Context, target string, o ProfileOptions) ([]Profiled, error) {
	m := o.Module.withDefaults()
	ep, err := ParseEndpoint(target)
	if err != nil {
		return nil, err
	}
	addrs, err := p.resolve(ctx, ep, m)
	if err != nil {
		return nil, err
	}
	if o.Seconds <= 0 {
		o.Seconds = 90
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Seconds*float64(time.Second)))
	defer cancel()
	out := make([]Profiled, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			x := &profiling{p: p, m: m, o: &o, addr: netip.AddrPortFrom(a, ep.Port), target: target}
			out[i] = x.run(ctx)
		})
	}
	wg.Wait()
	return out, nil
}

// profiling is the measurement of one address.
type profiling struct {
	p      *Prober
	m      Module
	o      *ProfileOptions
	addr   netip.AddrPort
	target string
}

func (x *profiling) tell(what string) {
	if x.o.Progress != nil {
		x.o.Progress(x.addr, what)
	}
}

func (x *profiling) run(ctx context.Context) Profiled {
	out := Profiled{Profile: profile.Profile{Target: x.target, Addr: x.addr, At: time.Now()}}
	if err := x.p.Host().CaptureError; err != nil {
		out.Err = &EnvironmentError{Target: x.target, Err: err}
		return out
	}
	x.tell("handshakes, repeats, closed ports")
	survey := x.round(ctx, x.survey())
	if survey.Err != nil {
		out.Err = survey.Err
		return out
	}
	if out.Err = noListener(&survey); out.Err != nil {
		return out
	}
	out.Values = profile.Read(survey.Observations)
	out.Rounds = append(out.Rounds, survey)
	out.Set(backlogValue(&survey, x.o.Backlog))
	if x.o.Queue != nil {
		x.tell("neighbour queue")
		m := x.m
		m.Kind, m.Name, m.Burst, m.NeighborQueue = KindNeighborQueue, string(KindNeighborQueue), experiment.QueueSize, *x.o.Queue
		r := x.p.round(ctx, x.endpoint(), x.addr, m)
		out.Rounds = append(out.Rounds, r)
		out.Set(queueValue(&r))
	}
	if x.o.MayPrime {
		x.tell("per-host PAWS")
		r := x.p.investigate(ctx, x.endpoint(), x.addr, x.m, DiagnoseOptions{MayPrime: true, Prime: x.o.Prime, Focus: experiment.Timestamps})
		out.Rounds = append(out.Rounds, r)
		out.Set(pawsValue(&r))
	}
	if x.o.TimeWait {
		x.tell("TIME_WAIT")
		stampless := stampless(&out.Profile)
		r := x.round(ctx, x.revisit(stampless == ""))
		out.Rounds = append(out.Rounds, r)
		for _, v := range profile.ReadTimeWait(r.Observations, stampless) {
			if v.State == profile.NotMeasured && r.Err != nil {
				v.Why = r.Err.Error()
			}
			out.Set(v)
		}
	}
	out.Took = time.Since(out.At)
	out.count()
	return out
}

func (x *profiling) endpoint() Endpoint {
	return Endpoint{Host: x.addr.Addr().String(), Port: x.addr.Port(), Addr: x.addr.Addr()}
}

func (x *profiling) survey() *profile.Survey {
	return &profile.Survey{Source: netip.AddrPortFrom(x.m.Source, 0), Dst: x.addr, MSS: mss(x.addr), Patience: x.o.Patience, Request: x.o.Request,
		Backlog: x.o.Backlog, Overflow: x.o.Overflow, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// closing is what servers answer and then close, where the caller names nothing else.
const closing = "HEAD / HTTP/1.0\r\nHost: vipprobe\r\nConnection: close\r\n\r\n" // RFC 9112 §9.6

func (x *profiling) revisit(stamped bool) *profile.Revisit {
	request := []byte(closing)
	if len(x.o.Request) > 0 && !bytes.HasPrefix(x.o.Request, []byte("GET ")) {
		request = x.o.Request
	}
	return &profile.Revisit{Source: netip.AddrPortFrom(x.m.Source, 0), Dst: x.addr, MSS: mss(x.addr), Request: request, Stamped: stamped,
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// stampless says why the host is sent no connection with timestamps that it closes first; empty: it is. One that remembers TSvals per address would
// refuse others behind ours for a minute (tcp_tw_recycle). Whether it does was measured, or is impossible: those kernels, all before 4.12, have one
// timestamp clock for all connections, or from 4.10 on one for each pair of addresses (net/core/secure_seq.c).
func stampless(p *profile.Profile) string {
	is := func(n profile.Name, text string) bool {
		v, ok := p.Value(n)
		return ok && v.State == profile.Measured && v.Text == text
	}
	switch {
	case is(profile.Timestamps, "off"):
		return "the host has no timestamps"
	case is(profile.PerHostPAWS, "on"):
		return "the host remembers timestamps per address (tcp_tw_recycle)"
	case is(profile.PerHostPAWS, "off"), is(profile.TimestampStart, "one per connection"):
		return ""
	}
	return "whether the host remembers timestamps per address is not known: it needs --i-own-this-path"
}

// round runs the bursts of one measurement.
func (x *profiling) round(ctx context.Context, e bursts) Round {
	host := x.p.Host()
	r := Round{Target: x.target, Addr: x.addr, Module: "profile", Kind: x.m.Kind, Started: time.Now(), Ladder: host.Ladder, Kernel: host.Kernel}
	g := guard{p: x.p, r: &r, m: x.m}
	defer g.leave()
	for {
		b, more := e.Next(r.Observations)
		if !more {
			break
		}
		if !x.one(ctx, &g, &b) {
			break
		}
	}
	r.Duration = time.Since(r.Started)
	return r
}

// bursts proposes one burst after the other.
type bursts interface {
	Next(seen []observe.Observation) (plan.Burst, bool)
}

// one executes one burst; false where no other may follow.
func (x *profiling) one(ctx context.Context, g *guard, b *plan.Burst) bool {
	err := g.enter(ctx, b)
	if err != nil {
		g.r.keep(observe.Observation{}, err)
		return false
	}
	obs, err := x.p.run(ctx, x.target, b, x.m)
	if !g.r.keep(obs, err) {
		return false
	}
	g.after(b)
	return ctx.Err() == nil
}

// noListener says why there is no profile of a host that accepted nothing; nil: it did.
func noListener(r *Round) error {
	s := Summarize(r.Attempts())
	if s.Outcomes[observe.Accepted] > 0 {
		return nil
	}
	if cut := s.Outcomes[observe.OutcomeUnknown]; cut > 0 && cut == s.Attempts {
		return &EnvironmentError{Target: r.Target, Err: errors.New("interrupted before an answer")}
	}
	var met []string
	for _, o := range observe.Outcomes() {
		if n := s.Outcomes[o]; n > 0 {
			met = append(met, fmt.Sprintf("%d %s", n, o))
		}
	}
	why := fmt.Errorf("no listener to profile: of %d SYNs %s", s.Attempts, strings.Join(met, ", "))
	if r.Why != "" {
		why = fmt.Errorf("%w: %s", why, r.Why)
	}
	return &EnvironmentError{Target: r.Target, Err: why}
}

// backlogValue is the listener's backlog as a diagnosis of the survey measures it.
func backlogValue(r *Round, asked int) profile.Value {
	t, _ := profile.TraitOf(profile.Backlog)
	v := profile.Value{Name: t.Name, Unit: t.Unit, How: t.Method, State: profile.NotMeasured, Why: profile.NotAsked}
	if asked == 0 {
		return v
	}
	v.Why = "the listener did not answer"
	for _, m := range diagnose.Diagnose(r.input()).Measurements {
		if m.Name != diagnose.ListenerBacklog {
			continue
		}
		v.Why = m.Missing
		if m.Measured() {
			v.State, v.Why, v.How = profile.Measured, "", m.How
			v.Number, v.Low, v.High, v.HasNumber, v.Text = float64(m.Value), float64(m.Value), float64(m.Most), true, fmt.Sprint(m.Value)
			switch {
			case m.Most == 0:
				v.State, v.Text = profile.AtLeast, fmt.Sprintf("≥ %d", m.Value)
			case m.Most != m.Value:
				v.State, v.Text = profile.Between, fmt.Sprintf("%d to %d", m.Value, m.Most)
			}
		}
	}
	return v
}

// queueValue is the neighbour queue as its module measures it.
func queueValue(r *Round) profile.Value {
	t, _ := profile.TraitOf(profile.NeighborQueue)
	v := profile.Value{Name: t.Name, Unit: t.Unit, How: t.Method, State: profile.NotMeasured, Why: r.Why}
	q := r.Queue
	if q == nil || r.Err != nil {
		return v
	}
	v.Low, v.High, v.Number, v.HasNumber, v.Why, v.Seen = float64(q.Low), float64(q.High), float64(q.Low), true, "", len(q.Contacts)
	switch q.State {
	case experiment.QueueMeasured:
		v.State, v.Text = profile.Measured, fmt.Sprint(q.Packets)
	case experiment.QueueAtLeast:
		v.State, v.Text = profile.AtLeast, fmt.Sprintf("≥ %d", q.Low)
	case experiment.QueueRange:
		v.State, v.Text = profile.Between, fmt.Sprintf("%d to %d", q.Low, q.High)
	case experiment.QueueInconclusive, experiment.QueueNotApplicable:
		v.HasNumber, v.Number, v.Low, v.High, v.Why = false, 0, 0, 0, q.Why
	}
	return v
}

// pawsValue is whether the server remembers TSvals per host.
func pawsValue(r *Round) profile.Value {
	t, _ := profile.TraitOf(profile.PerHostPAWS)
	v := profile.Value{Name: t.Name, How: t.Method, State: profile.NotMeasured, Why: r.Why}
	if r.Err != nil {
		return v
	}
	on, known, why := diagnose.PerHostPAWS(r.Observations)
	switch {
	case !known:
		v.Why = why
	case on:
		v.State, v.Text, v.Why = profile.Measured, "on", ""
	default:
		v.State, v.Text, v.Why = profile.Measured, "off", ""
	}
	return v
}

// count is what the measurement sent.
func (d *Profiled) count() {
	for i := range d.Rounds {
		for _, a := range d.Rounds[i].Attempts() {
			d.SYNs += len(a.SYNs)
			d.Segments += len(a.SYNs) + len(a.Sent)
		}
	}
}
