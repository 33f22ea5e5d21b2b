package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
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
	halfOpen    int // that a measurement asked for needs, whatever maxHalfOpen says
	noCapture   bool
	four, six   bool
	compare     bool
	verbose     bool
	explain     bool
	formats     []string // of output, beside those of every command
	queue       queueFlags
	check       experiment.CheckTiming
	jsonFD      int
	evidence    evidenceFlags
	testimony   testimonyFlags
}

func (f *probeFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config.file", "", "configuration file with modules and limits")
	fs.StringVarP(&f.output, "output", "o", "table", "table, json or ndjson (a line as soon as a round is over)")
	fs.IntVar(&f.burst, "burst", 10, "concurrent connections of a burst")
	fs.DurationVar(&f.timeout, "timeout", 9500*time.Millisecond, "time for a whole round, 1 ms to 120 s")
	fs.StringVar(&f.source, "source", "", "source address, which must be this host's")
	fs.StringVar(&f.iface, "interface", "", "interface to leave by")
	fs.StringVar(&f.ports, "source-ports", "", "LO-HI, the lower half for connects, the upper for raw SYNs; default: outside net.ipv4.ip_local_port_range")
	fs.IntVar(&f.maxStalled, "max-stalled", 0, "stalled attempts of a round that still pass; negative: any")
	fs.IntVar(&f.maxHalfOpen, "max-half-open", 16, "most half-open connections at one listener")
	fs.BoolVar(&f.noCapture, "no-capture", false, "do not open a capture ring, even where it is permitted")
	fs.BoolVarP(&f.four, "ipv4", "4", false, "only IPv4 addresses of a name")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "only IPv6 addresses of a name")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say on stderr what is tried and why, also where that is no terminal; list every question for a link address")
	f.evidence.register(cmd)
	fs.IntVar(&f.jsonFD, "json-fd", 0, "also write the JSON result to this open file descriptor")
	_ = fs.MarkHidden("json-fd")
}

// load reads the configuration file, where one is named.
func (f *probeFlags) load() (*targets.Config, error) {
	if f.config == "" {
		return targets.Default(), nil
	}
	cfg, err := targets.Load(f.config)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

func (f *probeFlags) checkOutput() error {
	formats := append([]string{"table"}, append(slices.Clone(f.formats), "json", "ndjson")...)
	if slices.Contains(formats, f.output) {
		return nil
	}
	last := len(formats) - 1
	return usageError{fmt.Errorf("--output %q: want %s or %s", f.output, strings.Join(formats[:last], ", "), formats[last])}
}

// selectModule builds the module from the flags, or takes it from the configuration file and lets explicit flags override it.
func (f *probeFlags) selectModule(cmd *cobra.Command, cfg *targets.Config) (prober.Module, error) {
	m, ok := prober.BuiltinModule(prober.Kind(f.module))
	if !ok || f.config != "" {
		var err error
		if m, err = cfg.Module(f.module); err != nil {
			return m, usageError{fmt.Errorf("--module: %w", f.alsoBuiltin(err))}
		}
	}
	for _, override := range []func(*cobra.Command, *prober.Module) error{f.overrideBurst, f.overrideWay, f.overrideSYN, f.overrideQueue, f.overrideCheck} {
		if err := override(cmd, &m); err != nil {
			return m, usageError{err}
		}
	}
	return m, nil
}

// alsoBuiltin adds to the modules that a configuration has, where no file was read, those that every command line has.
func (f *probeFlags) alsoBuiltin(err error) error {
	unknown, ok := errors.AsType[*targets.UnknownModuleError](err)
	if !ok || f.config != "" {
		return err
	}
	known := slices.Clone(unknown.Known)
	for _, k := range prober.Kinds() {
		if _, builtin := prober.BuiltinModule(k); builtin {
			known = append(known, string(k))
		}
	}
	slices.Sort(known)
	return &targets.UnknownModuleError{Name: unknown.Name, Known: slices.Compact(known)}
}

// overrideBurst sets how many, how often and how long.
func (f *probeFlags) overrideBurst(cmd *cobra.Command, m *prober.Module) error {
	// the flags' defaults are those of plain bursts; an investigation has its own
	set := func(name string) bool {
		return f.config == "" && m.Subject() == diagnose.SubjectUnknown || cmd.Flags().Changed(name)
	}
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
	switch {
	case m.Burst < 1 || m.Burst > 4096:
		return fmt.Errorf("--burst %d: want 1 to 4096", m.Burst)
	case m.Count < 1 || m.Count > 1000:
		return fmt.Errorf("--count %d: want 1 to 1000", m.Count)
	case m.Timeout < time.Millisecond || m.Timeout > 120*time.Second:
		return fmt.Errorf("--timeout %s: want 1ms to 120s", m.Timeout)
	case f.maxHalfOpen < 1:
		return fmt.Errorf("--max-half-open %d: want 1 or more", f.maxHalfOpen)
	}
	return nil
}

// overrideWay sets where the packets leave from and which addresses of a name they go to.
func (f *probeFlags) overrideWay(_ *cobra.Command, m *prober.Module) error {
	m.IPProtocol, m.IPFallback = "", true
	switch {
	case f.four && f.six:
		return fmt.Errorf("--ipv4 and --ipv6: want one of them, or none for both families")
	case f.four:
		m.IPProtocol, m.IPFallback = "ip4", false
	case f.six:
		m.IPProtocol, m.IPFallback = "ip6", false
	}
	if f.source != "" {
		a, err := netip.ParseAddr(f.source)
		if err != nil {
			return fmt.Errorf("--source %q: want an address of this host", f.source)
		}
		m.Source = a.Unmap()
	}
	if f.iface != "" {
		m.Interface = f.iface
	}
	return nil
}

// overrideSYN sets what only raw SYNs have.
func (f *probeFlags) overrideSYN(cmd *cobra.Command, m *prober.Module) error {
	fs := cmd.Flags()
	if m.Kind != prober.KindSYN {
		for _, name := range []string{"ladder", "tsval", "no-timestamps", "handshake"} {
			if fs.Changed(name) {
				return fmt.Errorf("--%s: only raw SYNs have that, and module %s is none; use --module syn", name, m.Name)
			}
		}
		return nil
	}
	if fs.Changed("tsval") {
		m.SYN.TSval, m.SYN.HasTSval = wire.TSval(f.tsval), true
	}
	m.SYN.WithoutTimestamps = m.SYN.WithoutTimestamps || f.noTS
	m.SYN.Handshake = m.SYN.Handshake || f.handshake
	if !fs.Changed("ladder") {
		return nil
	}
	switch f.ladder {
	case "kernel":
		m.SYN.Ladder = plan.Ladder{}
	case "single":
		m.SYN.Ladder = plan.Single()
	case "exponential":
		m.SYN.Ladder = plan.Exponential(time.Second, 6)
	case "linear":
		m.SYN.Ladder = plan.Linear(time.Second, 4, 10)
	case "classic":
		m.SYN.Ladder = plan.Exponential(3*time.Second, 5)
	default:
		return fmt.Errorf("--ladder %q: want kernel, single, exponential, linear or classic", f.ladder)
	}
	return nil
}

// enough holds a range of source ports against what one destination of m needs: no port is used twice within two minutes.
func enough(r plan.PortRange, m prober.Module) error {
	lower, upper := r.Split()
	kernel, raw := m.Ports()
	for _, h := range []struct {
		name string
		have plan.PortRange
		need int
	}{{"lower", lower, kernel}, {"upper", upper, raw}} {
		if h.have.Size() < h.need {
			return usageError{fmt.Errorf("--source-ports %s: a target needs %d ports (burst %d × count %d), since none meets it twice within %s; "+
				"the %s half of the range has %d", r, h.need, m.Burst, m.Count, plan.PortQuarantine, h.name, h.have.Size())}
		}
	}
	return nil
}
