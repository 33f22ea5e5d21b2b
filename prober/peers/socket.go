package peers

import "net/netip"

// Socket is what the kernel says of one TCP connection that can send data (struct tcp_info, include/uapi/linux/tcp.h). All counts
// are of the connection's life and wrap at 2³².
type Socket struct {
	// Cookie is the kernel's own number of the socket; with the addresses it tells a new connection on an old 4-tuple apart.
	Cookie        uint64
	Local, Remote netip.AddrPort
	// Retransmitted is segments sent again, a client's SYNs among them (tcpi_total_retrans, Linux ≥ 2.6.10).
	Retransmitted uint32
	// Distance is how many segments apart the kernel has seen the connection's segments arrive, and so how long it waits before it
	// calls one lost (tcpi_reordering, 3 or the listener's tcp_reordering to begin with).
	Distance uint32
	// Lost is how many segments count as lost now (tcpi_lost).
	Lost uint32
	// Segments is segments with data sent, repeats among them (tcpi_data_segs_out, Linux ≥ 4.6); else absent.
	Segments    uint32
	HasSegments bool
	// DSACKs is duplicates that the peer reported, and Reorderings how often segments were seen to arrive out of order
	// (tcpi_dsack_dups, tcpi_reord_seen, Linux ≥ 4.19); else absent.
	DSACKs, Reorderings uint32
	HasReorderings      bool
}

// key tells sockets apart while they are open.
type key struct {
	cookie     uint64
	remote     [16]byte
	local      [16]byte
	sport, dst uint16
}

func (s *Socket) key() key {
	return key{s.Cookie, s.Remote.Addr().As16(), s.Local.Addr().As16(), s.Local.Port(), s.Remote.Port()}
}

// counts are a socket's counters, or differences of them.
type counts struct{ segments, retransmitted, dsacks, reorderings uint32 }

func (s *Socket) counts() counts { return counts{s.Segments, s.Retransmitted, s.DSACKs, s.Reorderings} }

// since is the rise from an earlier reading, each count modulo 2³².
func (c counts) since(o counts) counts {
	return counts{c.segments - o.segments, c.retransmitted - o.retransmitted, c.dsacks - o.dsacks, c.reorderings - o.reorderings}
}
