package targets

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// DefaultModule is the module that exists in every configuration, a burst of ten kernel connects unless the file says otherwise.
const DefaultModule = "connect"

// Detail is how much the service's own metrics say of each target.
type Detail string

// The details: none keeps only the series of jobs and modules; target adds those of each target; backend those of each
// address behind a name as well.
const (
	DetailNone    Detail = "none"
	DetailTarget  Detail = "target"
	DetailBackend Detail = "backend"
)

// Config is a whole configuration. It cannot be changed; what its methods return is the caller's own copy.
type Config struct {
	name      string
	modules   map[string]*module
	allow     prober.Allow
	limits    prober.Limits
	ports     plan.PortRange
	jobs      []Job
	offset    time.Duration
	detail    Detail
	testimony Testimony
	results   Results
	warnings  []string
}

// Defaults of the file's own keys. The offset is blackbox_exporter's --timeout-offset; the ports lie above the default
// ip_local_port_range, 32768-60999 (net/ipv4/af_inet.c inet_init_net, 6.18).
const (
	defaultOffset  = 500 * time.Millisecond
	defaultTimeout = 9500 * time.Millisecond
)

func defaultPorts() plan.PortRange { return plan.PortRange{Lo: 61000, Hi: 65535} }

// Default is the configuration of an empty file: the module connect, and no target allowed.
func Default() *Config {
	c, err := Parse("", nil)
	if err != nil {
		panic(err) // an empty file has no mistakes
	}
	return c
}

// Load reads the file at path. The error is Errors where the file could be read.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	return Parse(path, text)
}

// Parse reads a configuration; name is the file's name in messages. The error is Errors.
func Parse(name string, text []byte) (*Config, error) {
	d := &document{file: name}
	c := &Config{name: name, limits: prober.DefaultLimits(), ports: defaultPorts(), offset: defaultOffset, detail: DetailTarget, results: defaultResults()}
	if root := d.open(text); root != nil {
		c.read(root)
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	c.warnings = d.warnings
	return c, nil
}

func (c *Config) read(root *section) {
	c.readLimits(root)
	c.readAllow(root)
	c.readPorts(root)
	root.duration("probe_timeout_offset", &c.offset, 0, 10*time.Second)
	var detail string
	if root.word("metrics_detail", &detail, string(DetailNone), string(DetailTarget), string(DetailBackend)) {
		c.detail = Detail(detail)
	}
	c.readTestimony(root)
	c.readResults(root)
	c.readModules(root)
	c.readJobs(root)
	root.done()
}

func (c *Config) readPorts(root *section) {
	var v string
	if !root.str("source_ports", &v) {
		return
	}
	r, err := plan.ParsePortRange(v)
	switch {
	case err != nil:
		root.doc.fail(root.place("source_ports"), "%v", err)
	case r.Lo < 1024:
		root.doc.fail(root.place("source_ports"), "%s begins below 1024, among the ports of services", r)
	case r.Size() < 16:
		root.doc.fail(root.place("source_ports"), "%s is %d ports; at least 16 are needed", r, r.Size())
	default:
		c.ports = r
	}
}

// Name is the file's name as given to Load or Parse.
func (c *Config) Name() string { return c.name }

// ModuleNames lists the modules, sorted.
func (c *Config) ModuleNames() []string { return slices.Sorted(maps.Keys(c.modules)) }

// Allow is what may be probed.
func (c *Config) Allow() prober.Allow { return c.allow }

// Limits bound what all probes together may do.
func (c *Config) Limits() prober.Limits { return c.limits }

// SourcePorts is the range that probes are sent from.
func (c *Config) SourcePorts() plan.PortRange { return c.ports }

// ProbeTimeoutOffset is what a probe leaves of the scrape's timeout for the way back, 0 to 10 s.
func (c *Config) ProbeTimeoutOffset() time.Duration { return c.offset }

// MetricsDetail is how much the service's metrics say of each target.
func (c *Config) MetricsDetail() Detail { return c.detail }

// Warnings are sentences about what is accepted but likely not meant.
func (c *Config) Warnings() []string { return slices.Clone(c.warnings) }

// Jobs lists the scheduled jobs in the file's order.
func (c *Config) Jobs() []Job {
	out := make([]Job, len(c.jobs))
	for i, j := range c.jobs {
		j.Targets = slices.Clone(j.Targets)
		j.Labels = maps.Clone(j.Labels)
		out[i] = j
	}
	return out
}
