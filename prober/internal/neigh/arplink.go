package neigh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// arpLink speaks ARP by mdlayher/arp, whose Client needs an IPv4 address on the interface.
type arpLink struct {
	*arp.Client
	p *port
}

var _ link = (*arpLink)(nil)

func dialARP(ifi *net.Interface) (link, error) {
	p, err := openPort(ifi, wire.EtherARP, nil)
	if err != nil {
		return nil, err
	}
	client, err := arp.New(ifi, p.conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use ARP on %s: %w", ifi.Name, err), p.conn.Close())
	}
	return &arpLink{client, p}, nil
}

func (l *arpLink) port() *port  { return l.p }
func (l *arpLink) close() error { return l.Close() }

func (l *arpLink) read() (message, error) {
	for {
		p, _, err := l.Read()
		switch {
		case socketFault(err):
			return message{}, err
		case err != nil: // no Ethernet frame or no ARP packet: arp.Client's own parse errors
			l.p.ignored[Short.String()]++
			continue
		}
		if d := accept(p); d != OK {
			l.p.ignored[d.String()]++
			continue
		}
		m := message{
			request: p.Operation == arp.OperationRequest, sender: p.SenderIP, target: p.TargetIP, mac: wire.MAC(p.SenderHardwareAddr),
		}
		if m.sender.IsUnspecified() {
			m.sender = netip.Addr{}
		}
		return m, nil
	}
}

// accept is decode's judgement of a packet that mdlayher/arp has decoded already.
func accept(p *arp.Packet) Disposition {
	switch {
	case p.HardwareType != 1:
		return HardwareType
	case p.ProtocolType != uint16(wire.EtherIPv4):
		return ProtocolType
	case p.HardwareAddrLength != 6 || p.IPLength != 4:
		return AddressLength
	}
	return judge(p)
}

// probe is RFC 5227 §2.1.1's: sender address and target hardware address all zero.
func (l *arpLink) probe(addr netip.Addr) error {
	return l.send(arp.OperationRequest, l.p.mac, netip.IPv4Unspecified(), wire.MAC{}, addr, ethernet.Broadcast)
}

func (l *arpLink) answer(addr netip.Addr, mac wire.MAC, to netip.Addr, toMAC wire.MAC) error {
	return l.send(arp.OperationReply, mac, addr, toMAC, to, net.HardwareAddr(toMAC[:]))
}

func (l *arpLink) send(op arp.Operation, mac wire.MAC, from netip.Addr, toMAC wire.MAC, to netip.Addr, frame net.HardwareAddr) error {
	p, err := arp.NewPacket(op, mac[:], from, toMAC[:], to)
	if err != nil {
		return fmt.Errorf("make an ARP packet: %w", err)
	}
	if err := l.WriteTo(p, frame); err != nil {
		return fmt.Errorf("send ARP on %s: %w", l.p.ifi.Name, err)
	}
	return nil
}
