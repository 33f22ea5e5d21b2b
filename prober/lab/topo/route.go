package topo

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route sends a destination ("10.0.1.0/24", "default", "default6") by one or more gateways; several are an ECMP route with
// equal weights, chosen by a hash of the flow's addresses and ports.
func (h *Host) Route(dst string, gateways ...string) {
	h.Build("route to "+dst, func() error {
		r := &netlink.Route{}
		switch dst {
		case "default":
			r.Dst = ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
		case "default6":
			r.Dst = ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
		default:
			p, err := netip.ParsePrefix(dst)
			if err != nil {
				return err
			}
			r.Dst = ipNet(p)
		}
		if len(gateways) == 1 {
			r.Gw = net.ParseIP(gateways[0])
			return h.nl.RouteAdd(r)
		}
		for _, g := range gateways {
			r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: net.ParseIP(g)})
		}
		if err := writeSysctl("net.ipv4.fib_multipath_hash_policy", "1"); err != nil {
			return err
		}
		return h.nl.RouteAdd(r)
	})
}

// OnLink sends a destination straight out of a device of the host, as if it were on that switch.
func (h *Host) OnLink(prefix string, l *Link) {
	h.Build("on-link route to "+prefix, func() error {
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			return err
		}
		return h.nl.RouteAdd(&netlink.Route{Dst: ipNet(p), LinkIndex: l.Index, Scope: netlink.SCOPE_LINK})
	})
}

// Forward makes the host a router for both families.
func (h *Host) Forward() {
	h.Sysctl("net.ipv4.ip_forward", "1")
	h.Sysctl("net.ipv6.conf.all.forwarding", "1")
}

// Knows fills the link's neighbour entry for addr for good, so that no packet ever waits for it.
func (l *Link) Knows(addr string, at *Link) *Link {
	l.Host.Build("neighbour "+addr, func() error { return l.setNeighbor(addr, at.MAC, netlink.NUD_PERMANENT) })
	return l
}

// Learn sets the link's neighbour entry for addr as if it had just been resolved to mac.
func (l *Link) Learn(addr string, mac net.HardwareAddr) error {
	return l.Host.Do(func() error { return l.setNeighbor(addr, mac, netlink.NUD_REACHABLE) })
}

func (l *Link) setNeighbor(addr string, mac net.HardwareAddr, state int) error {
	return l.Host.nl.NeighSet(&netlink.Neigh{LinkIndex: l.Index, IP: net.ParseIP(addr), HardwareAddr: mac, State: state})
}

// Forget deletes the link's neighbour entry for addr; one that is not there is no error.
func (l *Link) Forget(addr netip.Addr) error {
	return l.Host.Do(func() error {
		err := l.Host.nl.NeighDel(&netlink.Neigh{LinkIndex: l.Index, IP: addr.AsSlice()})
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		return err
	})
}

// HasNeighbor reports whether the link has a usable entry for addr.
func (l *Link) HasNeighbor(addr netip.Addr) (bool, error) {
	found := false
	err := l.Host.Do(func() error {
		list, err := l.Host.nl.NeighList(l.Index, netlink.FAMILY_ALL)
		for _, e := range list {
			a, ok := netip.AddrFromSlice(e.IP)
			usable := e.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE|netlink.NUD_PERMANENT) != 0
			found = found || ok && a.Unmap() == addr && usable
		}
		return err
	})
	return found, err
}

// LocalPrefix makes every address of a prefix the host's own, without listing any ("AnyIP").
func (h *Host) LocalPrefix(prefix string) {
	h.Build("local prefix "+prefix, func() error {
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			return err
		}
		lo, err := h.nl.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.nl.RouteAdd(&netlink.Route{Dst: ipNet(p), LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST})
	})
}

// SentPackets is how many packets the link's device has sent since it was made.
func (l *Link) SentPackets() (uint64, error) {
	link, err := l.Host.nl.LinkByName(l.Name)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Statistics.TxPackets, nil
}
