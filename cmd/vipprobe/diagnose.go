package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
)

func diagnoseCommand() *cobra.Command {
	var f probeFlags
	var o prober.DiagnoseOptions
	var prime primeFlags
	var transfer transferFlags
	var from string
	cmd := &cobra.Command{
		Use:   "diagnose TARGET...",
		Short: "Run experiments until the cause of stalls is named or ruled out",
		Long: "diagnose begins with a burst of ordinary connects, and goes on with the experiments that separate the causes\n" +
			"left, until one is proven, all are ruled out, or its budget is spent: --max-seconds, --max-syns, --max-half-open.\n\n" +
			"What can hurt is left out unless asked for: --i-own-this-path (a server may refuse this address for a minute),\n" +
			"--hold and --backlog (places taken at the target for seconds).\n\n" +
			"Exit 0: healthy; 1: a cause is named; 2: the command line or the configuration is wrong; 3: this machine or its\n" +
			"network denies it; 4: inconclusive; 130: interrupted, with a report of what there was.",
		Example: "  vipprobe diagnose 192.0.2.10:443 --evidence case-7\n  vipprobe diagnose --from case-7\n" +
			"  vipprobe diagnose 192.0.2.10:80 --transfer http:/file --bytes 1MB --flows 8",
		Args: func(cmd *cobra.Command, args []string) error {
			if from != "" {
				return nil
			}
			return wantTargets(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if from != "" {
				return f.replay(cmd, args, from)
			}
			if err := prime.read(cmd.Flags(), &o); err != nil {
				return err
			}
			if err := transfer.read(cmd.Flags(), &o); err != nil {
				return err
			}
			return f.diagnose(cmd, args, o)
		},
	}
	f.register(cmd)
	cmd.Flag("output").Usage = "table, markdown, json or ndjson (a line as soon as a round is over)"
	f.formats = append(f.formats, "markdown")
	cmd.Flags().StringVar(&from, "from", "", "judge the observations of a bundle again, its directory or observations.json, without a network")
	prime.register(cmd.Flags(), &o)
	transfer.register(cmd.Flags())
	registerDiagnose(cmd.Flags(), &o)
	f.testimony.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.explain, "explain", false, "tell all: every burst and reason, and how it was found, step by step: asked, seen, ruled out, left")
	return cmd
}

// registerDiagnose binds the options that only a diagnosis has.
func registerDiagnose(fs *pflag.FlagSet, o *prober.DiagnoseOptions) {
	fs.Float64Var(&o.Seconds, "max-seconds", 60, "time for a whole diagnosis")
	fs.DurationVar(&o.Follow, "follow", diagnose.DefaultFollow, "how long to follow a timestamp that a server remembers, to see its clock tick and the memory end")
	fs.IntVar(&o.MaxSYNs, "max-syns", 0, "most SYNs to each address, repeats included; what they do not suffice for is left untested; 0: no such bound")
	fs.BoolVar(&o.MayForget, "forget-neighbor", false, "delete this host's own neighbour entry of the next hop first, so that the first burst is a first "+
		"contact (needs CAP_NET_ADMIN); whatever else talks to that next hop waits until it is resolved again")
	fs.IntVar(&o.Hold, "hold", 0, "hold so many connections open at once, at most 1000, to find what limits them; they take places at the target "+
		"for seconds")
	fs.IntVar(&o.Backlog, "backlog", 0, "measure the listen backlog: leave so many requests half-open, at most 1000, whatever --max-half-open says; for about 3 s others "+
		"are answered by SYN cookie, or where these are off not at all")
	fs.Var(&addrPort{&o.Contrast}, "contrast", "another service to compare the target with, ADDR:PORT; default: a port of the target that nobody serves")
	fs.BoolVar(&o.LateReset, "late-reset", false, "in the end leave a few unanswered SYNs alone for 22 s: does the balancer reset them, and when?")
	fs.StringArrayVar(&o.Members, "member", nil, "a real server behind the target, HOST:PORT; may be repeated: each is met directly as well, and compared")
}

// addrPort is a flag whose value is ADDR:PORT.
type addrPort struct{ v *netip.AddrPort }

func (a *addrPort) Type() string { return "addr:port" }

func (a *addrPort) String() string {
	if a.v == nil || !a.v.IsValid() {
		return ""
	}
	return a.v.String()
}

func (a *addrPort) Set(s string) error {
	v, err := netip.ParseAddrPort(s)
	if err != nil || v.Port() == 0 {
		return fmt.Errorf("%q is no ADDR:PORT", s)
	}
	*a.v = v
	return nil
}

// fewestHalfOpen is how many raw SYNs an experiment sends at once at least: one with a TSval of each quadrant of the circle.
const fewestHalfOpen = 4

func (f *probeFlags) diagnose(cmd *cobra.Command, args []string, o prober.DiagnoseOptions) error {
	if err := inBounds(&o); err != nil {
		return err
	}
	args = once(args)
	if err := wantMembers(args, o.Members); err != nil {
		return err
	}
	if slices.Contains(args, o.Contrast.String()) {
		return usageError{fmt.Errorf("--contrast %s: that is the target itself; want another service", o.Contrast)}
	}
	f.module, f.count = "connect", 1
	cfg, m, err := f.prepare(cmd)
	if err != nil {
		return err
	}
	if f.maxHalfOpen < fewestHalfOpen {
		return usageError{fmt.Errorf("--max-half-open %d: a diagnosis wants %d or more", f.maxHalfOpen, fewestHalfOpen)}
	}
	if o.Testimony, err = f.testimony.sources(cfg, args, o.Members); err != nil {
		return err
	}
	ctx := cmd.Context()
	kept, err := f.evidence.open(&m)
	if err != nil {
		return err
	}
	defer kept.close()
	permitted := slices.Concat(args, o.Members)
	if o.Contrast.IsValid() {
		permitted = append(permitted, o.Contrast.String())
	}
	f.halfOpen = o.Backlog
	p, err := f.open(ctx, cmd, cfg, m, permitted)
	if err != nil {
		return err
	}
	o.Module, o.SizeBurst = m, f.config == "" && !cmd.Flags().Changed("burst")
	o.Progress = newProgress(cmd.ErrOrStderr(), f.verbose).step
	out := f.sink(cmd)
	results := each(args, out, func(target string) ([]prober.Round, error) { return p.Diagnose(ctx, target, o) })
	report := kept.keep(p, m, results, f.report(results))
	if err := p.Close(); err != nil {
		return err
	}
	return kept.instead(out.finish(ctx, results, diagnoseExit(results), report))
}

// inBounds refuses what no diagnosis can be given.
func inBounds(o *prober.DiagnoseOptions) error {
	switch {
	case !(o.Seconds > 0 && o.Seconds <= 3600): // NaN is neither
		return usageError{fmt.Errorf("--max-seconds %g: want more than 0, at most 3600", o.Seconds)}
	case o.Follow < 100*time.Millisecond || o.Follow > 10*time.Minute:
		return usageError{fmt.Errorf("--follow %s: want 100ms to 10m", o.Follow)}
	case o.MaxSYNs < 0:
		return usageError{fmt.Errorf("--max-syns %d: want 0 or more", o.MaxSYNs)}
	case o.Hold < 0 || o.Hold > 1000:
		return usageError{fmt.Errorf("--hold %d: want 0 to 1000", o.Hold)}
	case o.Backlog < 0 || o.Backlog > 1000:
		return usageError{fmt.Errorf("--backlog %d: want 0 to 1000", o.Backlog)}
	}
	return nil
}

// wantMembers refuses members that cannot be read, or that belong to more than one target.
func wantMembers(targets, members []string) error {
	switch {
	case len(members) == 0:
		return nil
	case len(targets) != 1:
		return usageError{fmt.Errorf("--member: want one target that they belong to, not %d", len(targets))}
	case len(members) > prober.MaxMembers:
		return usageError{fmt.Errorf("--member: %d of them; at most %d are compared", len(members), prober.MaxMembers)}
	}
	for _, m := range members {
		if _, err := prober.ParseEndpoint(m); err != nil {
			return usageError{fmt.Errorf("--member: %w", err)}
		}
	}
	return nil
}

// report writes the results for people.
func (f *probeFlags) report(results []result) func(*printer) error {
	return func(p *printer) error {
		p.explain = f.explain
		if f.output == "markdown" {
			return markdown(p, results)
		}
		return renderDiagnosis(p, results)
	}
}

// diagnoseExit: any named cause but health is a finding; nothing named at all is inconclusive.
func diagnoseExit(results []result) int {
	return roundsExit(results, func(_ *result, round *prober.Round) int {
		switch {
		case round.Diagnosis.Healthy():
			return exitPass
		case len(round.Diagnosis.Causes) > 0:
			return exitFinding
		}
		return exitInconclusive
	})
}
