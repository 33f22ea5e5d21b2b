package targets

import (
	"slices"
	"time"

	"github.com/prometheus/common/config"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Bounds of a module's options (prober.Module states them).
const (
	minTimeout = time.Millisecond
	maxTimeout = 120 * time.Second
	maxModule  = 4096 // connections of a burst
	maxCount   = 1000
	maxPause   = 60 * time.Second
)

// module is a module as read. TLS is made anew at each use, so that a renewed certificate file is seen.
type module struct {
	prober.Module
	tls config.TLSConfig
	// timed: the file gives the timeout.
	timed bool
}

// foreign are blackbox_exporter's provers that vipprobe has not, and their sections.
func foreign() []string { return []string{"http", "dns", "icmp", "grpc", "unix"} }

func newModule(name string, kind prober.Kind) *module {
	m := &module{Module: prober.Module{
		Name: name, Kind: kind, Timeout: defaultTimeout, Burst: 10, Count: 1, MaxStalled: -1, IPFallback: true,
	}}
	if kind == prober.KindTCP {
		// blackbox_exporter: a module without a timeout has the scrape's
		m.Burst, m.Timeout, m.TCP = 1, maxTimeout, &prober.TCPOptions{}
	}
	return m
}

func (c *Config) readModules(root *section) {
	c.modules = map[string]*module{DefaultModule: newModule(DefaultModule, prober.KindConnect)}
	s, _ := root.section("modules")
	for _, name := range s.keys {
		it, ok := s.get(name)
		if !ok || name == "" {
			s.doc.fail(s.place(name), "a module needs a name and prober: connect, syn or tcp")
			continue
		}
		if sub := s.doc.section(it.key, it.node); sub != nil {
			c.readModule(name, sub)
		}
	}
	s.done()
}

func (c *Config) readModule(name string, s *section) {
	var kind string
	if !s.str("prober", &kind) {
		s.doc.fail(s.place("prober"), "missing; want connect, syn or tcp")
		return
	}
	if slices.Contains(foreign(), kind) {
		s.doc.fail(s.place("prober"), "%s is not a probe of vipprobe; it has connect, syn and tcp", kind)
		return
	}
	var m *module
	switch k := prober.Kind(kind); k {
	case prober.KindConnect, prober.KindSYN, prober.KindTCP:
		m = newModule(name, k)
	default:
		s.doc.fail(s.place("prober"), "%q is none of connect, syn, tcp", short(kind))
		return
	}
	m.timed = s.duration("timeout", &m.Timeout, minTimeout, maxTimeout)
	switch m.Kind {
	case prober.KindConnect:
		c.readBurst(m, s)
	case prober.KindSYN:
		c.readBurst(m, s)
		m.readSYN(s)
	case prober.KindTCP:
		m.readTCP(s)
	}
	m.refuseMisplaced(s)
	s.done()
	c.modules[name] = m
}

// refuseMisplaced explains keys that only another kind of module has.
func (m *module) refuseMisplaced(s *section) {
	burst := []string{"burst", "count", "pause", "max_stalled", "interface", "hop_limit", "tos"}
	path := []string{"source_ip_address", "preferred_ip_protocol", "ip_protocol_fallback"}
	syn := []string{"ladder", "tsval", "tshz", "timestamps", "mss", "handshake"}
	misplaced := func(keys []string, why string) {
		for _, k := range keys {
			if it, ok := s.values[k]; ok && !s.asked[k] {
				s.asked[k] = true
				s.doc.fail(it.key, "%s; this is a %s module", why, m.Kind)
			}
		}
	}
	misplaced(burst, "only connect and syn modules have it")
	misplaced(path, "it belongs under tcp")
	misplaced(syn, "only a syn module has it")
	if m.Kind != prober.KindTCP {
		misplaced([]string{"tcp"}, "only a tcp module has this section")
		return
	}
	for _, k := range foreign() {
		if it, ok := s.values[k]; ok {
			s.asked[k] = true
			s.doc.warn(it.key, "not used: this module is tcp")
		}
	}
}

func (c *Config) readBurst(m *module, s *section) {
	s.integer("burst", &m.Burst, 1, maxModule)
	s.integer("count", &m.Count, 1, maxCount)
	s.duration("pause", &m.Pause, 0, maxPause)
	s.integer("max_stalled", &m.MaxStalled, 0, maxModule*maxCount)
	s.str("interface", &m.Interface)
	var v int
	if s.integer("hop_limit", &v, 1, 255) {
		m.HopLimit = uint8(v)
	}
	if s.integer("tos", &v, 0, 255) {
		m.ToS = uint8(v)
	}
	m.readPath(s)
	if len(m.Interface) > 15 { // IFNAMSIZ − 1, include/uapi/linux/if.h
		s.doc.fail(s.place("interface"), "%q is longer than the 15 octets of an interface name", short(m.Interface))
	}
	if m.Burst > c.limits.PerTargetBurst {
		s.doc.fail(s.place("burst"), "%d is more than limits.per_target_burst, %d", m.Burst, c.limits.PerTargetBurst)
	}
	if waits := time.Duration(m.Count-1) * m.Pause; waits >= m.Timeout {
		s.doc.fail(s.place("pause"), "the pauses between %d bursts are %s, the timeout %s", m.Count, waits, m.Timeout)
	}
}

// readPath reads the options that choose the way to the target, which tcp modules keep in their tcp section.
func (m *module) readPath(s *section) {
	s.word("preferred_ip_protocol", &m.IPProtocol, "ip4", "ip6")
	s.boolean("ip_protocol_fallback", &m.IPFallback)
	if !s.address("source_ip_address", &m.Source) || m.IPFallback || m.IPProtocol == "" {
		return
	}
	if m.Source.Is4() != (m.IPProtocol == "ip4") {
		s.doc.fail(s.place("source_ip_address"), "%s cannot send %s, and ip_protocol_fallback is false", m.Source, m.IPProtocol)
	}
}

func (m *module) readSYN(s *section) {
	o := &m.SYN
	m.readLadder(s)
	var v int
	if s.integer("tsval", &v, 0, 1<<32-1) {
		o.TSval, o.HasTSval = wire.TSval(uint32(v)), true
	}
	o.TSHz = 1000
	hasHz := s.integer("tshz", &v, 1, 1_000_000)
	if hasHz {
		o.TSHz = uint32(v)
	}
	timestamps := true
	s.boolean("timestamps", &timestamps)
	o.WithoutTimestamps = !timestamps
	if !timestamps && (o.HasTSval || hasHz) {
		s.doc.fail(s.place("timestamps"), "false, but tsval or tshz is given")
	}
	if s.integer("mss", &v, 88, 65495) { // TCP_MIN_MSS, include/net/tcp.h; 65,535 less the smallest headers
		o.MSS = uint16(v)
	}
	s.boolean("handshake", &o.Handshake)
}

// Module returns a module ready for use. It reads the files of tls_config, and fails where they cannot be used; the error is
// *UnknownModuleError where no module has the name.
func (c *Config) Module(name string) (prober.Module, error) {
	m, ok := c.modules[name]
	if !ok {
		return prober.Module{}, &UnknownModuleError{Name: name, Known: c.ModuleNames()}
	}
	return m.use()
}

func (m *module) clone() prober.Module {
	out := m.Module
	out.SYN.Ladder = plan.Ladder{Name: m.SYN.Ladder.Name, At: slices.Clone(m.SYN.Ladder.At)}
	if m.TCP != nil {
		t := *m.TCP
		t.QueryResponse = slices.Clone(t.QueryResponse)
		for i := range t.QueryResponse {
			t.QueryResponse[i].Labels = slices.Clone(t.QueryResponse[i].Labels)
		}
		out.TCP = &t
	}
	return out
}

// Modules returns the names with their kinds.
func (c *Config) Modules() map[string]prober.Kind {
	out := make(map[string]prober.Kind, len(c.modules))
	for n, m := range c.modules {
		out[n] = m.Kind
	}
	return out
}
