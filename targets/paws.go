package targets

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/experiment"
)

// readPAWS reads a paws module. What can hurt others, priming, needs the owner's word beside it.
func (c *Config) readPAWS(m *module, s *section) {
	m.readWay(s)
	c.readSize(m, s)
	var owned bool
	s.boolean("prime", &m.PAWS.Prime)
	s.boolean("i_own_this_path", &owned)
	switch {
	case m.PAWS.Prime && !owned:
		s.doc.fail(s.place("prime"), "it makes a server with per-host PAWS refuse older clocks from this source address for a minute: "+
			"say i_own_this_path: true where nobody else shares the address")
	case owned && !m.PAWS.Prime:
		s.doc.fail(s.place("i_own_this_path"), "only prime: true needs that word")
	}
	m.readPriming(s)
}

// readPriming reads how a server is primed.
func (m *module) readPriming(s *section) {
	var with, control string
	if s.str("prime_with", &with) {
		ways, err := experiment.ParseClosers(with)
		if err != nil {
			s.doc.fail(s.place("prime_with"), "%v", err)
		}
		m.PAWS.How.With, m.primeWith = ways, with
	}
	if s.str("control_source", &control) {
		a, err := netip.ParseAddr(control)
		if err != nil {
			s.doc.fail(s.place("control_source"), "%q is no address of this host", short(control))
		}
		m.PAWS.How.Control = a.Unmap()
	}
	s.boolean("prime_anyway", &m.PAWS.How.Anyway)
	for _, key := range []string{"prime_with", "control_source", "prime_anyway"} {
		if _, set := s.values[key]; set && !m.PAWS.Prime {
			s.doc.fail(s.place(key), "only prime: true has a use for it")
		}
	}
}

func (m *module) showPAWS(v *view) {
	m.showSize(v)
	m.showWay(v)
	v.add("prime", true, m.PAWS.Prime)
	v.add("i_own_this_path", true, m.PAWS.Prime)
	v.add("prime_with", m.primeWith, m.primeWith != "")
	v.add("control_source", m.PAWS.How.Control.String(), m.PAWS.How.Control.IsValid())
	v.add("prime_anyway", m.PAWS.How.Anyway, m.PAWS.How.Anyway)
}
