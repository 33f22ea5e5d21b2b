package neigh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// State is what the kernel knows of a neighbour (include/uapi/linux/neighbour.h, NUD_*).
type State uint16

// The states. None is an entry just made; NoARP and Permanent are never resolved.
const (
	None       State = 0x00
	Incomplete State = 0x01 // being asked for; packets wait, up to unres_qlen
	Reachable  State = 0x02
	Stale      State = 0x04 // usable, and not confirmed of late: packets go out at once to what may be an old address
	Delay      State = 0x08 // stale and in use; will be probed unless a higher layer confirms it
	Probe      State = 0x10 // being asked for again; packets go out
	Failed     State = 0x20
	NoARP      State = 0x40
	Permanent  State = 0x80
)

func (s State) String() string {
	switch s {
	case None:
		return "none"
	case Incomplete:
		return "incomplete"
	case Reachable:
		return "reachable"
	case Stale:
		return "stale"
	case Delay:
		return "delay"
	case Probe:
		return "probe"
	case Failed:
		return "failed"
	case NoARP:
		return "noarp"
	case Permanent:
		return "permanent"
	}
	return fmt.Sprintf("state(%#x)", uint16(s))
}

// Resolved reports whether a packet would leave at once: the kernel's NUD_VALID (include/net/neighbour.h).
func (s State) Resolved() bool { return s&(Permanent|NoARP|Reachable|Probe|Stale|Delay) != 0 }

// Static reports whether the entry is an administrator's or the device's own, and not to be touched.
func (s State) Static() bool { return s&(Permanent|NoARP) != 0 }

// Entry is one neighbour of the kernel's table. MAC is valid where HasMAC.
type Entry struct {
	IfIndex int
	Addr    netip.Addr
	State   State
	MAC     wire.MAC
	HasMAC  bool
}

// Table looks up one neighbour. ok is false where the kernel has no such entry.
func Table(ifindex int, addr netip.Addr) (Entry, bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.AddData(&netlink.Ndmsg{Family: family(addr), Index: uint32(ifindex)})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, addr.Unmap().AsSlice()))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	switch {
	case errors.Is(err, unix.ENOENT):
		return Entry{}, false, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return find(ifindex, addr) // one entry can be asked for since Linux 5.0 (net/core/neighbour.c neigh_get)
	case err != nil:
		return Entry{}, false, fmt.Errorf("look up neighbour %s on interface %d: %w", addr, ifindex, err)
	}
	for _, m := range messages {
		n, err := netlink.NeighDeserialize(m)
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up neighbour %s on interface %d: %w", addr, ifindex, err)
		}
		if e, ok := entry(n); ok {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// find is Table by way of the whole list.
func find(ifindex int, addr netip.Addr) (Entry, bool, error) {
	all, err := List(ifindex, addr.Unmap().Is6())
	if err != nil {
		return Entry{}, false, err
	}
	for _, e := range all {
		if e.Addr == addr.Unmap().WithZone("") {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// List is the IPv4 or IPv6 neighbours of an interface; index 0 means all interfaces.
func List(ifindex int, v6 bool) ([]Entry, error) {
	f := unix.AF_INET
	if v6 {
		f = unix.AF_INET6
	}
	all, err := netlink.NeighList(ifindex, f)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // the table moved meanwhile; every entry in it is still true
		return nil, fmt.Errorf("list neighbours of interface %d: %w", ifindex, err)
	}
	var entries []Entry
	for i := range all {
		if e, ok := entry(&all[i]); ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Forget deletes one entry, so that the next packet must resolve it anew. It needs CAP_NET_ADMIN, and the error says so. An
// entry that is not there is forgotten already; a static one is refused.
func Forget(ifindex int, addr netip.Addr) error {
	e, ok, err := Table(ifindex, addr)
	if err != nil {
		return err
	}
	if !ok {
		return nil
	}
	if e.State.Static() {
		return fmt.Errorf("forget neighbour %s on interface %d: the entry is %s, not learned", addr, ifindex, e.State)
	}
	err = netlink.NeighDel(&netlink.Neigh{LinkIndex: ifindex, Family: int(family(addr)), IP: addr.Unmap().AsSlice()})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("forget neighbour %s on interface %d: needs CAP_NET_ADMIN: %w", addr, ifindex, err)
	case err != nil:
		return fmt.Errorf("forget neighbour %s on interface %d: %w", addr, ifindex, err)
	}
	return nil
}

// entry turns netlink's form into ours; false where it is none of IPv4 or IPv6 (a bridge's forwarding entry).
func entry(n *netlink.Neigh) (Entry, bool) {
	if n.Family != unix.AF_INET && n.Family != unix.AF_INET6 {
		return Entry{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return Entry{}, false
	}
	e := Entry{IfIndex: n.LinkIndex, Addr: addr.Unmap(), State: State(n.State)}
	if len(n.HardwareAddr) == len(e.MAC) {
		e.MAC, e.HasMAC = wire.MAC(n.HardwareAddr), true
	}
	return e, true
}

func family(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// interfaceNamed is the interface of an index, or an error that names it.
func interfaceNamed(ifindex int) (*net.Interface, error) {
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("interface %d: %s", ifindex, strings.TrimPrefix(err.Error(), "route ip+net: "))
	}
	return ifi, nil
}
