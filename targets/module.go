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
	// primeWith is PAWS.How.With as it was spelt.
	primeWith string
}

func newModule(name string, kind prober.Kind) *module {
	m := &module{}
	if kind == prober.KindTCP {
		// blackbox_exporter: a module without a timeout has the scrape's
		m.Module = prober.Module{Kind: kind, Timeout: maxTimeout, Burst: 1, Count: 1, MaxStalled: -1, IPFallback: true, TCP: &prober.TCPOptions{}}
	} else {
		m.Module, _ = prober.BuiltinModule(kind)
	}
	m.Name = name
	return m
}

func (c *Config) readModules(root *section) {
	c.modules = map[string]*module{}
	for _, k := range builtin() {
		c.modules[string(k)] = newModule(string(k), k)
	}
	s, _ := root.section("modules")
	for _, name := range s.keys {
		it, ok := s.get(name)
		if !ok || name == "" {
			s.doc.fail(s.place(name), "a module needs a name and prober: %s", kindWords(prober.Kinds(), " or "))
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
		s.doc.fail(s.place("prober"), "missing; want %s", kindWords(prober.Kinds(), " or "))
		return
	}
	if slices.Contains(foreign(), kind) {
		s.doc.fail(s.place("prober"), "%s is not a probe of vipprobe; it has %s", kind, kindWords(prober.Kinds(), " and "))
		return
	}
	r, ok := readerOf(prober.Kind(kind))
	if !ok {
		s.doc.fail(s.place("prober"), "%q is none of %s", short(kind), kindWords(prober.Kinds(), ", "))
		return
	}
	m := newModule(name, r.kind)
	m.timed = s.duration("timeout", &m.Timeout, minTimeout, maxTimeout)
	r.read(c, m, s)
	m.refuseMisplaced(s)
	s.done()
	c.modules[name] = m
}

// readConnect reads what kernel and raw bursts have in common.
func (c *Config) readConnect(m *module, s *section) {
	c.readSize(m, s)
	s.integer("count", &m.Count, 1, maxCount)
	s.duration("pause", &m.Pause, 0, maxPause)
	s.integer("max_stalled", &m.MaxStalled, 0, maxModule*maxCount)
	var v int
	if s.integer("hop_limit", &v, 1, 255) {
		m.HopLimit = uint8(v)
	}
	if s.integer("tos", &v, 0, 255) {
		m.ToS = uint8(v)
	}
	m.readWay(s)
	if waits := time.Duration(m.Count-1) * m.Pause; waits >= m.Timeout {
		s.doc.fail(s.place("pause"), "the pauses between %d bursts are %s, the timeout %s", m.Count, waits, m.Timeout)
	}
}

// readSize reads how many connections are made at once.
func (c *Config) readSize(m *module, s *section) {
	s.integer("burst", &m.Burst, 1, maxModule)
	if m.Burst > c.limits.PerTargetBurst {
		s.doc.fail(s.place("burst"), "%d is more than limits.per_target_burst, %d", m.Burst, c.limits.PerTargetBurst)
	}
}

// readWay reads where packets leave and which family they are of.
func (m *module) readWay(s *section) {
	s.str("interface", &m.Interface)
	m.readPath(s)
	if len(m.Interface) > 15 { // IFNAMSIZ − 1, include/uapi/linux/if.h
		s.doc.fail(s.place("interface"), "%q is longer than the 15 octets of an interface name", short(m.Interface))
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

func (c *Config) readSYN(m *module, s *section) {
	c.readConnect(m, s)
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
