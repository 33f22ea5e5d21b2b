package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/peers"
)

// Lengths and offsets of struct inet_diag_msg (include/uapi/linux/inet_diag.h):
//
//	 0 family  1 state  2 timer  3 retrans
//	 4 sport, dport (network order)
//	 8 source (16)        24 destination (16)
//	40 interface          44 cookie (8)
//	52 expires, rqueue, wqueue, uid, inode
//	72 attributes
const (
	messageLength = 72
	attrHeader    = 4
	attrInfo      = 2 // INET_DIAG_INFO
)

// Offsets in struct tcp_info (include/uapi/linux/tcp.h); it only ever grew at its end.
const (
	infoLost         = 32
	infoReordering   = 88
	infoTotalRetrans = 100 // ends at 104, what Linux 2.6.10 to 3.14 have
	infoDataSegsOut  = 156 // Linux 4.6
	infoDSACKDups    = 216 // Linux 4.19
	infoReordSeen    = 220
)

// parse reads one inet_diag_msg with its attributes. Without tcp_info, as for a socket that is being closed, it is false; the
// error says what is malformed.
func parse(b []byte) (peers.Socket, bool, error) {
	var s peers.Socket
	if len(b) < messageLength {
		return s, false, fmt.Errorf("inet_diag_msg of %d octets, want at least %d", len(b), messageLength)
	}
	var src, dst netip.Addr
	switch b[0] {
	case unix.AF_INET:
		src, dst = netip.AddrFrom4([4]byte(b[8:12])), netip.AddrFrom4([4]byte(b[24:28]))
	case unix.AF_INET6:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])).Unmap(), netip.AddrFrom16([16]byte(b[24:40])).Unmap()
	default:
		return s, false, fmt.Errorf("inet_diag_msg of address family %d", b[0])
	}
	s.Local = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[4:]))
	s.Remote = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[6:]))
	s.Cookie = binary.NativeEndian.Uint64(b[44:])
	for b = b[messageLength:]; len(b) >= attrHeader; {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
		if n < attrHeader || n > len(b) {
			return s, false, fmt.Errorf("attribute %d of %d octets where %d are left", kind, n, len(b))
		}
		if kind == attrInfo {
			return s, info(&s, b[attrHeader:n]), nil
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return s, false, nil
}

// info takes of a tcp_info what it has, and is false where even the oldest part is short.
func info(s *peers.Socket, b []byte) bool {
	u32 := func(at int) (uint32, bool) {
		if len(b) < at+4 {
			return 0, false
		}
		return binary.NativeEndian.Uint32(b[at:]), true
	}
	var ok bool
	if s.Retransmitted, ok = u32(infoTotalRetrans); !ok {
		return false
	}
	s.Lost, _ = u32(infoLost)
	s.Distance, _ = u32(infoReordering)
	s.Segments, s.HasSegments = u32(infoDataSegsOut)
	s.DSACKs, _ = u32(infoDSACKDups)
	s.Reorderings, s.HasReorderings = u32(infoReordSeen)
	return true
}
