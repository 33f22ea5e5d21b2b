package kdial

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// sockets makes and names the sockets of one burst.
type sockets struct {
	// needPort makes every socket take its port before connect(2).
	needPort bool
	sources  sources
	address  sockaddr
	oob      [256]byte
}

// errRefuse is a connect that must not be made as asked.
type errRefuse struct{ why string }

func (e errRefuse) Error() string { return e.why }

// errSetup is a system call that failed before connect(2), with what was tried.
type errSetup struct {
	tried string
	errno unix.Errno
}

func (e errSetup) Error() string { return e.tried + ": " + e.errno.Error() }
func (e errSetup) Unwrap() error { return e.errno }

func setup(tried string, err error) error {
	if err == nil {
		return nil
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errSetup{tried, errno}
	}
	return fmt.Errorf("%s: %w", tried, err)
}

// open makes the socket of c, sets its options and binds it. On an error the slot has no socket.
func (k *sockets) open(c *Conn, s *slot) error {
	if err := check(c); err != nil {
		return err
	}
	family := unix.AF_INET6
	if c.Dst.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err := streamSocket(family)
	if err != nil {
		return setup("make a socket", err)
	}
	if err := k.dress(fd, family, c, s); err != nil {
		closeSocket(fd)
		return err
	}
	s.fd = int32(fd)
	return nil
}

// check refuses what no system call would make sense of.
func check(c *Conn) error {
	dst, src := c.Dst.Addr().Unmap(), c.Src.Addr().Unmap()
	switch {
	case !dst.IsValid() || dst.IsUnspecified():
		return errRefuse{"no destination address"}
	case c.Dst.Port() == 0:
		return errRefuse{"no destination port"}
	case src.IsValid() && src.Is4() != dst.Is4():
		return errRefuse{fmt.Sprintf("source %s and destination %s are of different families", src, dst)}
	case c.Close == plan.WaitForPeer:
		return errRefuse{"a kernel connect does not wait for the peer's close"}
	case c.SynCount < 0 || c.SynCount > 127:
		return errRefuse{fmt.Sprintf("SYN count %d is not within 1 and 127", c.SynCount)}
	}
	return nil
}

func (k *sockets) dress(fd, family int, c *Conn, s *slot) error {
	if err := options(fd, family, c); err != nil {
		return err
	}
	return k.bind(fd, c, s)
}

func options(fd, family int, c *Conn) error {
	level, hops := unix.IPPROTO_IP, unix.IP_TTL
	if family == unix.AF_INET6 {
		level, hops = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		// what sockets.icmp needs for IPv6; an ICMPv6 error ends a connect in SYN_SENT with and without it (seen on 6.18)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
			return setup("set IPV6_RECVERR", err)
		}
		// without it [::]:port is taken as soon as any IPv4 socket of the host has the port
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return setup("set IPV6_V6ONLY", err)
		}
	}
	if err := routeOptions(fd, family, c); err != nil {
		return err
	}
	if c.Close != plan.CloseFirst {
		// set now and not at the end: should this process be killed, its connections end as they would have
		if err := abort(fd); err != nil {
			return setup("set SO_LINGER", err)
		}
	}
	if c.HopLimit != 0 {
		if err := unix.SetsockoptInt(fd, level, hops, int(c.HopLimit)); err != nil {
			return setup("set the hop limit", err)
		}
	}
	if err := dataOptions(fd, &c.Data); err != nil {
		return err
	}
	if c.SynCount != 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, c.SynCount); err != nil {
			return setup("set TCP_SYNCNT", err)
		}
	}
	return nil
}

// routeOptions sets what a route look-up depends on.
func routeOptions(fd, family int, c *Conn) error {
	level, tos := unix.IPPROTO_IP, unix.IP_TOS
	if family == unix.AF_INET6 {
		level, tos = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if c.Interface != "" {
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, c.Interface); err != nil {
			return setup("bind to interface "+c.Interface, err)
		}
	}
	if c.ToS != 0 {
		if err := unix.SetsockoptInt(fd, level, tos, int(c.ToS)); err != nil {
			return setup("set the type of service", err)
		}
	}
	return nil
}

// bind gives the socket its local end, and the slot the address it will have.
func (k *sockets) bind(fd int, c *Conn, s *slot) error {
	src := c.Src.Addr().Unmap()
	port := c.Src.Port()
	given := src.IsValid() && !src.IsUnspecified()
	if !given {
		s.learned = true
		if port == 0 && !k.needPort {
			return nil // connect(2) chooses both
		}
		if src = netip.IPv4Unspecified(); !c.Dst.Addr().Unmap().Is4() {
			src = netip.IPv6Unspecified()
		}
	}
	if given && port == 0 && !k.needPort {
		// Linux ≥ 4.2: bind(2) fixes the address only and connect(2) chooses a port that is free for this destination
		// (net/ipv4/inet_connection_sock.c, inet_hashtables.c); older kernels refuse the option and take the port now
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		s.learned = true
	}
	if err := k.aim(netip.AddrPortFrom(src, port), c.Dst.Addr().Zone()); err != nil {
		return err
	}
	if err := bindTo(fd, &k.address); err != nil {
		return setup("bind to "+netip.AddrPortFrom(src, port).String(), err)
	}
	s.local = netip.AddrPortFrom(src.WithZone(""), port)
	if port == 0 {
		if local, ok := k.name(fd); ok {
			s.local = local
		}
	}
	if !given && k.needPort {
		from, err := k.sources.of(c, k)
		if err != nil {
			return err
		}
		s.local = netip.AddrPortFrom(from, s.local.Port())
	}
	return nil
}

// connect begins the handshake.
func (k *sockets) connect(fd int, c *Conn) error {
	if err := k.aim(c.Dst, ""); err != nil {
		return err
	}
	return connectTo(fd, &k.address)
}

// aim writes the burst's address structure, which holds until the next call; zone is for an address that has none of its own.
func (k *sockets) aim(a netip.AddrPort, zone string) error {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		k.address.set(netip.AddrPortFrom(addr, a.Port()), 0)
		return nil
	}
	if addr.Zone() != "" {
		zone = addr.Zone()
	}
	var scope uint32
	if zone != "" {
		var err error
		if scope, err = zoneIndex(zone); err != nil {
			return err
		}
	}
	k.address.set(a, scope)
	return nil
}

// zoneIndex turns an IPv6 zone (RFC 4007 §11.2: a number or an interface name) into an interface index.
func zoneIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, errRefuse{fmt.Sprintf("IPv6 zone %q: no such interface", zone)}
	}
	return uint32(ifi.Index), nil
}

// name is the socket's local end.
func (k *sockets) name(fd int) (netip.AddrPort, bool) { return nameOf(fd, &k.address) }
