package experiment

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// primeListen is how long a burst of primes waits for the server to close.
const primeListen = 2500 * time.Millisecond

// prime makes connections that the server shall close first, all with one TSval that never moves: this machine's own, so that what is remembered
// is no newer than what this host's own traffic sends. Each flow tries another way to make the server close; the first that did is
// enough.
func (v *Investigation) prime(seen []observe.Observation) plan.Burst {
	step, _ := diagnose.NextPrime(v.input(seen))
	t0 := v.clock(seen)
	if step.Raise && t0.Before(step.Above) {
		t0 = step.Above
	}
	rto := max(200*time.Millisecond, patience(seen)/2)
	b := plan.Burst{Listen: primeListen + 2*rto, Enough: 1}
	ways := v.closers(step.Idle)
	for i := range ways {
		s := v.fixed(t0, plan.Custom(0, rto, 3*rto), plan.Acknowledge)
		s.Then = plan.Exchange{Data: ways[i].Data, Close: plan.WaitForPeer, RTO: rto}
		b.Listen = max(b.Listen, ways[i].Patience)
		b.Arms = append(b.Arms, plan.Arm{Name: diagnose.PrimeArm + ways[i].Name, Via: plan.Raw, Script: s})
		v.shots(&b, i, 1, time.Duration(i)*2*time.Millisecond, 0)
	}
	return b
}

// closers are the ways of one burst, no more than may be open at a time.
func (v *Investigation) closers(idle bool) []Closer {
	ways := v.PrimeWith
	if len(ways) == 0 {
		ways = AutoClosers()
	}
	if idle {
		ways = []Closer{{Name: idleName, Patience: lastPatience}}
	}
	return ways[:min(len(ways), max(v.HalfOpen, 1))]
}

// flip asks around a primed TSval, one tick apart: nothing but a comparison with what the server remembers turns there. The arms are
// asked in blocks, each in an order of its own; with a control source each block asks the same from there.
func (v *Investigation) flip(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	p, ok := diagnose.Primed(seen)
	if !ok {
		return b
	}
	sources := []wire.Flow{{Src: v.Source, Dst: v.Dst}}
	names := []string{""}
	if v.Control.IsValid() && v.flows(16) >= 8 {
		sources = append(sources, wire.Flow{Src: v.Control, Dst: v.Dst})
		names = append(names, diagnose.ControlArm)
	}
	for i := range sources {
		for _, d := range diagnose.FlipOffsets() {
			b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("%sT0%+d", names[i], d), Via: plan.Raw, Script: v.fixed(p.T0.Add(d), plan.Single(), plan.Reset)})
		}
	}
	width := len(b.Arms)
	for block := range v.flows(16) / width {
		for i, k := range v.Rand.Perm(width) {
			b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(block*width+i) * 4 * time.Millisecond, Arm: k, Flow: sources[k/4]})
		}
	}
	return b
}

// bare asks without timestamps, beside SYNs with the primed one: old kernels differ in what they make of them.
func (v *Investigation) bare(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	p, ok := diagnose.Primed(seen)
	if !ok {
		return b
	}
	without := v.fixed(p.T0, plan.Single(), plan.Reset)
	without.Options = wire.LinuxSYNWithoutTimestamps(v.MSS, scale)
	b.Arms = []plan.Arm{{Name: "no timestamps", Via: plan.Raw, Script: without},
		{Name: "T0", Via: plan.Raw, Script: v.fixed(p.T0, plan.Single(), plan.Reset)}}
	v.pairs(&b, 0)
	return b
}

// heal waits until the refused TSval is to be asked again, beside the primed one, which is never refused.
func (v *Investigation) heal(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen)}
	p, ok := diagnose.Primed(seen)
	if !ok {
		return b
	}
	age := seen[len(seen)-1].Finished.Sub(p.At)
	at, _ := diagnose.NextHeal(v.input(seen), age)
	for _, d := range []int64{-2, 0} {
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("T0%+d", d), Via: plan.Raw, Script: v.fixed(p.T0.Add(d), plan.Single(), plan.Reset)})
	}
	b.Label = fmt.Sprintf("heal at %.0f s", at.Seconds())
	v.pairs(&b, max(at-age, 0))
	return b
}

// pairs asks both arms side by side, in random order, after a wait.
func (v *Investigation) pairs(b *plan.Burst, wait time.Duration) {
	for pair := range v.flows(12) / 2 {
		for i, k := range v.Rand.Perm(2) {
			v.shots(b, k, 1, wait+time.Duration(2*pair+i)*4*time.Millisecond, 0)
		}
	}
}

// follow is what the proof by priming wants next; false where nothing.
func (v *Investigation) follow(seen []observe.Observation) (Step, bool) {
	if !v.MayPrime || v.NoRaw || count(seen, plan.KindPrime) == 0 {
		return Step{}, false
	}
	step, ok := diagnose.NextPrime(v.input(seen))
	return Step{step.Kind, step.Why}, ok && !v.skipped(step.Kind)
}

// rest is what comes when nothing else is open: the wait for the server to forget, without other traffic.
func (v *Investigation) rest(seen []observe.Observation) (Step, bool) {
	p, ok := diagnose.Primed(seen)
	if !v.Heal || !ok || v.skipped(plan.KindHeal) {
		return Step{}, false
	}
	if _, ok = diagnose.NextHeal(v.input(seen), seen[len(seen)-1].Finished.Sub(p.At)); !ok {
		return Step{}, false
	}
	return Step{plan.KindHeal, "does the server forget a minute after the prime?"}, true
}

// mayPrime reports whether a first prime is permitted, by the caller and by what was seen.
func (v *Investigation) mayPrime(seen []observe.Observation) bool {
	in := v.input(seen)
	return v.flows(16) >= 4 && (v.PrimeAnyway || diagnose.PrimeRisk(&in) == "")
}

// input is what the rules judge.
func (v *Investigation) input(seen []observe.Observation) diagnose.Input {
	in := v.Host
	in.Observations = seen
	in.Priming = diagnose.Priming{May: v.MayPrime, Anyway: v.PrimeAnyway, Heal: v.Heal}
	return in
}
