package prober

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// addDummy makes a device that is down and has an address.
func addDummy(name, prefix string) error {
	a := netlink.NewLinkAttrs()
	a.Name = name
	link := &netlink.Bridge{LinkAttrs: a}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	p, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, p)
}

func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}

// linkLocal is the address that the kernel gives a device by itself (RFC 4291 appendix A).
func linkLocal(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// dialFrom connects from a port by number and closes again.
func dialFrom(local string, dst netip.AddrPort) error {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local)), Timeout: patience}
	c, err := d.Dial("tcp", dst.String())
	if err != nil {
		return err
	}
	return c.Close()
}
