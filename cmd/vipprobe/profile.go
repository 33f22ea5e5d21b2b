package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/targets"
)

// profileFlags are what the profile command has beside those of a probe.
type profileFlags struct {
	probeFlags
	options  prober.ProfileOptions
	prime    primeFlags
	primes   prober.DiagnoseOptions // only what primeFlags fill in
	request  string
	queue    bool
	baseline string
	parallel int
}

func profileCommand() *cobra.Command {
	var f profileFlags
	cmd := &cobra.Command{
		Use:   "profile HOST:PORT...",
		Short: "Measure what a host's TCP is like, from outside and without a login",
		Long: "profile asks a listener some thirty SYNs, leaves two SYN-ACKs unanswered for a few seconds and completes two\n" +
			"connections: SYN-ACK timer, options, MSS, window, timestamps and their clock, ECN, SYN cookies, closed ports. What\n" +
			"can disturb a host is measured only where asked for: --request, --time-wait, --backlog, --overflow,\n" +
			"--neighbor-queue, --i-own-this-path.\n\n" +
			"With --baseline each host is held against a golden one, a host or a stored profile (-o json); several hosts are\n" +
			"put in groups that agree, the odd ones out first.\n\n" +
			"Exit 0: measured, and like the baseline where there is one; 1: different in what is notable or grave; 2: the\n" +
			"command line is wrong; 3: this machine or its network denies it; 130: interrupted.",
		Example: "  vipprobe profile 192.0.2.21:80 --request http\n  vipprobe profile --baseline 192.0.2.21:80 192.0.2.22:80 192.0.2.23:80",
		Args:    wantTargets,
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config.file", "", "configuration file with limits")
	fs.StringVarP(&f.output, "output", "o", "table", "table or json, which --baseline and profile diff read")
	fs.StringVar(&f.source, "source", "", "source address, which must be this host's")
	fs.StringVar(&f.iface, "interface", "", "interface to leave by")
	fs.StringVar(&f.ports, "source-ports", "", "LO-HI, the lower half for connects, the upper for raw SYNs; default: outside net.ipv4.ip_local_port_range")
	fs.BoolVarP(&f.four, "ipv4", "4", false, "only IPv4 addresses of a name")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "only IPv6 addresses of a name")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say how each value was measured, and on stderr what is tried")
	fs.DurationVar(&f.options.Patience, "patience", profile.Patience, "how long to wait for repeats of a SYN-ACK, 1s to "+profile.MostPatience.String()+", which sees all that Linux sends")
	fs.StringVar(&f.request, "request", "", "send this to see the initial window: http, or text:STRING with \\r \\n \\t escapes")
	fs.IntVar(&f.options.Backlog, "backlog", 0, "measure the listen backlog with so many half-open requests, at most 1000; for about 3 s others meet SYN cookies or silence")
	fs.BoolVar(&f.options.TimeWait, "time-wait", false, "measure what the host's TIME_WAIT makes of SYNs, on connections that it closes first after --request, or an HTTP request")
	fs.BoolVar(&f.options.Overflow, "overflow", false, "with --backlog: complete as many connections at once as the listener has room for, silent for 1.5 s, to see what a full accept queue answers")
	fs.BoolVar(&f.queue, "neighbor-queue", false, "measure how many packets the host keeps for a neighbour that it must ask for; it borrows free addresses of its segment")
	fs.StringVar(&f.baseline, "baseline", "", "what the hosts should be like: HOST:PORT, or a file that -o json has written")
	fs.IntVar(&f.parallel, "parallel", 8, "hosts measured at a time, 1 to 64")
	fs.Float64Var(&f.options.Seconds, "max-seconds", 90, "time for each host")
	f.prime.register(fs, &f.primes)
	cmd.AddCommand(profileDiffCommand())
	return cmd
}

// check refuses what cannot be measured so, before anything is opened.
func (f *profileFlags) check(cmd *cobra.Command) error {
	o := &f.options
	switch {
	case f.output != "table" && f.output != "json":
		return usageError{fmt.Errorf("--output %q: want table or json", f.output)}
	case o.Patience < time.Second || o.Patience > profile.MostPatience:
		return usageError{fmt.Errorf("--patience %s: want 1s to %s", o.Patience, profile.MostPatience)}
	case o.Backlog < 0 || o.Backlog > 1000:
		return usageError{fmt.Errorf("--backlog %d: want 0 to 1000", o.Backlog)}
	case o.Overflow && o.Backlog == 0:
		return usageError{errors.New("--overflow: it follows the measurement of --backlog N")}
	case f.parallel < 1 || f.parallel > 64:
		return usageError{fmt.Errorf("--parallel %d: want 1 to 64", f.parallel)}
	case !(o.Seconds > 0 && o.Seconds <= 3600):
		return usageError{fmt.Errorf("--max-seconds %g: want more than 0, at most 3600", o.Seconds)}
	}
	var err error
	if o.Request, err = targets.ParseRequest(f.request); err != nil {
		return usageError{fmt.Errorf("--request: %w", err)}
	}
	if err := f.prime.read(cmd.Flags(), &f.primes); err != nil {
		return err
	}
	o.MayPrime, o.Prime = f.primes.MayPrime, f.primes.Prime
	if f.queue {
		o.Queue = &prober.NeighborQueueOptions{}
	}
	return nil
}

func (f *profileFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	golden, isFile, err := f.golden()
	if err != nil {
		return err
	}
	all := args
	if f.baseline != "" && !isFile {
		all = append([]string{f.baseline}, args...)
	}
	f.module, f.burst, f.count, f.timeout, f.ladder, f.maxHalfOpen = "connect", 10, 1, 9500*time.Millisecond, "kernel", 16
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if f.options.Module, err = f.selectModule(cmd, cfg); err != nil {
		return err
	}
	f.halfOpen = f.options.Backlog
	ctx := cmd.Context()
	p, err := f.open(ctx, cmd, cfg, f.options.Module, all)
	if err != nil {
		return err
	}
	said := newProgress(cmd.ErrOrStderr(), f.verbose)
	f.options.Progress = func(a netip.AddrPort, what string) { said.f("%s: %s", a, what) }
	measured, errs := f.measure(ctx, p, all)
	if err := p.Close(); err != nil {
		return err
	}
	if golden == nil && f.baseline != "" {
		if golden, measured = split(measured, f.baseline); golden == nil {
			return &prober.EnvironmentError{Target: f.baseline, Err: errors.New("the baseline could not be measured")}
		}
	}
	return f.finish(cmd, measured, golden, all, errs)
}

// golden reads the baseline where it is a file.
func (f *profileFlags) golden() (*profile.Profile, bool, error) {
	if f.baseline == "" {
		return nil, false, nil
	}
	p, err := storedProfile(f.baseline)
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "open" {
		if _, bad := prober.ParseEndpoint(f.baseline); bad == nil {
			return nil, false, nil
		}
		return nil, false, usageError{fmt.Errorf("--baseline: want HOST:PORT or a file: %w", err)}
	}
	if err != nil {
		return nil, true, usageError{fmt.Errorf("--baseline: %w", err)}
	}
	return p, true, nil
}

// storedProfile reads a file that profile -o json has written of one host. An *fs.PathError says that there is no such file.
func storedProfile(name string) (*profile.Profile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	list, err := view.ReadProfiles(file)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", name, err)
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("profile %s: it holds %d profiles; want one host", name, len(list))
	}
	return &list[0], nil
}

// measure profiles every target, some at a time; results keep their order.
func (f *profileFlags) measure(ctx context.Context, p *prober.Prober, names []string) ([]prober.Profiled, []error) {
	all := make([][]prober.Profiled, len(names))
	errs := make([]error, len(names))
	slots := make(chan struct{}, f.parallel)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i], errs[i] = p.Profile(ctx, name, f.options)
		})
	}
	wg.Wait()
	return slices.Concat(all...), errs
}

// split takes the baseline out of what was measured: its first address.
func split(all []prober.Profiled, name string) (*profile.Profile, []prober.Profiled) {
	var golden *profile.Profile
	var rest []prober.Profiled
	for i := range all {
		switch {
		case all[i].Target != name:
			rest = append(rest, all[i])
		case golden == nil && all[i].Err == nil:
			golden = &all[i].Profile
		}
	}
	return golden, rest
}

// finish writes what was measured. errs are those of whole targets, by the place of their name in names.
func (f *profileFlags) finish(cmd *cobra.Command, measured []prober.Profiled, golden *profile.Profile, names []string, errs []error) error {
	var failed []error
	var views []view.TargetError
	for i := range measured {
		if err := measured[i].Err; err != nil {
			failed = append(failed, err)
			views = append(views, view.NewTargetError(measured[i].Target, err))
		}
	}
	for i, err := range errs {
		if err != nil {
			failed = append(failed, err)
			views = append(views, view.NewTargetError(names[i], err))
		}
	}
	if f.output == "json" {
		if err := view.WriteJSON(cmd.OutOrStdout(), view.NewProfiles(measured, golden, views)); err != nil {
			return err
		}
	} else if err := renderProfiles(newPrinter(cmd.OutOrStdout()), measured, golden, f.verbose); err != nil {
		return err
	}
	for _, err := range failed {
		complain(cmd.ErrOrStderr(), err)
	}
	switch {
	case cmd.Context().Err() != nil:
		return exitError(exitInterrupted)
	case len(failed) > 0:
		return exitError(exitCode(failed[0]))
	case golden != nil && slices.ContainsFunc(measured, func(m prober.Profiled) bool { return differs(profile.Compare(golden, &m.Profile)) }):
		return exitError(exitFinding)
	}
	return nil
}

// differs reports whether a difference matters to connections.
func differs(list []profile.Difference) bool {
	return slices.ContainsFunc(list, func(d profile.Difference) bool { return d.Trait.Weight >= profile.Notable })
}

func profileDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Say in what two stored profiles differ, and what that means",
		Long:  "diff reads two files that profile -o json has written.\n\nExit 0: no difference that is notable or grave; 1: there is one; 2: a file cannot be read.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("want two files that profile -o json has written, got %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var two [2]profile.Profile
			for i, name := range args {
				p, err := storedProfile(name)
				if err != nil {
					return usageError{fmt.Errorf("profile diff: %w", err)}
				}
				two[i] = *p
			}
			list := profile.Compare(&two[0], &two[1])
			p := newPrinter(cmd.OutOrStdout())
			p.f("%s\n", p.tint(bold, fmt.Sprintf("%s (%s) against %s (%s)", two[1].Addr, two[1].At.UTC().Format(time.DateTime), two[0].Addr, two[0].At.UTC().Format(time.DateTime))))
			p.differences(list)
			if differs(list) {
				return exitError(exitFinding)
			}
			return p.err
		},
	}
}
