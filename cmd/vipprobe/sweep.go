package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/targets"
)

// sweepFlags are what the sweep command has beside those of a probe.
type sweepFlags struct {
	probeFlags
	scope      scopeFlags
	rate       float64
	shots      int
	repeats    int
	wait       time.Duration
	unanswered int
	list       int
	diagnoses  int
}

func sweepCommand() *cobra.Command {
	var f sweepFlags
	cmd := &cobra.Command{
		Use:   "sweep PREFIX:PORT...",
		Short: "Send a raw SYN to each of very many targets: who answers, who stalls, who is silent",
		Long: "sweep sends one raw SYN, or --shots, to every address of prefixes at each port, resets what is answered, and sends\n" +
			"again after a second what is not. It shows how many targets answer, stall (answered only at the second SYN, or a\n" +
			"second late), refuse, are unreachable or silent, how long handshakes take, and those that are not well by address.\n" +
			"A target is PREFIX:PORT, ADDR:PORT or HOST:PORT, IPv6 in brackets, as in [2001:db8::/120]:80,443; --targets reads\n" +
			"them from a file, or - for standard input. Naming a target here permits probing it.\n\n" +
			"It keeps to --rate, and to --max-unanswered flows without answer in two minutes: where more are silent, it goes on\n" +
			"as they expire. Answers that the capture may have lost are told as unknown, never as silence.\n\n" +
			"Exit 0: all targets answer at once; 1: not so; 2: the command line or the configuration is wrong; 3: this machine\n" +
			"or its network denies it, or some were not sent to; 4: some are unknown, the others answer; 130: interrupted, with a\n" +
			"report of what there was.",
		Example: "  vipprobe sweep 192.0.2.0/24:443\n  vipprobe sweep 10.64.0.0/14:80,443 --rate 10000 --max-unanswered 50000 -o csv > vips.csv\n" +
			"  vipprobe sweep --targets vips.txt --port 443 --exclude 192.0.2.128/25 --diagnose 3",
		Args: func(cmd *cobra.Command, args []string) error {
			if f.scope.file != "" {
				return nil
			}
			return wantTargets(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	f.scope.register(fs)
	fs.StringVar(&f.config, "config.file", "", "configuration file with limits")
	fs.StringVarP(&f.output, "output", "o", "table", "table, json, ndjson or csv (the last two a line as soon as a target is over)")
	fs.Float64Var(&f.rate, "rate", 1000, "SYNs a second to all targets together, at most limits.global_rate")
	fs.IntVar(&f.shots, "shots", 1, "SYNs to each target, back to back, from as many source ports")
	fs.IntVar(&f.repeats, "repeats", 1, "how often an unanswered SYN is sent again: after 1 s, 3 s, 7 s; 0 to 3")
	fs.DurationVar(&f.wait, "wait", 2*time.Second, "how long to wait for an answer to the last SYN, 1 ms to 60 s")
	fs.IntVar(&f.maxHalfOpen, "max-half-open", 16, "most half-open connections at one target")
	fs.IntVar(&f.unanswered, "max-unanswered", 0, "most flows without an answer in two minutes, each of which costs middleboxes a conntrack entry; default: limits.unanswered, 2000")
	fs.StringVar(&f.source, "source", "", "source address, which must be this host's")
	fs.StringVar(&f.iface, "interface", "", "interface to leave by")
	fs.StringVar(&f.ports, "source-ports", "", "LO-HI, the upper half is for SYNs; default: outside net.ipv4.ip_local_port_range")
	fs.IntVar(&f.list, "list", 20, "lines of targets that are not well, of each kind; -o has them all")
	fs.IntVar(&f.diagnoses, "diagnose", 0, "diagnose so many of those that are not well, one after the other, at most 100")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr how far it is, also where that is no terminal")
	return cmd
}

// check refuses what no sweep can be.
func (f *sweepFlags) check() error {
	switch {
	case !slices.Contains([]string{"table", "json", "ndjson", "csv"}, f.output):
		return fmt.Errorf("--output %q: want table, json, ndjson or csv", f.output)
	case !(f.rate >= 1 && f.rate <= 1e6): // NaN is neither
		return fmt.Errorf("--rate %g: want 1 to 1000000", f.rate)
	case f.shots < 1 || f.shots > 1000:
		return fmt.Errorf("--shots %d: want 1 to 1000", f.shots)
	case f.repeats < 0 || f.repeats > prober.MaxSweepRepeats:
		return fmt.Errorf("--repeats %d: want 0 to %d", f.repeats, prober.MaxSweepRepeats)
	case f.wait < time.Millisecond || f.wait > time.Minute:
		return fmt.Errorf("--wait %s: want 1ms to 60s", f.wait)
	case f.maxHalfOpen < 1:
		return fmt.Errorf("--max-half-open %d: want 1 or more", f.maxHalfOpen)
	case f.unanswered < 0:
		return fmt.Errorf("--max-unanswered %d: want 1 or more", f.unanswered)
	case f.list < 0 || f.list > sweep.Kept:
		return fmt.Errorf("--list %d: want 0 to %d", f.list, sweep.Kept)
	case f.diagnoses < 0 || f.diagnoses > 100:
		return fmt.Errorf("--diagnose %d: want 0 to 100", f.diagnoses)
	}
	return f.scope.check()
}

func (f *sweepFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	cfg, err := f.load()
	if err != nil {
		return err
	}
	all, err := f.scope.read(ctx, cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	q := prober.SweepRequest{Targets: all.targets(), Shots: f.shots, Rate: f.rate, Wait: f.wait, Interface: f.iface}
	if f.source != "" {
		if q.Source, err = netip.ParseAddr(f.source); err != nil {
			return usageError{fmt.Errorf("--source %q: want an address of this host", f.source)}
		}
		q.Source = q.Source.Unmap()
	}
	p, err := f.open(cmd, cfg, all)
	if err != nil {
		return err
	}
	s := newSweeping(cmd, f)
	q.Watch = s.watch()
	report, err := p.Sweep(ctx, q)
	s.over(ctx, report, err)
	if s.fault == nil && ctx.Err() == nil {
		s.diagnoses = f.diagnose(ctx, cmd, p, s.tally.Ill(f.diagnoses))
	}
	if err := p.Close(); err != nil {
		return err
	}
	return s.finish(ctx)
}

// open starts a prober that may probe what was named.
func (f *sweepFlags) open(cmd *cobra.Command, cfg *targets.Config, all *scopes) (*prober.Prober, error) {
	opts := prober.Options{Allow: all.allow}
	opts.Limits = prober.DefaultLimits()
	if f.config != "" {
		opts.Limits, opts.SourcePorts = cfg.Limits(), cfg.SourcePorts()
		opts.Allow = opts.Allow.With(cfg.Allow())
	}
	if f.ports != "" {
		var err error
		if opts.SourcePorts, err = plan.ParsePortRange(f.ports); err != nil {
			return nil, usageError{fmt.Errorf("--source-ports: %w", err)}
		}
	}
	l := &opts.Limits
	if cmd.Flags().Changed("max-half-open") {
		l.HalfOpen = f.maxHalfOpen
	}
	if f.unanswered > 0 {
		l.Unanswered = f.unanswered
	}
	switch most := min(l.HalfOpen, l.PerTargetBurst); {
	case f.shots > most:
		return nil, usageError{fmt.Errorf("--shots %d: the limits permit %d at a time at one target; see --max-half-open", f.shots, most)}
	case f.rate > l.GlobalRate && cmd.Flags().Changed("rate"):
		return nil, usageError{fmt.Errorf("--rate %g: the limit is %g SYNs a second; limits.global_rate of --config.file raises it", f.rate, l.GlobalRate)}
	}
	p, err := prober.New(opts)
	if err != nil {
		return nil, err
	}
	if why := p.Host().CaptureError; why != nil {
		return nil, errors.Join(&prober.EnvironmentError{Err: fmt.Errorf("sweep sends raw SYNs, which need a capture; probe works without: %w", why)}, p.Close())
	}
	return p, nil
}

// diagnose diagnoses targets one after the other.
func (f *sweepFlags) diagnose(ctx context.Context, cmd *cobra.Command, p *prober.Prober, ill []netip.AddrPort) []result {
	m, _ := prober.BuiltinModule(prober.KindConnect)
	m.Timeout = 9500 * time.Millisecond
	o := prober.DiagnoseOptions{Module: m, SizeBurst: true, Seconds: 60, Follow: diagnose.DefaultFollow,
		Progress: newProgress(cmd.ErrOrStderr(), f.verbose).step}
	var out []result
	for _, dst := range ill {
		if ctx.Err() != nil {
			break
		}
		rounds, err := p.Diagnose(ctx, dst.String(), o)
		out = append(out, result{target: dst.String(), rounds: rounds, err: err})
	}
	return out
}
