package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// ValidateOptions shape a validation of new hosts.
type ValidateOptions struct {
	// Module gives source, interface, protocol and the size of a burst.
	Module Module
	Checks []rollout.Check
	// Profile permits what a profile may measure.
	Profile ProfileOptions
	// Baseline is what the hosts should be like; nil: nothing is compared.
	Baseline *profile.Profile
	// Connects is how many at least are made to each host; 0: as many as the checks need, 20 at least.
	Connects int
	// Parallel is how many hosts are measured at a time; 0: 8.
	Parallel int
	// Seconds is the time for each host; 0: 120.
	Seconds float64
	// Progress is told what is measured next; nil: nobody is.
	Progress func(target, what string)
	// Finished is told of every host as it is done, one call at a time; nil: nobody is.
	Finished func(Validated)
}

// Validated is one address of a candidate against the policy.
type Validated struct {
	Target  string
	Addr    netip.AddrPort // invalid where the name did not resolve
	Started time.Time
	Took    time.Duration
	Results []rollout.Result
	// Profile is what was measured, nil: nothing. Rounds are what it all rests on.
	Profile *profile.Profile
	Rounds  []Round
	// SYNs is what the validation sent.
	SYNs int
	Err  error
}

// State is the worst of the results; a host that could not be measured is unknown.
func (v *Validated) State() rollout.State {
	if v.Err != nil {
		return rollout.Unknown
	}
	return rollout.Worst(v.Results)
}

// leastConnects is enough to see first contact and a repeat.
const leastConnects = 20

// Validate measures every address of the candidates and holds it against the checks. Results keep the candidates' order.
func (p *Prober) Validate(ctx context.Context, candidates []string, o ValidateOptions) []Validated {
	o.Module = o.Module.withDefaults()
	if o.Seconds <= 0 {
		o.Seconds = 120
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	all := make([][]Validated, len(candidates))
	slots := make(chan struct{}, o.Parallel)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, c := range candidates {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i] = p.validate(ctx, c, &o)
			mu.Lock()
			defer mu.Unlock()
			for k := range all[i] {
				if o.Finished != nil && ctx.Err() == nil {
					o.Finished(all[i][k])
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(all...)
}

// validate measures one candidate, its addresses one after the other.
func (p *Prober) validate(ctx context.Context, target string, o *ValidateOptions) []Validated {
	broken := func(err error) []Validated { return []Validated{{Target: target, Started: time.Now(), Err: err}} }
	if err := ctx.Err(); err != nil {
		return broken(&EnvironmentError{Target: target, Err: errors.New("interrupted before it was measured")})
	}
	ep, err := ParseEndpoint(target)
	if err != nil {
		return broken(err)
	}
	addrs, err := p.resolve(ctx, ep, o.Module)
	if err != nil {
		return broken(err)
	}
	var out []Validated
	for _, a := range addrs {
		v := Validated{Target: target, Addr: netip.AddrPortFrom(a, ep.Port), Started: time.Now()}
		within, cancel := context.WithTimeout(ctx, time.Duration(o.Seconds*float64(time.Second)))
		(&validation{p: p, o: o, v: &v}).run(within)
		cancel()
		v.Took = time.Since(v.Started)
		out = append(out, v)
	}
	return out
}

// validation is the measurement of one address.
type validation struct {
	p     *Prober
	o     *ValidateOptions
	v     *Validated
	facts rollout.Facts
}

func (x *validation) wants(subjects ...rollout.Subject) bool {
	return slices.ContainsFunc(x.o.Checks, func(c rollout.Check) bool { return slices.Contains(subjects, c.Subject) })
}

func (x *validation) tell(what string) {
	if x.o.Progress != nil {
		x.o.Progress(x.v.Addr.String(), what)
	}
}

// run measures what the checks ask for: connects first, as first contact comes only once.
func (x *validation) run(ctx context.Context) {
	x.facts.Baseline = x.o.Baseline
	if x.wants(rollout.Connects) {
		x.tell("connects")
		x.connects(ctx)
	}
	if x.v.Err == nil && x.wants(rollout.Findings) {
		x.tell("diagnosis")
		x.diagnose(ctx)
	}
	if x.v.Err == nil && x.wants(rollout.Value, rollout.Baseline) {
		x.tell("profile")
		x.profile(ctx)
	}
	if err := ctx.Err(); err != nil && x.facts.Why == "" {
		x.facts.Why = ended(ctx, "")
	}
	x.v.Results = rollout.Judge(x.o.Checks, &x.facts)
	for i := range x.v.Rounds {
		for _, a := range x.v.Rounds[i].Attempts() {
			x.v.SYNs += max(len(a.SYNs), 1)
		}
	}
}

// number is how many connects the checks need.
func (x *validation) number() int {
	n := max(x.o.Connects, leastConnects)
	for i := range x.o.Checks {
		n = max(n, x.o.Checks[i].Connections())
	}
	return min(n, rollout.MaxConnects)
}

// mostAtOnce bounds a warm burst of a long row of connects.
const mostAtOnce = 50

// connects makes them burst after burst: the first of the module's size, as a client's would be, the others larger where many are needed.
func (x *validation) connects(ctx context.Context) {
	host := x.p.Host()
	r := Round{Target: x.v.Target, Addr: x.v.Addr, Module: "validate", Kind: KindConnect, Started: time.Now(), Ladder: host.Ladder, Kernel: host.Kernel}
	size, left := x.o.Module.Burst, x.number()
	for left > 0 && ctx.Err() == nil {
		n := min(size, left)
		c := experiment.Connect{Source: netip.AddrPortFrom(x.o.Module.Source, 0), Dst: x.v.Addr, Burst: n, Count: 1, Ladder: host.Ladder,
			Listen: x.o.Module.Timeout, Close: plan.Abort}
		b, _ := c.Next(nil)
		obs, err := x.p.run(ctx, x.v.Target, &b, x.o.Module)
		if err != nil {
			x.refused(err)
			break
		}
		if ctx.Err() != nil {
			break // of a burst that was cut short nothing is counted
		}
		x.facts.Bursts = append(x.facts.Bursts, burstOf(&obs))
		if len(r.Observations) < 2 { // the rest is counted, not kept
			r.Observations = append(r.Observations, obs)
		} else {
			x.v.SYNs += n
		}
		left -= n
		size = max(x.o.Module.Burst, min(mostAtOnce, left/10))
	}
	r.Duration = time.Since(r.Started)
	x.v.Rounds = append(x.v.Rounds, r)
}

// refused notes why a measurement could not be made. Where nothing was seen before, there is nothing to judge.
func (x *validation) refused(err error) {
	x.facts.Why = err.Error()
	if len(x.facts.Bursts) == 0 {
		x.v.Err = err
	}
}

// burstOf counts what was put to the target: a connect that this host did not begin says nothing of it.
func burstOf(o *observe.Observation) rollout.Burst {
	var attempts []*observe.Attempt
	for i := range o.Attempts {
		if a := &o.Attempts[i]; a.Outcome != observe.NotSent && a.Outcome != observe.OutcomeUnknown {
			attempts = append(attempts, a)
		}
	}
	s := Summarize(attempts)
	b := rollout.Burst{Connects: s.Attempts, Stalled: s.Stalled, Failed: s.Attempts - s.Outcomes[observe.Accepted]}
	for _, a := range attempts {
		if a.Outcome == observe.Accepted {
			b.Times = append(b.Times, a.Handshake)
		}
	}
	return b
}

func (x *validation) diagnose(ctx context.Context) {
	ep := Endpoint{Host: x.v.Addr.Addr().String(), Port: x.v.Addr.Port(), Addr: x.v.Addr.Addr()}
	r := x.p.investigate(ctx, ep, x.v.Addr, x.o.Module, DiagnoseOptions{SizeBurst: true})
	x.v.Rounds = append(x.v.Rounds, r)
	if r.Err != nil {
		x.refused(r.Err)
		return
	}
	x.facts.Findings = append(x.facts.Findings, r.Diagnosis.Causes...)
	x.facts.Diagnosed = r.Diagnosis.Healthy() || slices.ContainsFunc(r.Diagnosis.Causes, func(c diagnose.Cause) bool { return c.Level >= diagnose.Suspected })
	if !x.facts.Diagnosed {
		x.facts.Why = fmt.Sprintf("the diagnosis is open: %s", r.Diagnosis.Headline)
	}
}

func (x *validation) profile(ctx context.Context) {
	m := &profiling{p: x.p, m: x.o.Module, o: &x.o.Profile, addr: x.v.Addr, target: x.v.Target}
	got := m.run(ctx)
	x.v.Rounds = append(x.v.Rounds, got.Rounds...)
	if got.Err != nil {
		x.facts.Why = got.Err.Error()
		return
	}
	x.facts.Profile, x.v.Profile = &got.Profile, &got.Profile
}
