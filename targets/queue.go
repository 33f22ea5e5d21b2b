package targets

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/experiment"
)

// queueKeys are the options of a neighbor-queue module beyond the way and the size.
func queueKeys() []string {
	return []string{"burst", "addresses", "arp_delay", "allow_source_mac", "allow_router"}
}

// readNeighborQueue reads a neighbor-queue module. All that can disturb a network is an option here, and none of a URL.
func (c *Config) readNeighborQueue(m *module, s *section) {
	m.readWay(s)
	c.readSize(m, s)
	o := &m.NeighborQueue
	s.duration("arp_delay", &o.Delay, experiment.MinQueueDelay, experiment.MaxQueueDelay)
	s.boolean("allow_source_mac", &o.SourceMAC)
	s.boolean("allow_router", &o.Router)
	for _, it := range s.list("addresses") {
		text, ok := it.text()
		if !ok {
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() {
			it.doc.fail(it.at, "%q is no address that a host can have", short(text))
			continue
		}
		o.Addresses = append(o.Addresses, a.Unmap())
	}
}

func (m *module) showNeighborQueue(v *view) {
	m.showSize(v)
	m.showWay(v)
	o := &m.NeighborQueue
	var list []string
	for _, a := range o.Addresses {
		list = append(list, a.String())
	}
	v.add("addresses", list, len(list) > 0)
	v.add("arp_delay", o.Delay.String(), o.Delay > 0)
	v.add("allow_source_mac", true, o.SourceMAC)
	v.add("allow_router", true, o.Router)
}
