package wires

import (
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

// ShorterThan chooses segments with less payload than octets: with Data, the short last one of an answer.
func ShorterThan(octets int) Match {
	return func(p Packet) bool { return p.TCP && p.Seg.Length < octets }
}
