package wires

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Match chooses packets. It is pure and keeps nothing.
type Match func(Packet) bool

// All chooses what every one of the matches chooses.
func All(ms ...Match) Match {
	return func(p Packet) bool {
		for _, m := range ms {
			if !m(p) {
				return false
			}
		}
		return true
	}
}

// Not chooses what m does not.
func Not(m Match) Match { return func(p Packet) bool { return !m(p) } }

// Any chooses every packet, ARP included.
func Any(Packet) bool { return true }

// TCP chooses TCP segments.
func TCP(p Packet) bool { return p.TCP }

// Going chooses one direction.
func Going(d Direction) Match { return func(p Packet) bool { return p.Dir == d } }

// SYN chooses SYNs without ACK.
func SYN(p Packet) bool { return p.TCP && p.Seg.Flags&(wire.SYN|wire.ACK) == wire.SYN }

// SYNACK chooses SYN-ACKs.
func SYNACK(p Packet) bool { return p.TCP && p.Seg.Flags.Has(wire.SYN|wire.ACK) }

// Data chooses segments with payload.
func Data(p Packet) bool { return p.TCP && p.Seg.Length > 0 }

// Longer chooses frames whose IP packet is longer than octets.
func Longer(octets int) Match {
	return func(p Packet) bool { return len(p.Frame) > ethernetHeader+octets }
}

// From chooses segments by source address.
func From(a netip.Addr) Match {
	return func(p Packet) bool { return p.TCP && p.Seg.Src.Addr() == a }
}

// Between chooses segments of connections with host a, both directions.
func Between(a netip.Addr) Match {
	return func(p Packet) bool { return p.TCP && (p.Seg.Src.Addr() == a || p.Seg.Dst.Addr() == a) }
}

// Pushed chooses segments with PSH: on Linux the last of a write.
func Pushed(p Packet) bool { return p.TCP && p.Seg.Flags&wire.PSH != 0 }
