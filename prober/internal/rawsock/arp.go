package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// openARP prepares to ask for hop by ARP (RFC 826) on ifi, in the name of sender.
func openARP(ifi *net.Interface, sender, hop netip.Addr) (*question, error) {
	request, err := arpRequest(ifi.HardwareAddr, sender, hop)
	if err != nil {
		return nil, fmt.Errorf("make ARP request: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, int(wire.EtherARP), nil)
	if err != nil {
		return nil, socketError("open ARP socket on "+ifi.Name, err)
	}
	return &question{conn, request, func(b []byte) (wire.MAC, error) { return arpAnswer(b, hop) }}, nil
}

func arpRequest(mac net.HardwareAddr, sender, hop netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(arp.OperationRequest, mac, sender, ethernet.Broadcast, hop)
	if err != nil {
		return nil, err
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	f := ethernet.Frame{
		Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: body,
	}
	return f.MarshalBinary()
}

// Why a frame on an ARP or neighbour-discovery socket is not the answer.
var (
	errMalformed = errors.New("malformed")
	errNotReply  = errors.New("not a reply")
	errOtherHost = errors.New("of another host")
	errNoHostMAC = errors.New("gives no link address of a host")
)

// arpAnswer returns the link address that hop gives for itself.
func arpAnswer(frame []byte, hop netip.Addr) (wire.MAC, error) {
	var f ethernet.Frame
	var p arp.Packet
	if err := f.UnmarshalBinary(frame); err != nil {
		return wire.MAC{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := p.UnmarshalBinary(f.Payload); err != nil {
		return wire.MAC{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	switch {
	case p.Operation != arp.OperationReply:
		return wire.MAC{}, errNotReply
	case p.SenderIP != hop:
		return wire.MAC{}, errOtherHost
	case len(p.SenderHardwareAddr) != 6:
		return wire.MAC{}, errNoHostMAC
	}
	return hostMAC(wire.MAC(p.SenderHardwareAddr))
}

// hostMAC refuses what no host has: a group address, all zeros.
func hostMAC(m wire.MAC) (wire.MAC, error) {
	if m.IsMulticast() || m == (wire.MAC{}) {
		return wire.MAC{}, errNoHostMAC
	}
	return m, nil
}
