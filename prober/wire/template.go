package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Template is a segment encoded once, to be sent many times with other endpoints, sequence numbers and TSvals: all that is
// constant is already summed, so a packet costs a copy and a few additions. It is immutable and may be shared.
//
// The checksums come out bit for bit as Encode's: the constant part's sum plus the changed words, folded once (RFC 1071
// §2.C; with no old packet to subtract, the ±0 trap of RFC 1624 §3 cannot arise).
type Template struct {
	blank  []byte // the packet, all that is summed and that Put writes zeroed
	own    []byte // the packet, only what PutPort writes zeroed
	blankT uint64 // sum of blank's TCP part and the pseudo-header without addresses
	ownT   uint64 // the same of own, addresses included
	blankI uint64 // sum of blank's IPv4 header
	from   []byte // the packet, only what PutTo writes zeroed
	fromT  uint64 // as blankT of blank, and the source address
	fromI  uint64 // sum of its IPv4 header
	tcp    int    // where the TCP header begins
	ts     int    // where the TSval begins; 0: no timestamps option
	flow   Flow
}

// Where Put writes, from the start of the IPv4, IPv6 and TCP headers.
const (
	at4ID, at4Sum, at4Src, at4Dst       = 4, 10, 12, 16
	at6Src, at6Dst                      = 8, 24
	atSrcPort, atDstPort, atSeq, atTSum = 0, 2, 4, 16
)

// NewTemplate encodes s, payload included. The TSval that Put replaces is that of the first timestamps option. Errors are
// those of Encode.
func NewTemplate(s *Segment) (*Template, error) {
	t := &Template{blank: make([]byte, s.Size()), flow: s.Flow(), tcp: ipv6Header}
	if _, err := s.Encode(t.blank); err != nil {
		return nil, fmt.Errorf("segment template: %w", err)
	}
	if t.is4() {
		t.tcp = ipv4Header
	}
	if i := s.Options.find(OptTimestamps); i >= 0 {
		t.ts = t.tcp + tcpHeader + i + 2
		clear(t.blank[t.ts : t.ts+4])
	}
	seg := t.blank[t.tcp:]
	clear(seg[atSrcPort : atSrcPort+2])
	clear(seg[atSeq : atSeq+4])
	clear(seg[atTSum : atTSum+2])
	t.own = append([]byte(nil), t.blank...)
	pseudo := uint64(protoTCP) + uint64(len(seg))
	t.ownT = sum(seg, pseudo+addressSum(s.Src.Addr(), s.Dst.Addr()))

	clear(seg[atDstPort : atDstPort+2])
	t.blankT = sum(seg, pseudo)
	if t.is4() {
		clear(t.blank[at4Sum:ipv4Header])
		t.blankI = sum(t.blank[:ipv4Header], 0)
	}
	t.keepSource(s.Src.Addr())
	return t, nil
}

// keepSource makes what PutTo begins with of what Put does.
func (t *Template) keepSource(src netip.Addr) {
	t.from = append([]byte(nil), t.blank...)
	a := src.AsSlice()
	words := sum(a, 0)
	t.fromT, t.fromI = t.blankT+words, t.blankI+words
	if t.is4() {
		copy(t.from[at4Src:], a)
		return
	}
	copy(t.from[at6Src:], a)
}

func (t *Template) is4() bool { return t.blank[0]>>4 == 4 }

// Len is the length of the packet in octets.
func (t *Template) Len() int { return len(t.blank) }

// Flow is the template segment's own: what PutPort writes but for the source port.
func (t *Template) Flow() Flow { return t.flow }

// Put writes the packet into b for a flow of the template's address family, with seq and, where the segment has a
// timestamps option, ts as its TSval. It returns the packet's length, or 0 with b unchanged when b is shorter than Len or
// an address is of the other family. It allocates nothing.
func (t *Template) Put(b []byte, f Flow, seq Seq, ts TSval) int {
	src, dst := f.Src.Addr(), f.Dst.Addr()
	if len(b) < len(t.blank) || !t.takes(src) || !t.takes(dst) {
		return 0
	}
	b = b[:len(t.blank)]
	copy(b, t.blank)
	addresses := addressSum(src, dst)
	if t.tcp == ipv4Header {
		s, d := src.As4(), dst.As4()
		copy(b[at4Src:], s[:])
		copy(b[at4Dst:], d[:])
		binary.BigEndian.PutUint16(b[at4Sum:], ^fold(t.blankI+addresses))
	} else {
		s, d := src.As16(), dst.As16()
		copy(b[at6Src:], s[:])
		copy(b[at6Dst:], d[:])
	}
	port := f.Dst.Port()
	binary.BigEndian.PutUint16(b[t.tcp+atDstPort:], port)
	t.finish(b, t.blankT+addresses+uint64(port), f.Src.Port(), seq, ts)
	return len(b)
}

// PutTo is Put for the template's own source address, and quicker: to the destination address dst, an IPv4 one mapped into IPv6 (RFC 4291
// §2.5.5.2), which must be of the template's family.
func (t *Template) PutTo(b []byte, dst *[16]byte, dstPort, srcPort uint16, seq Seq, ts TSval) int {
	if len(b) < len(t.from) {
		return 0
	}
	b = b[:len(t.from)]
	copy(b, t.from)
	var words uint64
	if t.tcp == ipv4Header {
		a := binary.BigEndian.Uint32(dst[12:])
		words = uint64(a)
		binary.BigEndian.PutUint32(b[at4Dst:], a)
		binary.BigEndian.PutUint16(b[at4Sum:], ^fold(t.fromI+words))
	} else {
		words = sum(dst[:], 0)
		copy(b[at6Dst:], dst[:])
	}
	binary.BigEndian.PutUint16(b[t.tcp+atDstPort:], dstPort)
	t.finish(b, t.fromT+words+uint64(dstPort), srcPort, seq, ts)
	return len(b)
}

func (t *Template) takes(a netip.Addr) bool {
	if t.tcp == ipv4Header {
		return a.Is4()
	}
	return a.Is6()
}

// PutPort is Put for the template's own flow but another source port, and quicker: only the TCP checksum is worked out.
func (t *Template) PutPort(b []byte, srcPort uint16, seq Seq, ts TSval) int {
	if len(b) < len(t.own) {
		return 0
	}
	b = b[:len(t.own)]
	copy(b, t.own)
	t.finish(b, t.ownT, srcPort, seq, ts)
	return len(b)
}

// finish writes the source port, the sequence number, the TSval and the TCP checksum, acc being the sum of all the rest.
func (t *Template) finish(b []byte, acc uint64, port uint16, seq Seq, ts TSval) {
	seg := b[t.tcp:]
	binary.BigEndian.PutUint16(seg[atSrcPort:], port)
	binary.BigEndian.PutUint32(seg[atSeq:], uint32(seq))
	acc += uint64(port) + uint64(seq)
	if t.ts > 0 {
		binary.BigEndian.PutUint32(b[t.ts:], uint32(ts))
		if t.ts%2 == 0 {
			acc += uint64(ts)
		} else {
			acc += uint64(ts) << 8 // odd octets are the low halves of their words: RFC 1071 §2.B, byte order independence
		}
	}
	binary.BigEndian.PutUint16(seg[atTSum:], ^fold(acc))
}

// SetID writes another IPv4 identification into a packet that Put or PutPort wrote to b, and corrects the header checksum:
// HC' = ~(~HC + ~m + m') (RFC 1624 §3, equation 3). It does nothing to an IPv6 packet.
//
// Linux 6.18 gives the SYN of a connect a random ID, DF, TTL 64 and ToS 0, and counts the ID up by one for every later packet
// of the socket, repeated SYNs included (net/ipv4/tcp_ipv4.c tcp_v4_connect: inet_id = get_random_u16; include/net/ip.h
// ip_select_ident_segs); only SYN-ACKs and RSTs have ID 0. Both were seen on the wire.
func (t *Template) SetID(b []byte, id uint16) {
	if t.tcp != ipv4Header || len(b) < ipv4Header {
		return
	}
	old, sum := binary.BigEndian.Uint16(b[at4ID:]), binary.BigEndian.Uint16(b[at4Sum:])
	binary.BigEndian.PutUint16(b[at4ID:], id)
	binary.BigEndian.PutUint16(b[at4Sum:], ^fold(uint64(^sum)+uint64(^old)+uint64(id)))
}
