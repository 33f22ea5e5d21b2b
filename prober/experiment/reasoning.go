package experiment

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Thought is one step of an investigation's reasoning: what was asked and why, what it cost, what was seen, and what that leaves.
type Thought struct {
	Kind  plan.Kind
	Label string // of the burst
	// Asked is the question; Why is what an answer was expected to tell apart.
	Asked, Why string
	// Took is the burst's length, SYNs how many were sent, Connections how many were completed.
	Took              time.Duration
	SYNs, Connections int
	// Harm says what an experiment of the kind leaves behind or asks of the target.
	Harm string
	// Seen is the outcome in a line.
	Seen string
	// Named are the causes that the rules name after this step.
	Named []diagnose.Cause
	// Possible are the causes still to be thought of, likeliest first; Out are those that this step rules out, and why.
	Possible, Out []diagnose.Suspect
}

// Reason tells how an investigation of these observations thought, step by step. It depends on the observations and host (the rules' view of
// this machine) alone, so that a stored round gives the same reasoning as it did live.
func Reason(host diagnose.Input, seen []observe.Observation) []Thought {
	v := recorded(host, seen)
	out := make([]Thought, 0, len(seen))
	before := v.weigh(nil)
	for i := range seen {
		step := v.asked(seen[:i], seen[i].Kind)
		after := v.weigh(seen[:i+1])
		t := Thought{Kind: seen[i].Kind, Label: cmp.Or(seen[i].Label, string(seen[i].Kind)), Asked: step.Why, Why: separates(&before, seen[i].Kind, i),
			Took: seen[i].Finished.Sub(seen[i].Started).Round(time.Millisecond), Harm: harmOf(seen[i].Kind), Named: after.Named}
		t.count(&seen[i])
		t.Seen = strings.Join(append([]string{outcomes(&seen[i])}, after.Learned(&before, seen[i].Kind)...), "; ")
		for _, s := range after.Suspects {
			switch {
			case !s.Out:
				t.Possible = append(t.Possible, s)
			case !wasOut(&before, s.Verdict):
				t.Out = append(t.Out, s)
			}
		}
		out = append(out, t)
		before = after
	}
	return out
}

// recorded is an investigation that could have made these observations: permitted what they show was permitted.
func recorded(host diagnose.Input, seen []observe.Observation) *Investigation {
	v := &Investigation{Host: host, Setup: Setup{NoRaw: true, HalfOpen: 16}}
	for i := range seen {
		switch k := seen[i].Kind; {
		case k == plan.KindPrime:
			v.MayPrime, v.PrimeAnyway, v.NoRaw = true, true, false
		case k == plan.KindHeal:
			v.Heal = true
		case k == plan.KindHold || k == plan.KindFreed:
			v.Hold, v.NoRaw = 1, false
		case k == plan.KindBacklog || k == plan.KindIdle:
			v.Backlog, v.NoRaw = 1, false
		case k == plan.KindSource || k == plan.KindScope && len(addresses(&seen[i])) > 1:
			v.Others = []netip.Addr{netip.IPv4Unspecified()}
			v.NoRaw = false
		case raw(k):
			v.NoRaw = false
		}
	}
	return v
}

func (v *Investigation) weigh(seen []observe.Observation) diagnose.Differential {
	in := v.Host
	in.Observations = seen
	d := diagnose.Judge(in)
	return diagnose.Weigh(in, &d)
}

// asked is the question that a burst of the kind answered at that point: the investigation's own choice, a want of the rules, or what such
// bursts are for.
func (v *Investigation) asked(before []observe.Observation, k plan.Kind) Step {
	if s, ok := v.choose(before); ok && s.Kind == k {
		return s
	}
	in := v.Host
	in.Observations = before
	d := diagnose.Judge(in)
	for _, w := range d.Wants() {
		if w.Kind == k {
			return Step{k, w.Why}
		}
	}
	return Step{k, "a burst of kind " + string(k)}
}

// separates says what an experiment was expected to tell apart.
func separates(d *diagnose.Differential, k plan.Kind, at int) string {
	left, right := d.Separates(k)
	switch {
	case at == 0:
		return "cheap, and nothing can be said before it"
	case len(left) > 0 && len(right) > 0:
		return "would tell " + some(left) + " from " + some(right)
	case len(d.Named) > 0:
		return "makes " + string(d.Named[0].Verdict) + " firmer, or refutes it"
	}
	return "more of the same, until chance can be ruled out"
}

// some names a few of many.
func some(list []diagnose.Verdict) string {
	const most = 3
	var out []string
	for _, v := range list[:min(len(list), most)] {
		out = append(out, string(v))
	}
	text := strings.Join(out, ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func wasOut(d *diagnose.Differential, v diagnose.Verdict) bool {
	i := slices.IndexFunc(d.Suspects, func(s diagnose.Suspect) bool { return s.Verdict == v })
	return i >= 0 && d.Suspects[i].Out
}

// count fills in what a burst cost.
func (t *Thought) count(o *observe.Observation) {
	completes := map[string]bool{}
	for i := range o.Arms {
		completes[o.Arms[i].Name] = o.Arms[i].Via == plan.Kernel || o.Arms[i].Script.OnSYNACK == plan.Acknowledge
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		t.SYNs += synsOf(a)
		if a.Outcome == observe.Accepted && (completes[a.Arm] || a.Via == plan.Kernel) {
			t.Connections++
		}
	}
}

// outcomes counts how the attempts of a burst ended.
func outcomes(o *observe.Observation) string {
	if len(o.Attempts) == 0 {
		return fmt.Sprintf("%d SYNs of others from our address", len(o.Foreign))
	}
	n, prompt, stalled := map[observe.Outcome]int{}, 0, 0
	for i := range o.Attempts {
		a := &o.Attempts[i]
		n[a.Outcome]++
		switch {
		case a.Stalled():
			stalled++
		case a.Outcome == observe.Accepted:
			prompt++
		}
	}
	parts := []string{fmt.Sprintf("%d of %d accepted at once", prompt, len(o.Attempts))}
	if stalled > 0 {
		parts = append(parts, fmt.Sprintf("%d stalled", stalled))
	}
	for _, k := range observe.Outcomes() {
		if k != observe.Accepted && n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], strings.ReplaceAll(k.String(), "_", " ")))
		}
	}
	if len(o.Pings) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d echo requests answered", echoed(o.Pings), len(o.Pings)))
	}
	return strings.Join(parts, ", ")
}

func echoed(list []observe.Ping) int {
	n := 0
	for i := range list {
		if list[i].Answer() != nil {
			n++
		}
	}
	return n
}

// harmOf says what an experiment asks of the target and leaves behind.
func harmOf(k plan.Kind) string {
	known := map[plan.Kind]string{
		plan.KindConnect:  "ordinary connections, aborted at once",
		plan.KindResolve:  "one ARP or ND request, then ordinary connections, aborted at once",
		plan.KindServed:   "completed connections with a line end as data, aborted after 1.5 s",
		plan.KindSizes:    "completed connections with up to one full segment of line ends, aborted",
		plan.KindStateful: "a few half-open connections for about 2.5 s, then reset",
		plan.KindSurvey:   "none: it only listens",
		plan.KindAgain:    "half-open SYNs, also on flows that nobody answered; those that stay dead are asked with a TSval half a circle on, which a box that rewrites timestamps may pass on",
		plan.KindPrime:    "a server with per-host PAWS refuses older clocks from this address for a minute (permitted by its owner)",
		plan.KindStray:    "bare ACKs of no connection",
		plan.KindPing:     "ICMP echo requests, and as many half-open SYNs, reset at once",
		plan.KindOther:    "half-open SYNs to two high ports, reset at once",
		plan.KindWalk:     "SYNs that end on the way; routers answer them with ICMP",
		plan.KindReuse:    "half-open SYNs on a few flows used three times, reset at once",
		plan.KindHold:     "many connections held open for seconds: they take places at the target and on the way (permitted by its owner)",
		plan.KindFreed:    "half-open SYNs on one flow, reset at once",
		plan.KindBacklog:  "many half-open connections for about 3 s, then reset: others meet SYN cookies meanwhile, or where these are off nothing (permitted by its owner)",
		plan.KindIdle:     "a few connections left silent for 8 s, then aborted",
		plan.KindLook:     "half-open SYNs, reset at once, also with a TTL that a listener may take for a neighbour's",
		plan.KindScope:    "half-open SYNs over a limit for seconds, from two addresses of this host, reset at once: whoever shares the limit gets less meanwhile",
		plan.KindHeal:     "none but the wait",
		plan.KindSource:   "half-open SYNs from other addresses of this host, reset at once",
	}
	return cmp.Or(known[k], "half-open SYNs, reset at once")
}
