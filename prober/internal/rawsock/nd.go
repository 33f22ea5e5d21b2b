package rawsock

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// icmp6Advertise is the type of a neighbour advertisement (RFC 4861 §4.4).
const icmp6Advertise = 136

// openND prepares to ask for hop by IPv6 neighbour solicitation (RFC 4861 §7.2) on ifi, in the name of sender.
func openND(ifi *net.Interface, sender, hop netip.Addr) (*question, error) {
	request, err := solicitation(wire.MAC(ifi.HardwareAddr), sender.WithZone(""), hop)
	if err != nil {
		return nil, fmt.Errorf("make neighbour solicitation: %w", err)
	}
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: netOffset + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: netOffset + 40, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmp6Advertise, SkipTrue: 1},
		bpf.RetConstant{Val: 512},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, fmt.Errorf("advertisement filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, int(wire.EtherIPv6), &packet.Config{Filter: filter})
	if err != nil {
		return nil, socketError("open neighbour discovery socket on "+ifi.Name, err)
	}
	return &question{conn, request, func(b []byte) (wire.MAC, error) { return advertised(b, hop) }}, nil
}

// solicitation is the frame that asks for target: to its solicited-node group, on that group's Ethernet address. From an
// unspecified sender it carries no source link-layer option (RFC 4861 §4.3).
func solicitation(mac wire.MAC, sender, target netip.Addr) ([]byte, error) {
	group := wire.SolicitedNode(target)
	nd := wire.ND{
		Kind: wire.NeighborSolicitation, Src: sender, Dst: group, Target: target,
		Link: mac, HasLink: !sender.IsUnspecified(),
	}
	eth := wire.Ethernet{Src: mac, Type: wire.EtherIPv6}
	eth.Dst, _ = wire.MulticastMAC(group)
	b := make([]byte, eth.Size()+nd.Size())
	n := wire.PutEthernet(b, &eth)
	_, err := nd.Encode(b[n:])
	return b, err
}

// advertised returns the link address that an advertisement gives for hop: its target link-layer option, which every answer to a
// multicast solicitation must have (RFC 4861 §7.2.4).
func advertised(frame []byte, hop netip.Addr) (wire.MAC, error) {
	eth, packet, reason := wire.ParseEthernet(frame)
	switch {
	case reason != wire.ReasonNone:
		return wire.MAC{}, fmt.Errorf("%w: %w", errMalformed, reason)
	case eth.Type != wire.EtherIPv6:
		return wire.MAC{}, errNotReply
	}
	var nd wire.ND
	if r := wire.ParseND(packet, &nd); r != wire.ReasonNone {
		return wire.MAC{}, fmt.Errorf("%w: %w", errMalformed, r)
	}
	switch {
	case nd.Kind != wire.NeighborAdvertisement:
		return wire.MAC{}, errNotReply
	case nd.Target != hop:
		return wire.MAC{}, errOtherHost
	case !nd.HasLink:
		return wire.MAC{}, errNoHostMAC
	}
	return hostMAC(nd.Link)
}
