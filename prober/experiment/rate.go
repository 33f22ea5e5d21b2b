package experiment

import (
	"cmp"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ratePace is how many SYNs a second a rate burst sends, the first time; rateTime for how long; rateFlows on how many flows in turn.
const (
	ratePace  = 16
	rateTime  = 2500 * time.Millisecond
	soonTime  = 2 * time.Second // where so many pass a second that it is enough
	rateFlows = 4
)

// rate asks a few flows again and again at a steady pace, twice as fast each time it is called: a limiter lets through its own rate and no more, also
// of flows that it has just let through, and a table that is full lets through those it knows.
func (v *Investigation) rate(seen []observe.Observation) plan.Burst {
	step := (time.Second / ratePace) >> count(seen, plan.KindRate)
	n := v.flows(rateFlows)
	var at []time.Duration
	for t := time.Duration(0); t < rateTime; t += time.Duration(n) * step {
		at = append(at, t)
	}
	b := plan.Burst{Listen: at[len(at)-1] + patience(seen)}
	s := v.script(v.clock(seen), plan.Custom(at...), plan.Reset)
	s.Persist, s.Undeterred = true, diagnose.RefusesOver(v.input(seen))
	b.Arms = []plan.Arm{{Name: "rate", Via: plan.Raw, Script: s}}
	v.shots(&b, 0, n, 0, step)
	return b
}

// scopeFlows is on how many flows each address asks in turn.
const scopeFlows = 4

// scope asks at a steady pace: from the usual address, and after a while, where this host has another, from both in turn. What both draw on gives them together
// what it gave one. Once it is known how many come through, it first rests, so that a limiter's bucket fills: how many SYNs then pass at once is its size.
func (v *Investigation) scope(seen []observe.Observation) plan.Burst {
	seconds := func(s float64, least, most time.Duration) time.Duration {
		return min(max(time.Duration(s*float64(time.Second)), least), most)
	}
	var step, span, rest time.Duration
	if rate, head, ok := diagnose.Through(seen); ok {
		step, span = time.Duration(float64(time.Second)/min(max(2.5*rate, 4), 50)), seconds(15/rate, rateTime, 2*rateTime)
		rest = seconds(float64(head)/rate, rateTime, 2*rateTime)
	} else {
		step, span = time.Second/ratePace, seconds(10/diagnose.FirstTokens(seen), soonTime, rateTime)
	}
	sources := v.twoSources(seen)
	flows := make([][]paced, len(sources))
	for i, src := range sources {
		for k := range max(min(scopeFlows, v.flows(16)/len(sources)), 1) {
			flows[i] = append(flows[i], paced{src: src, name: fmt.Sprintf("from %s, flow %d", src, k)})
		}
	}
	v.takeTurns(flows[:1], step, rest, rest+span)
	if len(flows) > 1 {
		v.takeTurns(flows, step, rest+span, rest+2*span)
	}
	return v.pacedBurst(slices.Concat(flows...), seen)
}

// paced is one flow and when its SYNs leave.
type paced struct {
	src  netip.Addr
	name string
	at   []time.Duration
}

// takeTurns lets every source ask once in each step, on its flows in turn. Which asks first, and when within its part of the step, is drawn by lot, so that none
// keeps step with a limiter.
func (v *Investigation) takeTurns(flows [][]paced, step, from, until time.Duration) {
	each := step / time.Duration(len(flows))
	for turn := 0; from < until; turn++ {
		for _, s := range v.Rand.Perm(len(flows)) {
			f := &flows[s][turn%len(flows[s])]
			f.at = append(f.at, from+time.Duration(v.Rand.Int64N(int64(each/2))))
			from += each
		}
	}
}

func (v *Investigation) pacedBurst(flows []paced, seen []observe.Observation) plan.Burst {
	b := plan.Burst{}
	slices.SortFunc(flows, func(a, b paced) int { return cmp.Compare(a.at[0], b.at[0]) })
	start, undeterred := v.clock(seen), diagnose.RefusesOver(v.input(seen))
	for i := range flows {
		f := &flows[i]
		first := f.at[0]
		at := make([]time.Duration, len(f.at))
		for k := range f.at {
			at[k] = f.at[k] - first
		}
		s := v.script(start, plan.Custom(at...), plan.Reset)
		s.Persist, s.Undeterred = true, undeterred
		b.Arms = append(b.Arms, plan.Arm{Name: f.name, Via: plan.Raw, Script: s})
		b.Shots = append(b.Shots, plan.Shot{Offset: first, Arm: i, Flow: wire.Flow{Src: netip.AddrPortFrom(f.src, 0), Dst: v.Dst}})
	}
	for i := range flows {
		b.Listen = max(b.Listen, flows[i].at[len(flows[i].at)-1]-flows[len(flows)-1].at[0]+patience(seen))
	}
	return b
}

// twoSources are the usual address and another of this host: the control where one is given, else the one whose prefix is most alike, which is the likeliest
// to have a way back.
func (v *Investigation) twoSources(seen []observe.Observation) []netip.Addr {
	usual := v.usual(seen)
	var best netip.Addr
	for _, a := range append([]netip.Addr{v.Control.Addr()}, v.Others...) {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a == usual:
		case a == v.Control.Addr():
			return []netip.Addr{usual, a}
		case !best.IsValid() || alike(a, usual) > alike(best, usual):
			best = a
		}
	}
	if !best.IsValid() {
		return []netip.Addr{usual}
	}
	return []netip.Addr{usual, best}
}

// alike is how many leading bits two addresses share.
func alike(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return 8*i + bits.LeadingZeros8(d)
		}
	}
	return 8 * len(x)
}

// addresses are the sources of a burst, each once.
func addresses(o *observe.Observation) []netip.Addr {
	var out []netip.Addr
	for i := range o.Attempts {
		if a := o.Attempts[i].Flow.Src.Addr(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
