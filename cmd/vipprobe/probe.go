package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
	"github.com/vipprobe/vipprobe/targets"
)

// probeFlags are what probe and diagnose share.
type probeFlags struct {
	config      string
	module      string
	output      string
	burst       int
	count       int
	timeout     time.Duration
	source      string
	iface       string
	ports       string
	ladder      string
	tsval       uint32
	noTS        bool
	handshake   bool
	maxStalled  int
	maxHalfOpen int
	noCapture   bool
	four, six   bool
	compare     bool
	jsonFD      int
}

func (f *probeFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config.file", "", "configuration file with modules and limits")
	fs.StringVarP(&f.output, "output", "o", "table", "table, json or ndjson")
	fs.IntVar(&f.burst, "burst", 10, "concurrent connections of a burst")
	fs.DurationVar(&f.timeout, "timeout", 9500*time.Millisecond, "time for a whole round, 1 ms to 120 s")
	fs.StringVar(&f.source, "source", "", "source address, which must be this host's")
	fs.StringVar(&f.iface, "interface", "", "interface to leave by")
	fs.StringVar(&f.ports, "source-ports", "", "LO-HI; default: a range outside net.ipv4.ip_local_port_range")
	fs.IntVar(&f.maxStalled, "max-stalled", 0, "stalled attempts of a round that still pass; negative: any")
	fs.IntVar(&f.maxHalfOpen, "max-half-open", 16, "most half-open connections at one listener")
	fs.BoolVar(&f.noCapture, "no-capture", false, "do not open a capture ring, even where it is permitted")
	fs.BoolVarP(&f.four, "ipv4", "4", false, "only IPv4 addresses of a name")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "only IPv6 addresses of a name")
	fs.IntVar(&f.jsonFD, "json-fd", 0, "also write the JSON result to this open file descriptor")
	_ = fs.MarkHidden("json-fd")
}

func probeCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "probe TARGET...",
		Short: "Open a burst of connections to each target and time every handshake",
		Long: "probe opens a burst of concurrent connections to every address of each target, and an immediate repeat, and shows first contact and\n" +
			"repeat side by side. A target is HOST:PORT, ADDR:PORT or [ADDR]:PORT. Naming a target here permits probing its addresses.",
		Example: "  vipprobe probe web.example.org:443\n  vipprobe probe --module syn --burst 10 192.0.2.10:80\n" +
			"  vipprobe probe --compare 192.0.2.10:80 192.0.2.21:80 192.0.2.22:80",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.probe(cmd, args) },
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.module, "module", "connect", "connect (kernel), syn (raw SYNs), or a module of the configuration file")
	fs.IntVar(&f.count, "count", 2, "bursts, one after the other: first contact and repeats")
	fs.StringVar(&f.ladder, "ladder", "kernel", "repeats of a raw SYN: kernel, single, exponential, linear or classic (3 s)")
	fs.Uint32Var(&f.tsval, "tsval", 0, "TSval of the first raw SYN; default: random")
	fs.BoolVar(&f.noTS, "no-timestamps", false, "raw SYNs without the timestamps option")
	fs.BoolVar(&f.handshake, "handshake", false, "complete raw handshakes and abort them, in place of half-open")
	fs.BoolVar(&f.compare, "compare", false, "the first target is a VIP, the others its real servers: say where they differ")
	return cmd
}

// usageError marks what the caller got wrong.
type usageError struct{ error }

func (f *probeFlags) probe(cmd *cobra.Command, args []string) error {
	m, err := f.selectModule(cmd)
	if err != nil {
		return err
	}
	if err := f.checkOutput(); err != nil {
		return err
	}
	ctx := cmd.Context()
	p, err := f.open(ctx, args)
	if err != nil {
		return err
	}
	results := probeAll(ctx, p, args, m)
	if err := errors.Join(p.Close()); err != nil {
		return err
	}
	return f.report(cmd, ctx, results, func(w io.Writer) error { return renderProbe(w, results, f.compare) })
}

// result is what one target gave.
type result struct {
	target string
	rounds []prober.Round
	err    error
}

// parallelTargets bounds how many targets are probed at once, so that they do not disturb each other's timing.
const parallelTargets = 64

// probeAll probes every target at once, each in its own goroutine, and keeps their order.
func probeAll(ctx context.Context, p *prober.Prober, targets []string, m prober.Module) []result {
	results := make([]result, len(targets))
	slots := make(chan struct{}, parallelTargets)
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			rounds, err := p.Probe(ctx, t, m)
			results[i] = result{target: t, rounds: rounds, err: err}
		})
	}
	wg.Wait()
	return results
}

func (f *probeFlags) checkOutput() error {
	switch f.output {
	case "table", "json", "ndjson":
		return nil
	}
	return usageError{fmt.Errorf("--output %q: want table, json or ndjson", f.output)}
}

// selectModule builds the module from the flags, or takes it from the configuration file and lets explicit flags override it.
func (f *probeFlags) selectModule(cmd *cobra.Command) (prober.Module, error) {
	cfg := targets.Default()
	if f.config != "" {
		var err error
		if cfg, err = targets.Load(f.config); err != nil {
			return prober.Module{}, usageError{err}
		}
	}
	m := prober.DefaultModule()
	if f.module == string(prober.KindSYN) && f.config == "" {
		m.Name, m.Kind = "syn", prober.KindSYN
	} else {
		var err error
		if m, err = cfg.Module(f.module); err != nil {
			return m, usageError{err}
		}
	}
	return m, f.override(cmd, &m)
}

func (f *probeFlags) override(cmd *cobra.Command, m *prober.Module) error {
	set := func(name string) bool { return f.config == "" || cmd.Flags().Changed(name) }
	if set("burst") {
		m.Burst = f.burst
	}
	if set("count") {
		m.Count = f.count
	}
	if set("timeout") {
		m.Timeout = f.timeout
	}
	if set("max-stalled") {
		m.MaxStalled = f.maxStalled
	}
	m.IPProtocol, m.IPFallback = "", true
	switch {
	case f.four:
		m.IPProtocol, m.IPFallback = "ip4", false
	case f.six:
		m.IPProtocol, m.IPFallback = "ip6", false
	}
	if m.Burst < 1 || m.Burst > 4096 {
		return usageError{fmt.Errorf("--burst %d: want 1 to 4096", m.Burst)}
	}
	if m.Count < 1 || m.Count > 1000 {
		return usageError{fmt.Errorf("--count %d: want 1 to 1000", m.Count)}
	}
	if m.Timeout < time.Millisecond || m.Timeout > 120*time.Second {
		return usageError{fmt.Errorf("--timeout %s: want 1ms to 120s", m.Timeout)}
	}
	if f.source != "" {
		a, err := netip.ParseAddr(f.source)
		if err != nil {
			return usageError{fmt.Errorf("--source %q: not an address", f.source)}
		}
		m.Source = a
	}
	if f.iface != "" {
		m.Interface = f.iface
	}
	if m.Kind == prober.KindSYN {
		return f.overrideSYN(cmd, m)
	}
	return nil
}

func (f *probeFlags) overrideSYN(cmd *cobra.Command, m *prober.Module) error {
	if fs := cmd.Flags(); fs.Changed("tsval") {
		m.SYN.TSval, m.SYN.HasTSval = wire.TSval(f.tsval), true
	}
	m.SYN.WithoutTimestamps = m.SYN.WithoutTimestamps || f.noTS
	m.SYN.Handshake = m.SYN.Handshake || f.handshake
	switch f.ladder {
	case "kernel", "":
	case "single":
		m.SYN.Ladder = plan.Single()
	case "exponential":
		m.SYN.Ladder = plan.Exponential(time.Second, 6)
	case "linear":
		m.SYN.Ladder = plan.Linear(time.Second, 4, 10)
	case "classic":
		m.SYN.Ladder = plan.Exponential(3*time.Second, 5)
	default:
		return usageError{fmt.Errorf("--ladder %q: want kernel, single, exponential, linear or classic", f.ladder)}
	}
	return nil
}

// open starts a prober that may probe what the arguments name: every address they resolve to now, and what the configuration
// permits. A name that leads to an address of special meaning is still refused.
func (f *probeFlags) open(ctx context.Context, args []string) (*prober.Prober, error) {
	opts := prober.Options{Counters: true}
	opts.Limits = prober.DefaultLimits()
	if f.config != "" {
		cfg, err := targets.Load(f.config)
		if err != nil {
			return nil, usageError{err}
		}
		opts.Limits, opts.Allow, opts.SourcePorts = cfg.Limits(), cfg.Allow(), cfg.SourcePorts()
	}
	if f.ports != "" {
		r, err := plan.ParsePortRange(f.ports)
		if err != nil {
			return nil, usageError{fmt.Errorf("--source-ports: %w", err)}
		}
		opts.SourcePorts = r
	}
	opts.Limits.HalfOpen = max(opts.Limits.HalfOpen, f.maxHalfOpen)
	opts.NoCapture = f.noCapture
	opts.RingBytes = 8 << 20
	names, err := prober.NewNames(ctx, args)
	if err != nil {
		return nil, err
	}
	opts.Lookup = names.Lookup
	opts.Allow = opts.Allow.With(names.Allow())
	return prober.New(opts)
}

// report writes the result in the format asked for and turns it into an exit code.
func (f *probeFlags) report(cmd *cobra.Command, ctx context.Context, results []result, table func(io.Writer) error) error {
	doc := document(results)
	if f.jsonFD > 0 {
		if err := writeFD(f.jsonFD, doc); err != nil {
			return err
		}
	}
	var err error
	switch f.output {
	case "json":
		err = view.WriteJSON(cmd.OutOrStdout(), doc)
	case "ndjson":
		for i := range doc.Rounds {
			if err = view.WriteLine(cmd.OutOrStdout(), doc.Rounds[i]); err != nil {
				break
			}
		}
	default:
		err = table(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "vipprobe: %v\n", r.err)
		}
	}
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if code := probeExit(results); code != exitPass {
		return exitError(code)
	}
	return nil
}

// document is the JSON result of a command.
func document(results []result) view.Document {
	var all []prober.Round
	var errs []view.TargetError
	for _, r := range results {
		all = append(all, r.rounds...)
		if r.err != nil {
			errs = append(errs, view.TargetError{Target: r.target, Error: r.err.Error()})
		}
	}
	return view.NewDocument(all, errs)
}

// probeExit: a finding outweighs what could not be probed.
func probeExit(results []result) int {
	code := exitPass
	for _, r := range results {
		if r.err != nil {
			code = max(code, exitCode(r.err))
		}
		for i := range r.rounds {
			switch round := &r.rounds[i]; {
			case round.Err != nil:
				code = max(code, exitCode(round.Err))
			case !round.Success:
				return exitFinding
			}
		}
	}
	return code
}
