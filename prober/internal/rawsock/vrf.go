package rawsock

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// vrfOf is the name of the VRF that an address of this host is in; empty: it is in none, or is not this host's.
func vrfOf(a netip.Addr) string {
	family := netlink.FAMILY_V6
	if a.Is4() {
		family = netlink.FAMILY_V4
	}
	all, err := netlink.AddrList(nil, family)
	if err != nil {
		return "" // then it is not this host's, which is what the kernel has just said
	}
	for i := range all {
		if own, ok := netip.AddrFromSlice(all[i].IP); !ok || own.Unmap() != a.WithZone("") {
			continue
		}
		for index := all[i].LinkIndex; index != 0; {
			link, err := netlink.LinkByIndex(index)
			if err != nil {
				break
			}
			if link.Type() == "vrf" {
				return link.Attrs().Name
			}
			index = link.Attrs().MasterIndex // of a bridge's port, say: no VRF, but it may be in one
		}
	}
	return ""
}
