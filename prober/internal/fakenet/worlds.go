package fakenet

import (
	"net/netip"
)

// addresses of every world: the vantage is 192.0.2.10.
func target() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 80}), 80) }

// server is a world with one host on the vantage's own link, behind the given elements.
func server(seed uint64, elements ...Element) (*World, *Host) {
	h := NewHost(target(), seed)
	return New(seed, target(), append(elements, h)...), h
}

// Clean is a healthy server.
func Clean(seed uint64) *World {
	w, _ := server(seed)
	return w
}
