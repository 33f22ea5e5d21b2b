package targets

import (
	"fmt"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Job is a set of targets that are probed with one module on a schedule.
type Job struct {
	Name     string
	Module   string
	Interval time.Duration // 100 ms to 24 h
	// Timeout of a round: the module's, or Interval where the module states none and its default is longer.
	Timeout time.Duration
	// Targets are HOST:PORT, each valid for prober.ParseEndpoint, none twice; where Sources has rules, as the file has them.
	Targets []string
	Labels  map[string]string
	// Sources are where more targets come from; nil: the job has these alone, as they stand.
	Sources *Sources
	// Group is the VIP that the targets belong to, and Members are its real servers where they are the VIP: both from the labels, once the
	// targets are known (targets/discovery).
	Group   string
	Members []string
	// Addresses is how many of a name's addresses are probed; empty: the module says.
	Addresses prober.Addresses
	// Maintenance are times in which the job does not probe.
	Maintenance []prober.Window
	// Diagnose: a round that is not well is followed by a diagnosis.
	Diagnose bool
}

// Bounds of a job.
const (
	defaultInterval = 30 * time.Second
	minInterval     = 100 * time.Millisecond
	maxInterval     = 24 * time.Hour
)

// reservedLabels are the label names that the service's own series have.
var reservedLabels = [...]string{"target", "job_name", "module", "outcome", "verdict", "level", "le", "quantile", "stat", "address"}

func (c *Config) readJobs(root *section) {
	names := map[string]bool{}
	use := portUse{ports: c.ports}
	for _, it := range root.list("jobs") {
		s := it.doc.section(it.key, it.node)
		if s == nil {
			continue
		}
		j := c.readJob(s)
		if names[j.Name] && j.Name != "" {
			s.doc.fail(s.place("name"), "job %q stands twice", short(j.Name))
		}
		names[j.Name] = true
		if m := c.modules[j.Module]; m != nil {
			use.add(s, &j, m)
		}
		c.jobs = append(c.jobs, j)
	}
}

func (c *Config) readJob(s *section) Job {
	j := Job{Module: DefaultModule, Interval: defaultInterval, Diagnose: true}
	if !s.str("name", &j.Name) || j.Name == "" {
		s.doc.fail(s.place("name"), "missing; a job needs a name")
	}
	s.str("module", &j.Module)
	s.duration("interval", &j.Interval, minInterval, maxInterval)
	j.Sources = c.readSources(s)
	c.readTargets(s, &j)
	c.readLabels(s, &j)
	var addresses string
	if s.word("addresses", &addresses, string(prober.AllAddresses), string(prober.OneAddress)) {
		j.Addresses = prober.Addresses(addresses)
	}
	readMaintenance(s, &j)
	s.boolean("diagnose", &j.Diagnose)
	s.done()
	m, ok := c.modules[j.Module]
	if !ok {
		s.doc.fail(s.place("module"), "%v", &UnknownModuleError{Name: j.Module, Known: c.ModuleNames()})
		return j
	}
	j.Timeout = m.Timeout
	switch {
	case m.Timeout <= j.Interval:
	case m.timed:
		s.doc.fail(s.place("interval"), "%s is shorter than the timeout of module %s, %s: rounds would overlap", j.Interval, j.Module, m.Timeout)
	default:
		j.Timeout = j.Interval
	}
	return j
}

func (c *Config) readTargets(s *section, j *Job) {
	seen := map[string]bool{}
	if j.Sources != nil && len(j.Sources.Relabel) > 0 { // what is probed is known after that
		j.Targets = s.texts("targets")
		return
	}
	for _, it := range s.list("targets") {
		name, ok := c.checkTarget(it)
		if !ok {
			continue
		}
		if seen[name] {
			it.doc.fail(it.at, "%s stands twice", name)
			continue
		}
		seen[name] = true
		j.Targets = append(j.Targets, name)
	}
	if len(seen) == 0 && !s.has("targets") && j.Sources == nil {
		s.doc.fail(s.at, "no targets: want targets, static_configs, file_sd_configs, http_sd_configs or dns_sd_configs")
	}
}

// checkTarget reads a target that is probed as it stands.
func (c *Config) checkTarget(it item) (name string, ok bool) {
	v, ok := it.text()
	if !ok {
		return "", false
	}
	e, err := prober.ParseEndpoint(v)
	if err != nil {
		it.doc.fail(it.at, "%v", err)
		return "", false
	}
	if e.Addr.IsValid() {
		if err := c.allow.Check(v, e.Addr); err != nil {
			it.doc.fail(it.at, "%v", err)
		}
	}
	return e.String(), true
}

func (c *Config) readLabels(s *section, j *Job) {
	labels, ok := s.section("labels")
	if !ok {
		return
	}
	j.Labels = map[string]string{}
	for _, k := range labels.keys {
		var v string
		labels.str(k, &v)
		at := labels.values[k].key
		switch {
		case !labelName(k):
			labels.doc.fail(at, "no label name")
		case isReserved(k):
			labels.doc.fail(at, "the service's own series have this label")
		default:
			j.Labels[k] = strings.ToValidUTF8(v, "\uFFFD")
		}
	}
	labels.done()
}

func isReserved(label string) bool {
	for _, r := range reservedLabels {
		if label == r {
			return true
		}
	}
	return false
}

// portUse adds up how many source ports each target needs, so that no 4-tuple returns within plan.PortQuarantine.
type portUse struct {
	ports plan.PortRange
	needs map[portUser]int
	jobs  map[portUser]string
}

type portUser struct {
	target string
	raw    bool
}

func (u *portUse) add(s *section, j *Job, m *module) {
	if u.needs == nil {
		u.needs, u.jobs = map[portUser]int{}, map[portUser]string{}
	}
	kernel, raw := m.Ports()
	lower, upper := u.ports.Split()
	if kernel > 0 && !u.addHalf(s, j, m, kernel, lower, false) {
		return
	}
	if raw > 0 {
		u.addHalf(s, j, m, raw, upper, true)
	}
}

// addHalf adds a job's needs in one half of the ports and reports whether they are there.
func (u *portUse) addHalf(s *section, j *Job, m *module, conns int, have plan.PortRange, raw bool) bool {
	half := "lower"
	if raw {
		half = "upper"
	}
	need := plan.PortsNeeded(conns, j.Interval)
	if need > have.Size() {
		round := fmt.Sprintf("burst %d × count %d", m.Burst, m.Count)
		if m.Burst*m.Count != conns {
			round = fmt.Sprintf("%d connections of a %s round", conns, m.Kind)
		}
		s.doc.fail(s.place("interval"), "%s × %d rounds within %s (120s ÷ %s, and one more) need %d source ports for a target; "+
			"the %s half of source_ports, %s, has %d: lengthen the interval, lower the burst or widen source_ports",
			round, need/conns, plan.PortQuarantine, j.Interval, need, half, have, have.Size())
		return false
	}
	for _, t := range j.Targets {
		k := portUser{t, raw}
		u.needs[k] += need
		if u.jobs[k] != "" && u.needs[k] > have.Size() {
			s.doc.fail(s.place("targets"), "%s is probed by job %q too: together they need %d source ports; the %s half of source_ports, %s, has %d",
				t, u.jobs[k], u.needs[k], half, have, have.Size())
			return false
		}
		u.jobs[k] = j.Name
	}
	return true
}

// LabelFor is the name that a label found by discovery has in the service's own series: one of the service's own is prefixed, as Prometheus does with
// labels in conflict; empty: the label is not kept.
func LabelFor(name string) string {
	switch {
	case !labelName(name):
		return ""
	case isReserved(name):
		return "exported_" + name
	}
	return name
}
