package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/targets"
)

func probeCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "probe TARGET...",
		Short: "Open a burst of connections to each target and time every handshake",
		Long: "probe opens a burst of concurrent connections to every address of each target, and an immediate repeat, and\n" +
			"shows first contact and repeat side by side. A target is HOST:PORT, ADDR:PORT or [ADDR]:PORT. Naming a target\n" +
			"here permits probing its addresses.\n\n" +
			"Exit 0: every attempt was accepted, and no more stalled than --max-stalled; 1: not so; 2: the command line or\n" +
			"the configuration is wrong; 3: this machine or its network denies it; 130: interrupted, with a report of what\n" +
			"there was.",
		Example: "  vipprobe probe web.example.org:443\n  vipprobe probe --module syn --burst 10 192.0.2.10:80\n" +
			"  vipprobe probe --compare 192.0.2.10:80 192.0.2.21:80 192.0.2.22:80",
		Args: wantTargets,
		RunE: func(cmd *cobra.Command, args []string) error { return f.probe(cmd, args) },
	}
	f.register(cmd)
	f.registerQueue(cmd)
	f.registerCheck(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.module, "module", "connect", "connect (kernel), syn (raw SYNs), paws (does an answer depend on the timestamp?), neighbor (does first contact differ?), neighbor-queue (how many packets the other side's queue holds; disturbs it), check (what a keepalived TCP_CHECK would do), or a module of the configuration file")
	fs.IntVar(&f.count, "count", 2, "bursts, one after the other: first contact and repeats")
	fs.StringVar(&f.ladder, "ladder", "kernel", "repeats of a raw SYN: kernel, single, exponential, linear or classic (3 s)")
	fs.Uint32Var(&f.tsval, "tsval", 0, "TSval of the first raw SYN; default: random")
	fs.BoolVar(&f.noTS, "no-timestamps", false, "raw SYNs without the timestamps option")
	fs.BoolVar(&f.handshake, "handshake", false, "complete raw handshakes and abort them, in place of half-open")
	fs.BoolVar(&f.compare, "compare", false, "the first target is a VIP, the others its real servers: say where they differ")
	return cmd
}

func (f *probeFlags) probe(cmd *cobra.Command, args []string) error {
	cfg, m, err := f.prepare(cmd)
	if err != nil {
		return err
	}
	args = once(args)
	if err := f.wantCompared(args); err != nil {
		return err
	}
	ctx := cmd.Context()
	kept, err := f.evidence.open(&m)
	if err != nil {
		return err
	}
	defer kept.close()
	p, err := f.open(ctx, cmd, cfg, m, args)
	if err != nil {
		return err
	}
	newProgress(cmd.ErrOrStderr(), f.verbose).f("probing %d target(s) with module %s: %d × %d connections at a time to each address, at most %s",
		len(args), m.Name, m.Count, m.Burst, m.Timeout)
	out := f.sink(cmd)
	results := each(args, out, func(target string) ([]prober.Round, error) { return p.Probe(ctx, target, m) })
	investigates := m.Subject() != diagnose.SubjectUnknown
	if ctx.Err() == nil && m.Kind != prober.KindTCP && !investigates {
		mustHave(results, m.Count)
	}
	report, code := func(p *printer) error { return renderProbe(p, results, f.compare) }, probeExit(results)
	switch {
	case m.Kind == prober.KindNeighborQueue:
		report, code = func(p *printer) error { return renderQueues(p, results) }, moduleExit(results)
	case m.Kind == prober.KindCheck:
		report, code = func(p *printer) error { return renderHealthChecks(p, results) }, moduleExit(results)
	case investigates:
		report, code = func(p *printer) error { return renderDiagnosis(p, results) }, moduleExit(results)
	}
	report = kept.keep(p, m, results, report)
	if err := p.Close(); err != nil {
		return err
	}
	return kept.instead(out.finish(ctx, results, code, report))
}

// prepare checks everything that can be checked before anything is opened.
func (f *probeFlags) prepare(cmd *cobra.Command) (*targets.Config, prober.Module, error) {
	if err := f.checkOutput(); err != nil {
		return nil, prober.Module{}, err
	}
	cfg, err := f.load()
	if err != nil {
		return nil, prober.Module{}, err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(cmd.ErrOrStderr(), "vipprobe: warning: %s\n", w)
	}
	m, err := f.selectModule(cmd, cfg)
	return cfg, m, err
}

// open starts a prober that may probe what the arguments name: every address they resolve to now, and what the configuration
// permits. A name that leads to an address of special meaning is still refused.
func (f *probeFlags) open(ctx context.Context, cmd *cobra.Command, cfg *targets.Config, m prober.Module, args []string) (*prober.Prober, error) {
	opts := prober.Options{Counters: true}
	opts.Limits = prober.DefaultLimits()
	if f.config != "" {
		opts.Limits, opts.Allow, opts.SourcePorts = cfg.Limits(), cfg.Allow(), cfg.SourcePorts()
	}
	if f.ports != "" {
		var err error
		if opts.SourcePorts, err = plan.ParsePortRange(f.ports); err != nil {
			return nil, usageError{fmt.Errorf("--source-ports: %w", err)}
		}
		if err := enough(opts.SourcePorts, m); err != nil {
			return nil, err
		}
	}
	if cmd.Flags().Changed("max-half-open") {
		opts.Limits.HalfOpen = f.maxHalfOpen
	}
	opts.Limits.HalfOpen = max(opts.Limits.HalfOpen, f.halfOpen)
	opts.NoCapture = f.noCapture
	opts.RingBytes = 8 << 20
	names, err := prober.NewNames(ctx, readable(args))
	if err != nil {
		return nil, err
	}
	opts.Lookup = names.Lookup
	opts.Allow = opts.Allow.With(names.Allow())
	p, err := prober.New(opts)
	if err != nil {
		return nil, err
	}
	if err := f.suits(cmd, p, m); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// once leaves out what is named a second time.
func once(targets []string) []string {
	var out []string
	for _, t := range targets {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// readable are the targets that can be read. The others are refused one by one, each in its turn.
func readable(targets []string) []string {
	var out []string
	for _, t := range targets {
		if _, err := prober.ParseEndpoint(t); err == nil {
			out = append(out, t)
		}
	}
	return out
}

// suits refuses a module that this host cannot run at all, and warns of ports that are not ours alone.
func (f *probeFlags) suits(cmd *cobra.Command, p *prober.Prober, m prober.Module) error {
	host := p.Host()
	if m.NeedsCapture() && host.CaptureError != nil {
		return &prober.EnvironmentError{Err: fmt.Errorf("module %s sends raw SYNs, which need a capture; module connect works without: %w",
			m.Name, host.CaptureError)}
	}
	if err := enough(host.SourcePorts, m); err != nil {
		return err
	}
	lo, hi := host.Sysctls.PortLow.Or(0), host.Sysctls.PortHigh.Or(0)
	if r := host.SourcePorts; f.ports != "" && int64(r.Lo) <= hi && int64(r.Hi) >= lo {
		fmt.Fprintf(cmd.ErrOrStderr(), "vipprobe: warning: --source-ports %s: the kernel gives ports %d-%d (net.ipv4.ip_local_port_range) to other programs as well\n",
			r, lo, hi)
	}
	return nil
}

// result is what one target gave.
type result struct {
	target string
	rounds []prober.Round
	err    error
	bursts int // that each round must have; 0: any number
}

// mustHave makes a round of fewer bursts a failure: it was cut short.
func mustHave(results []result, bursts int) {
	for i := range results {
		results[i].bursts = bursts
	}
}

// cut is why a round is no whole one, nil where it is.
func (r *result) cut(round *prober.Round) error {
	if n := len(round.Observations); round.Err == nil && n < r.bursts {
		return fmt.Errorf("target %s: %d of %d bursts were run: the time of a round (--timeout) or a limit did not permit more", round.Target, n, r.bursts)
	}
	return nil
}

// parallelTargets bounds how many targets are probed at once, so that they do not disturb each other's timing.
const parallelTargets = 64

// each probes every target at once, each in its own goroutine, tells out as they finish, and keeps their order.
func each(targets []string, out *output, probe func(target string) ([]prober.Round, error)) []result {
	results := make([]result, len(targets))
	slots := make(chan struct{}, parallelTargets)
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			rounds, err := probe(t)
			results[i] = result{target: t, rounds: rounds, err: err}
			out.done(&results[i])
		})
	}
	wg.Wait()
	return results
}

// roundsExit is the exit code of all rounds: a finding outweighs what could not be probed, and that what is undecided. judge is asked about
// each round that was run.
func roundsExit(results []result, judge func(r *result, round *prober.Round) int) int {
	code := exitPass
	for i := range results {
		r := &results[i]
		if r.err != nil {
			code = max(code, exitCode(r.err))
		}
		for k := range r.rounds {
			round := &r.rounds[k]
			if round.Err != nil {
				code = max(code, exitCode(round.Err))
				continue
			}
			one := judge(r, round)
			if one == exitFinding {
				return exitFinding
			}
			code = max(code, one)
		}
	}
	return code
}

// moduleExit is the exit code of a module that answers for a subject: what fails without a named cause is inconclusive.
func moduleExit(results []result) int {
	return roundsExit(results, func(_ *result, round *prober.Round) int {
		switch {
		case round.Success:
			return exitPass
		case round.Named():
			return exitFinding
		}
		return exitInconclusive
	})
}

// probeExit: what was cut short was not probed.
func probeExit(results []result) int {
	return roundsExit(results, func(r *result, round *prober.Round) int {
		switch {
		case !round.Success:
			return exitFinding
		case r.cut(round) != nil:
			return exitEnvironment
		}
		return exitPass
	})
}
