package neigh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// link is an ARP client on one interface. Its socket, bound to one EtherType, sees what comes in and nothing of what this
// host sends.
type link struct {
	client *arp.Client
	conn   *packet.Conn
	mac    wire.MAC // the interface's own
	name   string
	// ignored counts frames by disposition; "frame" is one that is no Ethernet frame or ARP packet at all.
	ignored map[string]int
}

// dial opens the client. It needs CAP_NET_RAW, an Ethernet interface that is up, and, for mdlayher/arp, an IPv4 address on it.
func dial(ifindex int) (*link, error) {
	ifi, err := interfaceNamed(ifindex)
	if err != nil {
		return nil, err
	}
	if len(ifi.HardwareAddr) != 6 || ifi.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("%s speaks no ARP: not Ethernet, or down", ifi.Name)
	}
	conn, err := packet.Listen(ifi, packet.Raw, etherARP, nil)
	if err != nil {
		return nil, fmt.Errorf("open an ARP socket on %s (CAP_NET_RAW): %w", ifi.Name, err)
	}
	client, err := arp.New(ifi, conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use ARP on %s: %w", ifi.Name, err), conn.Close())
	}
	return &link{client: client, conn: conn, mac: wire.MAC(ifi.HardwareAddr), name: ifi.Name, ignored: make(map[string]int)}, nil
}

func (l *link) close() error { return l.client.Close() }

// read returns the next ARP packet that is in order. Hostile ones are counted and passed over; the only errors are those
// of the socket, its deadline among them.
func (l *link) read() (*arp.Packet, wire.MAC, error) {
	for {
		p, frame, err := l.client.Read()
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			return nil, wire.MAC{}, err
		}
		if err != nil {
			l.ignored["frame"]++
			continue
		}
		if d := accept(p); d != OK {
			l.ignored[d.String()]++
			continue
		}
		return p, wire.MAC(frame.Source), nil
	}
}

// accept is decode's judgement of a packet that mdlayher/arp has decoded already.
func accept(p *arp.Packet) Disposition {
	switch {
	case p.HardwareType != 1:
		return HardwareType
	case p.ProtocolType != 0x0800:
		return ProtocolType
	case p.HardwareAddrLength != 6 || p.IPLength != 4:
		return AddressLength
	}
	return judge(p)
}

// send writes one ARP packet to a hardware address.
func (l *link) send(op arp.Operation, mac wire.MAC, from netip.Addr, toMAC wire.MAC, to netip.Addr, frame net.HardwareAddr) error {
	p, err := arp.NewPacket(op, mac[:], from, toMAC[:], to)
	if err != nil {
		return fmt.Errorf("make an ARP packet: %w", err)
	}
	if err := l.client.WriteTo(p, frame); err != nil {
		return fmt.Errorf("send ARP on %s: %w", l.name, err)
	}
	return nil
}

// probe asks who has addr without saying who asks (RFC 5227 §2.1.1): sender address and target hardware address all zero.
// Nobody learns us from it.
func (l *link) probe(addr netip.Addr) error {
	return l.send(arp.OperationRequest, l.mac, netip.IPv4Unspecified(), wire.MAC{}, addr, ethernet.Broadcast)
}

// past is a deadline that wakes a blocked read.
func past() time.Time { return time.Unix(1, 0) }
