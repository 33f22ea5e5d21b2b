package neigh

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Disposition says what became of a frame: OK, or why it was passed over. Readers count by it.
type Disposition uint8

// The dispositions. Those of Neighbor Discovery are wire's reasons, named nd_….
const (
	OK              Disposition = iota
	NotNeighbor                 // neither ARP nor IPv6
	Short                       // ends before its addresses do
	HardwareType                // not Ethernet (RFC 826; IANA hardware type 1)
	ProtocolType                // not IPv4
	AddressLength               // hardware addresses not of 6 octets, or protocol addresses not of 4
	Operation                   // neither request nor reply
	SenderMAC                   // a group address, which no host has (IEEE 802.3 §3.2.3)
	SenderAddress               // broadcast or multicast, or none in a reply
	discovery       Disposition = 64
	dispositionSize             = int(SenderAddress) + 1
)

func (d Disposition) String() string {
	names := [dispositionSize]string{
		"ok", "not_neighbor", "short", "hardware_type", "protocol_type", "address_length", "operation", "sender_mac", "sender_address",
	}
	if d > discovery {
		return "nd_" + wire.Reason(d-discovery).String()
	}
	for i, name := range names {
		if int(d) == i {
			return name
		}
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// Parse decodes the network layer of an ARP or IPv6 frame into an event whose At, Outgoing, IfIndex and FrameMAC are the
// caller's to fill. In an answer Sender is the address answered for and Target who asked. A sender that has no address yet
// (an RFC 5227 probe, duplicate address detection) is the zero netip.Addr.
func Parse(etherType uint16, net []byte) (observe.NeighborEvent, Disposition) {
	switch etherType {
	case uint16(wire.EtherARP):
		return ParseARP(net)
	case uint16(wire.EtherIPv6):
		return ParseND(net)
	}
	return observe.NeighborEvent{}, NotNeighbor
}

// ParseARP decodes an ARP packet (RFC 826). Octets after it (Ethernet padding) are ignored.
func ParseARP(b []byte) (observe.NeighborEvent, Disposition) {
	var p arp.Packet
	if d := decode(b, &p); d != OK {
		return observe.NeighborEvent{}, d
	}
	e := observe.NeighborEvent{
		Kind: observe.NeighborRequest, Sender: p.SenderIP, Target: p.TargetIP, SenderMAC: p.SenderHardwareAddr.String(),
	}
	switch {
	case p.SenderIP == p.TargetIP:
		e.Kind = observe.NeighborGratuitous
	case p.Operation == arp.OperationReply:
		e.Kind = observe.NeighborReply
	}
	if p.SenderIP.IsUnspecified() {
		e.Sender = netip.Addr{}
	}
	return e, OK
}

// decode is arp.Packet's own decoding with what it leaves to its users.
//
//	 0                   1                   2                   3
//	+-------------------+-------------------+
//	|   hardware type   |   protocol type   |
//	| hlen    | plen    |     operation     |
//	| sender hardware address (6), protocol address (4)
//	| target hardware address (6), protocol address (4)
func decode(b []byte, p *arp.Packet) Disposition {
	if len(b) < 8 {
		return Short
	}
	// before the packet is decoded: its lengths rule how much is copied
	switch {
	case binary.BigEndian.Uint16(b) != 1:
		return HardwareType
	case binary.BigEndian.Uint16(b[2:]) != uint16(wire.EtherIPv4):
		return ProtocolType
	case b[4] != 6 || b[5] != 4:
		return AddressLength
	}
	if err := p.UnmarshalBinary(b); err != nil {
		return Short
	}
	return judge(p)
}

func judge(p *arp.Packet) Disposition {
	reply := p.Operation == arp.OperationReply
	switch {
	case p.Operation != arp.OperationRequest && !reply:
		return Operation
	case p.SenderHardwareAddr[0]&1 != 0:
		return SenderMAC
	case p.SenderIP.IsMulticast(), p.SenderIP == netip.AddrFrom4([4]byte{255, 255, 255, 255}), reply && p.SenderIP.IsUnspecified():
		return SenderAddress
	}
	return OK
}

// ParseND decodes a Neighbor Solicitation or Advertisement in an IPv6 packet. An advertisement to a group that nobody
// solicited is Gratuitous (RFC 4861 §7.2.6).
func ParseND(b []byte) (observe.NeighborEvent, Disposition) {
	var n wire.ND
	if r := wire.ParseND(b, &n); r != wire.ReasonNone {
		return observe.NeighborEvent{}, discovery + Disposition(r)
	}
	e := observe.NeighborEvent{Kind: observe.NeighborRequest, Sender: n.Src, Target: n.Target}
	if n.HasLink {
		e.SenderMAC = n.Link.String()
	}
	if n.Kind == wire.NeighborAdvertisement {
		e.Kind, e.Sender, e.Target = observe.NeighborReply, n.Target, n.Dst
		if !n.Solicited && n.Dst.IsMulticast() {
			e.Kind, e.Target = observe.NeighborGratuitous, n.Target
		}
	}
	if e.Sender.IsUnspecified() {
		e.Sender = netip.Addr{}
	}
	return e, OK
}
