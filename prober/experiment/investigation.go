package experiment

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Investigation is the adaptive diagnosis of one destination. It begins with the cheap bursts that every diagnosis needs; from then on
// the rules say which experiments would separate the causes that still fit, and the cheapest of these that is permitted comes
// next, until nothing is open or the time is spent.
type Investigation struct {
	Setup
	// Rand makes TSvals and orders; the same seed gives the same plan.
	Rand *rand.Rand
	// Host is what the rules need to know of this machine.
	Host diagnose.Input
	// Focus narrows what is looked for; zero: everything.
	Focus Focus
	// Left is the time that is left, to be set before each Next; what takes longer is left untested. 0: all that is needed.
	Left time.Duration
	// MaxBursts bounds the whole; 0: 40.
	MaxBursts int

	trace []Step
	// MaxSYNs bounds the SYNs of the whole, each burst counted with all the repeats that it may need; 0: no bound.
	MaxSYNs int

	untested []Step
	wanting  string
	judged   judged
}

// Setup is what every burst of an investigation shares.
type Setup struct {
	Source netip.AddrPort // unspecified: the route's own
	Dst    netip.AddrPort
	Burst  int // connections of a kernel burst
	Ladder plan.Ladder
	// Listen bounds one burst.
	Listen time.Duration
	MSS    uint16
	// HalfOpen is how many raw SYNs may go to the listener at a time.
	HalfOpen int
	// Others are more addresses of this host, of the target's family, that a SYN may come from.
	Others []netip.Addr
	// Contrast is another service to compare the target with; zero: a port of the target's address that nobody is expected to serve.
	Contrast netip.AddrPort
	// Hold is how many connections at most may be held open at once to find a limit on them; 0: none.
	Hold int
	// Backlog is how many requests at most may be left half-open to find how many a listener keeps; 0: none.
	Backlog int
	// NoRaw leaves out what needs a capture.
	NoRaw bool
	// LateReset waits in the end for what becomes of connections that are never answered, 22 s.
	LateReset bool
	// MayPrime permits connections that the server closes first: servers with per-host PAWS then refuse older TSvals from our address
	// for a minute.
	MayPrime bool
	// PrimeAnyway primes even where what was seen suggests that others share the address or the server.
	PrimeAnyway bool
	// PrimeWith are the ways to make the server close first; nil: those of common protocols.
	PrimeWith []Closer
	// Control is another address of this host, of the target's family, which never primes; unspecified: there is none.
	Control netip.AddrPort
	// Heal waits after a proof by priming until the server has forgotten.
	Heal bool
	// Transfer is a data phase with the target; nil: none.
	Transfer *Transfer
	// MayForget permits deleting our own neighbour entry of the next hop before the first burst.
	MayForget bool
}

// Step is one line of the reasoning: what was asked, and why.
type Step struct {
	Kind plan.Kind
	Why  string
}

var _ Experiment = (*Investigation)(nil)

// Name implements Experiment.
func (v *Investigation) Name() string { return "diagnose" }

// Trace returns why each burst was made, in order.
func (v *Investigation) Trace() []Step { return v.trace }

// opening is what every investigation begins with: first contact, an immediate repeat, and cheap raw bursts that show what a kernel
// connect cannot. What is answered at once costs milliseconds.
func (v *Investigation) opening(seen []observe.Observation) []Step {
	first := Step{plan.KindConnect, "first contact, as applications make it"}
	again := Step{plan.KindConnect, "the same again at once: does first contact differ?"}
	tsvals := []Step{
		{plan.KindQuadrants, "does an answer depend on the TSval?"},
		{plan.KindQuadrants, "the same on fresh flows, to test what the first half suggests"},
	}
	steps := []Step{first, again, tsvals[0], tsvals[1]}
	if len(seen) > 0 && seen[0].Kind == plan.KindConnect && (silent(&seen[0]) || late(&seen[0]) || diagnose.FirstPass(&seen[0])) {
		steps = []Step{first, tsvals[0], tsvals[1], again} // a repeat of silence, or of late answers, takes seconds
	}
	if v.Transfer != nil {
		steps = append(steps, Step{plan.KindTransfer, "does data pass whole, once, and in order?"})
	}
	steps = append(append(steps, v.Focus.opening()...), Step{plan.KindSticky, "does loss keep to a flow, and which way is it?"})
	if v.MayPrime {
		steps = append(steps, Step{plan.KindPrime, "does the server remember our TSval once it has closed first?"})
	}
	steps = append(steps,
		Step{plan.KindServed, "is an accepted connection really there?"},
		Step{plan.KindSizes, "do full-sized segments pass as small ones do?"},
		Step{plan.KindReuse, "does a flow work again right after it ended?"})
	if v.Hold > 0 {
		steps = append(steps, Step{plan.KindHold, "does something limit how many connections are held at once?"})
	}
	if v.Backlog > 0 {
		steps = append(steps, Step{plan.KindIdle, "does the listener wait for data before it wakes?"},
			Step{plan.KindBacklog, "how many requests does the listener keep?"}, Step{plan.KindBacklog, "does it keep as many again?"})
	}
	return steps
}

// silent reports whether an attempt of a burst drew no answer at all.
func silent(o *observe.Observation) bool {
	for j := range o.Attempts {
		if a := &o.Attempts[j]; a.Outcome == observe.TimedOut && len(a.Answers) == 0 {
			return true
		}
	}
	return false
}

// Next implements Experiment.
func (v *Investigation) Next(seen []observe.Observation) (plan.Burst, bool) {
	if len(seen) >= v.maxBursts() {
		return plan.Burst{}, false
	}
	v.untested = nil
	for {
		step, ok := v.choose(seen)
		if !ok {
			return plan.Burst{}, false
		}
		b := v.build(step, seen)
		if v.wanting = v.lacks(&b, seen); v.wanting != "" {
			v.untested = append(v.untested, step)
			continue
		}
		v.trace = append(v.trace, step)
		return b, true
	}
}

func (v *Investigation) maxBursts() int { return cmp.Or(v.MaxBursts, 40) }

func (v *Investigation) choose(seen []observe.Observation) (Step, bool) {
	done := map[plan.Kind]int{}
	for i := range seen {
		done[seen[i].Kind]++
	}
	if s, ok := v.follow(seen); ok {
		return s, true
	}
	if s, ok := v.opens(seen, done); ok {
		return s, true
	}
	if len(seen) >= v.maxBursts()-diagnose.HealSteps { // room is kept for the wait that was asked for
		if s, ok := v.rest(seen); ok {
			return s, true
		}
	}
	if s, ok := v.wants(seen, done); ok {
		return s, true
	}
	return v.rest(seen)
}

// opens is the next step of the opening.
func (v *Investigation) opens(seen []observe.Observation, done map[plan.Kind]int) (Step, bool) {
	asked := map[plan.Kind]int{}
	for _, s := range v.opening(seen) {
		if !v.Focus.covers(s.Kind) || v.skipped(s.Kind) {
			continue
		}
		asked[s.Kind]++
		if asked[s.Kind] <= done[s.Kind] || v.NoRaw && raw(s.Kind) {
			continue
		}
		if v.dead(seen) {
			break
		}
		if v.pointless(s.Kind, seen) {
			continue
		}
		if now, ok, settled := v.presses(seen, done); settled {
			break
		} else if ok {
			return now, true
		}
		return s, true
	}
	return Step{}, false
}

// wants is the cheapest experiment that the rules ask for.
func (v *Investigation) wants(seen []observe.Observation, done map[plan.Kind]int) (Step, bool) {
	d := v.judge(seen)
	var open []Step
	for _, w := range d.Wants() {
		if !v.Focus.covers(w.Kind) || v.skipped(w.Kind) || sweeps(w.Kind) && diagnose.Remembers(seen) {
			continue
		}
		if done[w.Kind] < most(w) && v.can(w.Kind) {
			open = append(open, Step{w.Kind, w.Why})
		}
	}
	if len(open) == 0 {
		return v.lateStep(seen, done)
	}
	if i := slices.IndexFunc(open, func(s Step) bool { return s.Kind == plan.KindOracle }); i >= 0 {
		return open[i], true // what is remembered moves: nothing comes between the searches for it
	}
	return telling(v.input(seen), d, open, patience(seen)), true
}

// sweeps reports whether a kind asks with TSvals all around the circle. After a prime a server may refuse half of them on our own account.
func sweeps(k plan.Kind) bool {
	return k == plan.KindQuadrants || k == plan.KindCells || k == plan.KindOracle || k == plan.KindSides || k == plan.KindCircle
}

// pointless reports whether what was seen leaves nothing for an opening experiment to ask: a repeat of a burst that nobody answered at all,
// connections to be completed where no flow was answered, a prime that may hurt others.
func (v *Investigation) pointless(k plan.Kind, seen []observe.Observation) bool {
	if k == plan.KindPrime && !v.mayPrime(seen) {
		return true
	}
	if k == plan.KindConnect || moves(k) {
		return len(seen) > 0 && !answered(seen, plan.KindConnect) || k == plan.KindConnect && count(seen, k) > 0 && v.slow(seen)
	}
	if k == plan.KindQuadrants {
		return count(seen, k) > 0 && v.slow(seen)
	}
	if k == plan.KindReuse && (lossy(seen) || patience(seen) >= reusePatience) {
		return true // what a second use loses could not be told from the rest, nor what is late
	}
	if k == plan.KindBacklog && count(seen, k) > 0 && !diagnose.BacklogFull(seen) {
		return true // no end was reached: the same again tells nothing new
	}
	completes := []plan.Kind{plan.KindServed, plan.KindSizes, plan.KindReuse, plan.KindPrime, plan.KindBacklog, plan.KindIdle}
	return slices.Contains(completes, k) && !answered(seen, plan.KindSticky)
}

// lossy reports whether fresh flows of the sweeps lost SYNs, three or more.
func lossy(seen []observe.Observation) bool {
	n := 0
	for i := range seen {
		if seen[i].Kind != plan.KindQuadrants && seen[i].Kind != plan.KindSticky {
			continue
		}
		for j := range seen[i].Attempts {
			if a := &seen[i].Attempts[j]; a.Outcome == observe.TimedOut || a.Retransmissions > 0 && a.Late != observe.LateSlow {
				n++
			}
		}
	}
	return n >= 3
}

// answered reports whether any attempt of a kind was accepted.
func answered(seen []observe.Observation, k plan.Kind) bool {
	for i := range seen {
		if seen[i].Kind != k {
			continue
		}
		for j := range seen[i].Attempts {
			if seen[i].Attempts[j].Outcome == observe.Accepted {
				return true
			}
		}
	}
	return false
}

// dead reports whether first contact and repeat left nothing to ask raw SYNs: every attempt failed inside this host.
func (v *Investigation) dead(seen []observe.Observation) bool {
	n, local := 0, 0
	for i := range seen {
		for j := range seen[i].Attempts {
			a := &seen[i].Attempts[j]
			n++
			if len(a.SYNs) == 0 && len(a.Answers) == 0 && a.Outcome != observe.Accepted && a.Outcome != observe.Refused {
				local++
			}
		}
	}
	return n > 0 && len(seen) >= 1 && n == local
}

// can reports whether a burst of the kind can be made here at all.
func (v *Investigation) can(k plan.Kind) bool {
	if k == plan.KindSource && len(v.Others) == 0 || (k == plan.KindHold || k == plan.KindFreed) && v.Hold == 0 || k == plan.KindBacklog && v.Backlog == 0 || (moves(k) || k == plan.KindHoled) && v.Transfer == nil {
		return false
	}
	return !v.NoRaw || !raw(k)
}

func raw(k plan.Kind) bool { return k != plan.KindConnect && k != plan.KindResolve && !moves(k) }
