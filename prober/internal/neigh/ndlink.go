package neigh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// ndLink speaks Neighbor Discovery (RFC 4861) about one address. It is in that address's solicited-node group, by a socket
// of the kernel's own, so that the interface and switches that snoop MLD let the solicitations through.
type ndLink struct {
	p     *port
	group int // the socket that holds the membership
	in    [1500]byte
}

var _ link = (*ndLink)(nil)

func dialND(ifi *net.Interface, addr netip.Addr) (link, error) {
	filter, err := bpf.Assemble(discoveryOnly())
	if err != nil {
		return nil, fmt.Errorf("assemble the filter for Neighbor Discovery: %w", err)
	}
	p, err := openPort(ifi, wire.EtherIPv6, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	group, err := join(ifi, wire.SolicitedNode(addr))
	if err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	return &ndLink{p: p, group: group}, nil
}

// discoveryOnly lets solicitations and advertisements pass: next header 58 right after the IPv6 header, type 135 or 136
// (RFC 4861 §4.3, §4.4). Others would fill the socket's buffer. Extension headers are not followed: no host sends any here.
func discoveryOnly() []bpf.Instruction {
	const ether = 14
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ether + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: ether + 40, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 136, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1500},
	}
}

// join enters a multicast group on the interface; closing the socket leaves it.
func join(ifi *net.Interface, group netip.Addr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	m := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifi.Index)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &m); err != nil {
		return 0, errors.Join(fmt.Errorf("join %s on %s: %w", group, ifi.Name, err), unix.Close(fd))
	}
	return fd, nil
}

func (l *ndLink) port() *port  { return l.p }
func (l *ndLink) close() error { return errors.Join(l.p.conn.Close(), unix.Close(l.group)) }

func (l *ndLink) read() (message, error) {
	for {
		n, _, err := l.p.conn.ReadFrom(l.in[:])
		if err != nil {
			return message{}, err
		}
		m, d := l.decode(l.in[:n])
		if d == OK {
			return m, nil
		}
		l.p.ignored[d.String()]++
	}
}

// decode takes a solicitation's sender from its packet and an advertisement's from what it speaks for. Without the
// link-layer option, the frame's source is the sender's (RFC 4861 §4.3: optional where the solicitation is unicast).
func (l *ndLink) decode(b []byte) (message, Disposition) {
	frame, payload, r := wire.ParseEthernet(b)
	if r != wire.ReasonNone {
		return message{}, discovery + Disposition(r)
	}
	var n wire.ND
	if r := wire.ParseND(payload, &n); r != wire.ReasonNone {
		return message{}, discovery + Disposition(r)
	}
	m := message{request: n.Kind == wire.NeighborSolicitation, sender: n.Src, target: n.Target, mac: frame.Src}
	if n.HasLink {
		m.mac = n.Link
	}
	if !m.request {
		m.sender, m.target = n.Target, n.Dst
	}
	switch {
	case m.mac.IsMulticast():
		return message{}, SenderMAC
	case m.sender.IsUnspecified():
		m.sender = netip.Addr{}
	}
	return m, OK
}

// probe is the solicitation of Duplicate Address Detection (RFC 4862 §5.4.2): from the unspecified address, without the
// link-layer option.
func (l *ndLink) probe(addr netip.Addr) error {
	group := wire.SolicitedNode(addr)
	mac, _ := wire.MulticastMAC(group)
	return l.send(l.p.mac, mac, &wire.ND{Kind: wire.NeighborSolicitation, Src: netip.IPv6Unspecified(), Dst: group, Target: addr})
}

func (l *ndLink) answer(addr netip.Addr, mac wire.MAC, to netip.Addr, toMAC wire.MAC) error {
	return l.send(mac, toMAC, &wire.ND{
		Kind: wire.NeighborAdvertisement, Src: addr, Dst: to, Target: addr, Link: mac, HasLink: true, Solicited: true, Override: true,
	})
}

func (l *ndLink) send(from, to wire.MAC, n *wire.ND) error {
	e := wire.Ethernet{Dst: to, Src: from, Type: wire.EtherIPv6}
	b := make([]byte, e.Size()+n.Size())
	at := wire.PutEthernet(b, &e)
	if _, err := n.Encode(b[at:]); err != nil {
		return err
	}
	if _, err := l.p.conn.WriteTo(b, &packet.Addr{HardwareAddr: to[:]}); err != nil {
		return fmt.Errorf("send a neighbor %s on %s: %w", n.Kind, l.p.ifi.Name, err)
	}
	return nil
}
