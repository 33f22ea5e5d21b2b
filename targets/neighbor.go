package targets

func (c *Config) readNeighbor(m *module, s *section) {
	m.readWay(s)
	c.readSize(m, s)
}

func (m *module) showNeighbor(v *view) {
	m.showSize(v)
	m.showWay(v)
}
