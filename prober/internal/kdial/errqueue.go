package kdial

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// origin is who sent an ICMP error and which; the zero value means none.
type origin struct {
	from       netip.Addr
	v6         bool
	kind, code uint8
}

// icmp drains a socket's error queue and returns the last ICMP error in it, or else the one given. Linux ≥ 5.8 queues the
// ICMP errors of a TCP socket in SYN_SENT: IPv4's always (net/ipv4/tcp_ipv4.c tcp_v4_err), IPv6's where IPV6_RECVERR is set
// (net/ipv6/datagram.c ipv6_icmp_error; both seen on 6.18). Older kernels queue none, and then only the errno is known.
func (k *sockets) icmp(fd int, last origin) origin {
	for range 8 { // each SYN may have drawn one; the rest dies with the socket
		_, n, _, _, err := unix.Recvmsg(fd, nil, k.oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return last
		}
		if o, ok := parseErrorQueue(k.oob[:n]); ok {
			last = o
		}
	}
	return last
}

// parseErrorQueue finds the ICMP error among control messages: a struct sock_extended_err (include/uapi/linux/errqueue.h)
// followed by the sockaddr of the sender.
//
//	0       4       5      6      7     8       12      16
//	+-------+-------+------+------+-----+-------+-------+----------+
//	| errno |origin | type | code | pad | info  | data  | sockaddr |
//	+-------+-------+------+------+-----+-------+-------+----------+
func parseErrorQueue(oob []byte) (origin, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return origin{}, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < 16+8 {
			continue
		}
		o := origin{v6: v6, kind: m.Data[5], code: m.Data[6]}
		from := m.Data[16:]
		switch family := binary.NativeEndian.Uint16(from); {
		case m.Data[4] == unix.SO_EE_ORIGIN_ICMP && family == unix.AF_INET:
			o.from = netip.AddrFrom4([4]byte(from[4:8])) // struct sockaddr_in: family, port, address
		case m.Data[4] == unix.SO_EE_ORIGIN_ICMP6 && family == unix.AF_INET6 && len(from) >= 24:
			o.from = netip.AddrFrom16([16]byte(from[8:24])) // struct sockaddr_in6: family, port, flow, address
		default:
			continue
		}
		return o, true
	}
	return origin{}, false
}

// String names the error as RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1 and RFC 4443 §3 do.
func (o origin) String() string {
	type key struct {
		v6         bool
		kind, code uint8
	}
	names := map[key]string{
		{false, 3, 0}:  "network unreachable",
		{false, 3, 1}:  "host unreachable",
		{false, 3, 2}:  "protocol unreachable",
		{false, 3, 3}:  "port unreachable",
		{false, 3, 4}:  "fragmentation needed",
		{false, 3, 9}:  "network administratively prohibited",
		{false, 3, 10}: "host administratively prohibited",
		{false, 3, 13}: "communication administratively prohibited",
		{false, 11, 0}: "time exceeded in transit",
		{true, 1, 0}:   "no route to destination",
		{true, 1, 1}:   "communication administratively prohibited",
		{true, 1, 2}:   "beyond scope of source address",
		{true, 1, 3}:   "address unreachable",
		{true, 1, 4}:   "port unreachable",
		{true, 1, 5}:   "source address failed policy",
		{true, 1, 6}:   "reject route to destination",
		{true, 3, 0}:   "hop limit exceeded in transit",
	}
	family := "ICMP"
	if o.v6 {
		family = "ICMPv6"
	}
	if name, ok := names[key{o.v6, o.kind, o.code}]; ok {
		return fmt.Sprintf("%s %s from %s", family, name, o.from)
	}
	return fmt.Sprintf("%s type %d code %d from %s", family, o.kind, o.code, o.from)
}

// localAddrs are this namespace's own addresses, read once per burst and only when an ICMP error must be placed.
type localAddrs struct {
	known map[netip.Addr]bool
}

func (l *localAddrs) has(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	if l.known == nil {
		l.known = make(map[netip.Addr]bool)
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return false // then an error of our own counts as one from outside, as it would without an error queue
		}
		for _, x := range addrs {
			if p, err := netip.ParsePrefix(x.String()); err == nil {
				l.known[p.Addr().Unmap().WithZone("")] = true
			}
		}
	}
	return l.known[a]
}
