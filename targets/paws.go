package targets

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
}

func (m *module) showPAWS(v *view) {
	m.showSize(v)
	m.showWay(v)
	v.add("prime", true, m.PAWS.Prime)
	v.add("i_own_this_path", true, m.PAWS.Prime)
}
