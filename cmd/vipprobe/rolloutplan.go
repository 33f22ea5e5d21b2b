package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/targets"
)

// rolloutPlan shows what a validation would do.
func (p *printer) rolloutPlan(r *targets.Rollout) {
	c := rolloutCost(r)
	p.f("%s\n", p.tint(bold, fmt.Sprintf("%d hosts × %d checks, %d at a time", len(r.Candidates), len(r.Checks), r.Parallel)))
	p.f("  %s\n", c.what)
	p.f("  at most about %d SYNs a host, %d in all; about %s\n", c.syns, c.syns*len(r.Candidates), c.total.Round(time.Second))
	if n := len(r.Matrix()); n > 0 {
		p.f("  and %d measurements from %d other vantages\n", n, len(r.Vantages))
	}
	for _, h := range c.harm {
		p.f("%s\n", p.paragraph("  "+p.tint(yellow, "can disturb: "), h, 15))
	}
	if len(c.harm) == 0 {
		p.f("  nothing that can disturb a host\n")
	}
	for i := range r.Checks {
		p.f("  line %-4d %s\n", r.Checks[i].Line, r.Checks[i].Text)
	}
}

// cost is what a validation takes of a host and of time.
type cost struct {
	syns  int
	parts []string
	one   time.Duration // of each host
	total time.Duration
	what  string
	harm  []string
}

// The usual time of a part, measured on healthy hosts.
const (
	diagnosisTakes = 4 * time.Second
	queueTakes     = 6 * time.Second
	primeTakes     = 15 * time.Second
	timeWaitTakes  = 4 * time.Second
)

func rolloutCost(r *targets.Rollout) cost {
	var c cost
	wants := func(s ...rollout.Subject) bool {
		return slices.ContainsFunc(r.Checks, func(x targets.RolloutCheck) bool { return slices.Contains(s, x.Subject) })
	}
	if wants(rollout.Connects) {
		n := max(r.Connects, 20)
		for i := range r.Checks {
			n = max(n, r.Checks[i].Connections())
		}
		limits := prober.DefaultLimits()
		c.add(fmt.Sprintf("%d connects", n), n, time.Duration(max(0, n-limits.PerTargetBurst))*time.Second/time.Duration(limits.PerTargetRate)+time.Second)
	}
	if wants(rollout.Findings) {
		c.add("a diagnosis", 200, diagnosisTakes)
	}
	if wants(rollout.Value, rollout.Baseline) {
		c.profile(&r.Profile)
	}
	rounds := (len(r.Candidates) + r.Parallel - 1) / max(r.Parallel, 1)
	c.total, c.what = c.one*time.Duration(rounds), "each: "+strings.Join(c.parts, ", ")
	return c
}

// add counts what is sent to each host.
func (c *cost) add(what string, syns int, takes time.Duration) {
	c.parts, c.syns, c.one = append(c.parts, what), c.syns+syns, c.one+takes
}

// profile adds a profile and what it is permitted to measure.
func (c *cost) profile(o *prober.ProfileOptions) {
	patience := o.Patience
	if patience == 0 {
		patience = profile.Patience
	}
	c.add("a profile", 30, patience+500*time.Millisecond)
	if len(o.Request) > 0 {
		c.add("its answers to a request", 11, 0) // meanwhile
	}
	if o.TimeWait {
		c.add("TIME_WAIT", 30, timeWaitTakes)
		c.harm = append(c.harm, "TIME_WAIT: up to ten connections with a request that the host closes first, of which it holds some for a minute")
	}
	if o.Queue != nil {
		c.add("the neighbour queue", 900, queueTakes)
		c.harm = append(c.harm, "the neighbour queue: free addresses of the segment are borrowed, and the host asks for them")
	}
	if o.Backlog > 0 {
		c.add("the backlog", o.Backlog, 3*time.Second)
		c.harm = append(c.harm, fmt.Sprintf("the backlog: %d requests half-open for about 3 s; others meet SYN cookies or silence", o.Backlog))
	}
	if o.Overflow {
		c.add("the accept queue", o.Backlog, 2*time.Second)
		c.harm = append(c.harm, fmt.Sprintf("the accept queue: up to %d connections at once, silent for 1.5 s; a server that is slow to accept them refuses others meanwhile", o.Backlog))
	}
	if o.MayPrime {
		c.add("per-host PAWS", 300, primeTakes)
		c.harm = append(c.harm, "per-host PAWS: a host with tcp_tw_recycle refuses older clocks from this address for a minute")
	}
}
