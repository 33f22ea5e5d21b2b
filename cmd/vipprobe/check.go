package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

func (f *probeFlags) registerCheck(cmd *cobra.Command) {
	fs, d := cmd.Flags(), experiment.DefaultCheckTiming()
	f.check = d
	fs.DurationVar(&f.check.DelayLoop, "delay-loop", d.DelayLoop, "of a check module: time between two loops, as keepalived's delay_loop")
	fs.DurationVar(&f.check.ConnectTimeout, "connect-timeout", d.ConnectTimeout, "of a check module: time for one connect")
	fs.IntVar(&f.check.Retry, "retry", d.Retry, "of a check module: repeats of a failed connect before the server is taken out")
	fs.DurationVar(&f.check.DelayBeforeRetry, "delay-before-retry", d.DelayBeforeRetry, "of a check module: time before a repeat")
	fs.IntVar(&f.check.Loops, "loops", d.Loops, "of a check module: how many loops are imitated")
}

// overrideCheck sets what only a check module has. Without a timeout of its own a round takes what its loops may take.
func (f *probeFlags) overrideCheck(cmd *cobra.Command, m *prober.Module) error {
	fs := cmd.Flags()
	names := []string{"delay-loop", "connect-timeout", "retry", "delay-before-retry", "loops"}
	if m.Kind != prober.KindCheck {
		for _, name := range names {
			if fs.Changed(name) {
				return fmt.Errorf("--%s: only a check module has that, and module %s is none; use --module check", name, m.Name)
			}
		}
		return nil
	}
	t := &m.Check.Timing
	if t.Loops == 0 {
		*t = experiment.DefaultCheckTiming()
	}
	for i, set := range []func(){
		func() { t.DelayLoop = f.check.DelayLoop }, func() { t.ConnectTimeout = f.check.ConnectTimeout },
		func() { t.Retry, m.Check.NoRetry = f.check.Retry, f.check.Retry == 0 }, func() { t.DelayBeforeRetry = f.check.DelayBeforeRetry },
		func() { t.Loops = f.check.Loops },
	} {
		if fs.Changed(names[i]) {
			set()
		}
	}
	switch {
	case t.DelayLoop <= 0 || t.ConnectTimeout <= 0 || t.DelayBeforeRetry <= 0:
		return fmt.Errorf("--delay-loop %s, --connect-timeout %s, --delay-before-retry %s: want more than 0 each", t.DelayLoop, t.ConnectTimeout, t.DelayBeforeRetry)
	case t.Retry < 0 || t.Retry > 100:
		return fmt.Errorf("--retry %d: want 0 to 100", t.Retry)
	case t.Loops < 1 || t.Loops > 1000:
		return fmt.Errorf("--loops %d: want 1 to 1000", t.Loops)
	}
	if !fs.Changed("timeout") {
		m.Timeout = t.Span() + 2*time.Second
	}
	return nil
}

// renderHealthChecks writes what a health check would have done, a line a loop.
func renderHealthChecks(p *printer, results []result) error {
	for _, r := range results {
		for i := range r.rounds {
			p.check(&r.rounds[i])
		}
	}
	return p.err
}

func (p *printer) check(r *prober.Round) {
	c := r.Check
	if c == nil || len(c.Loops) == 0 {
		p.f("%s  not checked\n", called(r))
		return
	}
	state := "stays in the pool"
	if c.Evictions > 0 {
		state = fmt.Sprintf("would be evicted %d time(s), put back %d, out for %s", c.Evictions, c.PutBacks, short(c.Out))
	}
	p.f("%s  %s\n", p.tint(bold, called(r)), state)
	t := c.Timing
	p.f("%s\n\n", paragraph("  ", fmt.Sprintf("as TCP_CHECK of keepalived with delay_loop %s, connect_timeout %s, retry %d, delay_before_retry %s", t.DelayLoop, t.ConnectTimeout,
		t.Retry, t.DelayBeforeRetry), 2))
	start := c.Loops[0].Tries[0].At
	for i := range c.Loops {
		l := &c.Loops[i]
		var tries []string
		for _, y := range l.Tries {
			tries = append(tries, fmt.Sprintf("%s after %s", y.Outcome, short(y.Took)))
		}
		word := map[experiment.CheckEvent]string{experiment.CheckEvicted: "EVICTED", experiment.CheckBack: "put back"}[l.Event]
		if word == "" {
			word = map[bool]string{true: "in", false: "out"}[l.Up]
		}
		p.f("  loop %-3d +%-8s %-9s %s\n", i+1, short(l.Tries[0].At.Sub(start)), word, strings.Join(tries, ", "))
	}
	if c.Unsure > 0 {
		p.f("  %d connect(s) could not be made\n", c.Unsure)
	}
	if r.Why != "" && r.Success {
		p.f("  %s\n", r.Why)
	}
}
