package prober

import (
	"net"
	"net/netip"
)

// ownAddresses lists this host's global unicast addresses of the family of like, of one device where it is named. What cannot be read is
// left out: experiments that want another source then have none.
func ownAddresses(device string, like netip.Addr) []netip.Addr {
	list, err := net.InterfaceAddrs()
	if device != "" {
		var d *net.Interface
		if d, err = net.InterfaceByName(device); err == nil {
			list, err = d.Addrs()
		}
	}
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr().Unmap()
		if addr.IsGlobalUnicast() && addr.Is4() == like.Unmap().Is4() {
			out = append(out, addr)
		}
	}
	return out
}
