package targets

// neighborKeys are the options of a neighbor module beyond the way and the size.
func neighborKeys() []string {
	return []string{"burst", "questions", "forget_neighbor", "unused_address"}
}

// readNeighbor reads a neighbor module. Deleting an entry disturbs whatever else talks to that next hop, so it is an option here, and
// none of a URL.
func (c *Config) readNeighbor(m *module, s *section) {
	const most = 20
	m.readWay(s)
	c.readSize(m, s)
	o := &m.Neighbor
	s.integer("questions", &o.Questions, 1, most)
	s.boolean("forget_neighbor", &o.Forget)
	if s.address("unused_address", &o.Unused) && (o.Unused.Zone() != "" || o.Unused.IsMulticast() || o.Unused.IsUnspecified() || o.Unused.IsLoopback()) {
		s.doc.fail(s.place("unused_address"), "%s is no address that a host can have", o.Unused)
	}
}

func (m *module) showNeighbor(v *view) {
	m.showSize(v)
	m.showWay(v)
	o := &m.Neighbor
	v.add("questions", o.Questions, o.Questions > 0)
	v.add("forget_neighbor", true, o.Forget)
	v.add("unused_address", o.Unused.String(), o.Unused.IsValid())
}
