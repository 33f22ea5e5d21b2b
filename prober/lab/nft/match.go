package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// The register that matches use; 32-bit registers for what is hashed together.
const (
	reg  = 1
	regB = 2
	reg0 = unix.NFT_REG32_00
)

func load(base expr.PayloadBase, offset, length, into uint32) expr.Any {
	return &expr.Payload{DestRegister: into, Base: base, Offset: offset, Len: length}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// TCP matches TCP packets.
func TCP() Part {
	return Part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{unix.IPPROTO_TCP})}
}

// Timestamps matches segments with the timestamps option (kind 8, RFC 7323 §3.2).
func Timestamps() Part {
	const kind = 8
	return Part{&expr.Exthdr{DestRegister: reg, Type: kind, Len: 1, Op: expr.ExthdrOpTcpopt}, equal([]byte{kind})}
}

// EchoRequest matches ICMP echo requests (RFC 792).
func EchoRequest() Part {
	return Part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{unix.IPPROTO_ICMP}), load(expr.PayloadBaseTransportHeader, 0, 1, reg), equal([]byte{8})}
}

// TooBig matches ICMP errors that name a smaller MTU: "fragmentation needed" (RFC 1191 §4: type 3 code 4), in IPv6 "packet too big" (RFC 4443 §3.2:
// type 2).
func TooBig(f Family) Part {
	proto, say := byte(unix.IPPROTO_ICMP), []byte{3, 4}
	if f == IPv6 {
		proto, say = unix.IPPROTO_ICMPV6, []byte{2, 0}
	}
	return Part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{proto}), load(expr.PayloadBaseTransportHeader, 0, 2, reg), equal(say)}
}

// DstPort matches TCP packets to a port.
func DstPort(port uint16) Part {
	return append(TCP(), load(expr.PayloadBaseTransportHeader, 2, 2, reg), equal(be16(port)))
}

// FlagsSet matches TCP packets in which, of the bits of mask, exactly those of want are set.
func FlagsSet(want, mask wire.Flags) Part {
	return append(TCP(), load(expr.PayloadBaseTransportHeader, 13, 1, reg),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{byte(mask)}, Xor: []byte{0}},
		equal([]byte{byte(want)}))
}

// SYN matches first and repeated SYNs, not SYN-ACKs.
func SYN() Part { return FlagsSet(wire.SYN, wire.SYN|wire.ACK|wire.RST|wire.FIN) }

// Src matches the source address.
func Src(a netip.Addr) Part { return address(a, 12, 8) }

// Dst matches the destination address.
func Dst(a netip.Addr) Part { return address(a, 16, 24) }

func address(a netip.Addr, offset4, offset6 uint32) Part {
	if a.Is4() {
		return Part{load(expr.PayloadBaseNetworkHeader, offset4, 4, reg), equal(a.AsSlice())}
	}
	return Part{load(expr.PayloadBaseNetworkHeader, offset6, 16, reg), equal(a.AsSlice())}
}

// ARPRequest matches ARP requests (RFC 826: operation 1 at octet 6).
func ARPRequest() Part { return Part{load(expr.PayloadBaseNetworkHeader, 6, 2, reg), equal(be16(1))} }

// ARPSender matches the sender's protocol address (octet 14).
func ARPSender(a netip.Addr) Part {
	return Part{load(expr.PayloadBaseNetworkHeader, 14, 4, reg), equal(a.AsSlice())}
}

// ARPTarget matches the target's protocol address (octet 24).
func ARPTarget(a netip.Addr) Part {
	return Part{load(expr.PayloadBaseNetworkHeader, 24, 4, reg), equal(a.AsSlice())}
}

// Solicitation matches IPv6 neighbour solicitations for an address (RFC 4861 §4.3: type 135, target at octet 8).
func Solicitation(target netip.Addr) Part {
	return Part{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{unix.IPPROTO_ICMPV6}),
		load(expr.PayloadBaseTransportHeader, 0, 1, reg), equal([]byte{135}),
		load(expr.PayloadBaseTransportHeader, 8, 16, reg), equal(target.AsSlice())}
}

// Within matches while a token is left in a bucket that holds burst and gains perSecond tokens a second.
func Within(perSecond uint64, burst uint32) Part {
	return Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Burst: burst}}
}

// Beyond matches when no token is left in such a bucket.
func Beyond(perSecond uint64, burst uint32) Part {
	return Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Burst: burst, Over: true}}
}

// BeyondAnHour is Beyond of a bucket that gains perHour tokens an hour.
func BeyondAnHour(perHour uint64, burst uint32) Part {
	return Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: perHour, Unit: expr.LimitTimeHour, Burst: burst, Over: true}}
}

// ConnectionsOver matches when more than count tracked connections have come by this rule and still live.
func ConnectionsOver(count uint32) Part {
	return Part{&expr.Connlimit{Count: count, Flags: expr.NFT_CONNLIMIT_F_INV}}
}

// NewConnection matches the packets that connection tracking calls new.
func NewConnection() Part { return state(expr.CtStateBitNEW) }

// state matches when connection tracking gave the packet one of these states.
func state(bits uint32) Part {
	return Part{&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native32(bits), Xor: native32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native32(0)}}
}

// Invalid matches packets that fit no tracked connection.
func Invalid() Part { return state(expr.CtStateBitINVALID) }

// InvalidOrUntracked matches those and the ones exempt from tracking.
func InvalidOrUntracked() Part { return state(expr.CtStateBitINVALID | expr.CtStateBitUNTRACKED) }

// OneOf matches one in n: in turn where the count is kept (every n-th packet that comes by).
func OneOf(n uint32) Part {
	return Part{&expr.Numgen{Register: reg, Modulus: n, Type: unix.NFT_NG_INCREMENTAL}, equal(native32(0))}
}

// Chance matches each packet with probability p, to a millionth.
func Chance(p float64) Part {
	const all = 1_000_000
	return Part{&expr.Numgen{Register: reg, Modulus: all, Type: unix.NFT_NG_RANDOM},
		// The kernel compares octet by octet: the number goes into network order first.
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: reg, Data: binary.BigEndian.AppendUint32(nil, uint32(p*all))}}
}

// HashOf matches where a hash of source address, source port and seed, modulo n, is i: sticky for a flow.
func HashOf(family Family, n, i, seed uint32) Part {
	p := Part{}
	length := uint32(8)
	if family == IPv6 {
		length = 20
		p = append(p, load(expr.PayloadBaseNetworkHeader, 8, 16, reg0))
	} else {
		p = append(p, load(expr.PayloadBaseNetworkHeader, 12, 4, reg0))
	}
	return append(p, load(expr.PayloadBaseTransportHeader, 0, 2, reg0+length/4-1),
		&expr.Hash{SourceRegister: reg0, DestRegister: reg, Length: length, Modulus: n, Seed: seed, Type: expr.HashTypeJenkins},
		equal(native32(i)))
}
