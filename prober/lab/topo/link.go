package topo

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge is a learning switch without spanning tree, in a namespace of its own.
type Bridge struct {
	name  string
	net   *Net
	index int
	ports int
}

// Bridge adds a switch.
func (n *Net) Bridge(name string) *Bridge {
	b := &Bridge{name: name, net: n}
	if n.fabric == nil {
		n.fabric = n.Host("fabric")
		n.fabric.Sysctl("net.ipv6.conf.all.disable_ipv6", "1")
		n.fabric.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	}
	n.fabric.Build("bridge "+name, func() error {
		snooping := false
		link := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
		link.Name = name
		return n.fabric.addUp(link, &b.index)
	})
	return b
}

// addUp creates a link on the host's thread, sets it up and returns its index.
func (h *Host) addUp(link netlink.Link, index *int) error {
	name := link.Attrs().Name
	if err := h.nl.LinkAdd(link); err != nil {
		return fmt.Errorf("add link %s: %w", name, err)
	}
	made, err := h.nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := h.nl.LinkSetUp(made); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	*index = made.Attrs().Index
	return nil
}

// Link is one network device of a host.
type Link struct {
	Name  string // eth0, eth1, …
	Host  *Host
	Index int
	MAC   net.HardwareAddr

	far    *Link   // the other end of its cable, a switch's port included
	bridge *Bridge // of a switch's port
	beyond *Link   // the port that took this one's place at the switch: see Interpose
}

// Cable joins two hosts by a veth pair and returns both ends.
func (n *Net) Cable(a, b *Host) (*Link, *Link) {
	la, lb := a.newLink(), b.newLink()
	a.Build("cable to "+b.Name, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: lb.Name, PeerHardwareAddr: lb.MAC,
			PeerNamespace: netlink.NsFd(int(b.ns.Fd()))}
		v.Name, v.HardwareAddr = la.Name, la.MAC
		return a.addUp(v, &la.Index)
	})
	b.Build("cable to "+a.Name, func() error { return lb.up() })
	la.far, lb.far = lb, la
	la.carry()
	la.pin()
	lb.pin()
	return la, lb
}

// Attach joins the host to a switch and gives the new device the prefixes ("10.0.0.2/24", "fd00::2/64").
func (h *Host) Attach(b *Bridge, prefixes ...string) *Link {
	l := h.newLink()
	b.ports++
	port := b.name + "p" + strconv.Itoa(b.ports)
	l.far = &Link{Name: port, Host: h.net.fabric, far: l, bridge: b}
	h.Build("attach to "+b.name, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: port,
			PeerNamespace: netlink.NsFd(int(h.net.fabric.ns.Fd()))}
		v.Name, v.HardwareAddr = l.Name, l.MAC
		return h.addUp(v, &l.Index)
	})
	h.net.fabric.Build("port "+port, func() error { return l.far.enslave(b.index) })
	l.carry()
	l.pin()
	for _, p := range prefixes {
		l.Addr(p)
	}
	return l
}

func (l *Link) enslave(master int) error {
	if err := l.up(); err != nil {
		return err
	}
	if err := l.Host.nl.LinkSetMasterByIndex(l.device(), master); err != nil {
		return fmt.Errorf("join %s to its bridge: %w", l.Name, err)
	}
	return nil
}

// Macvlan adds a device with a MAC address of its own on top of l, in the host to (which may be l's own).
func (l *Link) Macvlan(to *Host, prefixes ...string) *Link {
	m := to.newLink()
	l.Host.Build("macvlan on "+l.Name, func() error {
		v := &netlink.Macvlan{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.MACVLAN_MODE_BRIDGE}
		v.Name, v.HardwareAddr, v.ParentIndex = m.Name, m.MAC, l.Index
		v.Namespace = netlink.NsFd(int(to.ns.Fd()))
		return l.Host.nl.LinkAdd(v)
	})
	to.Build("macvlan "+m.Name, func() error { return m.up() })
	m.pin()
	for _, p := range prefixes {
		m.Addr(p)
	}
	return m
}

func (h *Host) newLink() *Link {
	mac := h.net.nextMAC()
	l := &Link{Name: "eth" + strconv.Itoa(len(h.links)), Host: h, MAC: net.HardwareAddr(mac[:])}
	h.links = append(h.links, l)
	return l
}

func (l *Link) up() error {
	link, err := l.Host.nl.LinkByName(l.Name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", l.Name, err)
	}
	l.Index = link.Attrs().Index
	return l.Host.nl.LinkSetUp(link)
}

func (l *Link) pin() {
	l.Host.Build("neighbour settings of "+l.Name, func() error {
		for _, s := range pinnedNeighbor(l.Name) {
			if err := writeSysctl(s.name, s.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// Addr adds an address with its prefix length, without duplicate address detection.
func (l *Link) Addr(prefix string) *Link {
	l.Host.Build("address "+prefix+" on "+l.Name, func() error {
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			return err
		}
		if err := l.Host.nl.AddrAdd(l.device(), l.address(p)); err != nil {
			return err
		}
		return l.heeds(p.Addr())
	})
	return l
}

func (l *Link) address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func (l *Link) device() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: l.Name, Index: l.Index}}
}

// MTU is the most octets of IP in one frame that the link's device sends; 1500 without it.
func (l *Link) MTU(octets int) *Link {
	l.Host.Build(fmt.Sprintf("MTU %d on %s", octets, l.Name), func() error { return l.Host.nl.LinkSetMTU(l.device(), octets) })
	return l
}

// Neighbor sets one device's neighbour parameter for IPv4 or IPv6: "unres_qlen_bytes", "retrans_time_ms", ….
func (l *Link) Neighbor(family, name, value string) *Link {
	l.Host.Sysctl("net."+family+".neigh."+l.Name+"."+name, value)
	return l
}

// Conf sets one device's own parameter for IPv4 or IPv6: "arp_ignore", "rp_filter", ….
func (l *Link) Conf(family, name, value string) *Link {
	l.Host.Sysctl("net."+family+".conf."+l.Name+"."+name, value)
	return l
}

// SingleSegments makes both ends of the link's cable send one frame for each TCP segment, never a super-frame for the next
// device to cut (gso_features_check in net/core/dev.c, 6.18).
func (l *Link) SingleSegments() *Link {
	for _, e := range []*Link{l, l.far} {
		e.Host.Build("one segment a frame on "+e.Name, func() error {
			return e.Host.nl.LinkSetGSOMaxSegs(e.device(), 1)
		})
	}
	return l
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
