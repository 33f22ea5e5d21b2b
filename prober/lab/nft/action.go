package nft

import (
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Drop discards the packet in silence.
func Drop() Part { return Part{&expr.Verdict{Kind: expr.VerdictDrop}} }

// Accept lets the packet pass this chain.
func Accept() Part { return Part{&expr.Verdict{Kind: expr.VerdictAccept}} }

// Reset answers with a TCP RST and drops.
func Reset() Part { return Part{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

// Unreachable answers with ICMP port unreachable (RFC 792: code 3) and drops.
func Unreachable() Part { return Part{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3}} }

// Prohibited answers with ICMP "communication administratively prohibited" (code 13, RFC 1812 §5.2.7.1).
func Prohibited() Part { return Part{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 13}} }

// ToDestination rewrites the destination to an address and port.
func ToDestination(to netip.AddrPort) Part {
	return nat(expr.NATTypeDestNAT, to.Addr(), to.Port(), to.Port())
}

// FromSource rewrites the source to an address and, where min is not 0, to a port of min … max.
func FromSource(a netip.Addr, min, max uint16) Part { return nat(expr.NATTypeSourceNAT, a, min, max) }

func nat(typ expr.NATType, a netip.Addr, min, max uint16) Part {
	family := uint32(unix.NFPROTO_IPV4)
	if a.Is6() {
		family = unix.NFPROTO_IPV6
	}
	n := &expr.NAT{Type: typ, Family: family, RegAddrMin: reg}
	p := Part{&expr.Immediate{Register: reg, Data: a.AsSlice()}}
	if min != 0 {
		p = append(p, &expr.Immediate{Register: regB, Data: be16(min)}, &expr.Immediate{Register: 3, Data: be16(max)})
		n.RegProtoMin, n.RegProtoMax, n.Specified = regB, 3, true
	}
	return append(p, n)
}

// Masquerade rewrites the source to the outgoing device's address.
func Masquerade() Part { return Part{&expr.Masq{}} }

// SYNProxy answers SYNs in the host's name and connects onward only after the handshake's ACK.
func SYNProxy(mss uint16, scale uint8) Part {
	return Part{&expr.SynProxy{Mss: mss, Wscale: scale, Timestamp: true, SackPerm: true, MssValueSet: true, WscaleValueSet: true}}
}

// NoTrack exempts the packet from connection tracking.
func NoTrack() Part { return Part{&expr.Notrack{}} }

// RoundRobin is the rules that send the packets matching all of match to each destination in turn.
func RoundRobin(to []netip.AddrPort, match ...Part) []Rule {
	var rules []Rule
	for i, d := range to {
		r := append(Rule{}, match...)
		if left := len(to) - i; left > 1 {
			r = append(r, OneOf(uint32(left)))
		}
		rules = append(rules, append(r, ToDestination(d)))
	}
	return rules
}

// Hashed is the same by a hash of the flow's source, so that a flow always meets the same destination.
func Hashed(family Family, seed uint32, to []netip.AddrPort, match ...Part) []Rule {
	var rules []Rule
	for i, d := range to {
		r := append(Rule{}, match...)
		r = append(r, HashOf(family, uint32(len(to)), uint32(i), seed))
		rules = append(rules, append(r, ToDestination(d)))
	}
	return rules
}
