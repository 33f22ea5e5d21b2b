package targets

func (c *Config) readNeighborQueue(m *module, s *section) {
	m.readWay(s)
	c.readSize(m, s)
}

func (m *module) showNeighborQueue(v *view) {
	m.showSize(v)
	m.showWay(v)
}
