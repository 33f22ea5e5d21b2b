package plan

import "time"

// Holed is data of which the first segment never leaves. The receiver acknowledges each later one at once, and says in SACK blocks what it has
// (RFC 5681 §4.2, RFC 2018 §4), but its application is given nothing: there is a hole in front of it all. Nothing is sent twice.
type Holed struct {
	// Segments that leave, of Size octets each, Gap apart. Linux may answer two with one acknowledgment where they come within a millisecond
	// (net.ipv4.tcp_comp_sack_delay_ns; net/ipv4/tcp_input.c __tcp_ack_snd_check, 6.18).
	Segments, Size int
	Gap            time.Duration
}

// MostHoled bounds the octets of one connection, so that every receiver's window holds them.
const MostHoled = 8 << 10

// Payload is how much of a segment is sent, and how many of them there are, within MostHoled.
func (h *Holed) Payload() (segments, size int) {
	size = min(max(h.Size, 1), MostHoled/2)
	return min(max(h.Segments, 1), MostHoled/size-1), size
}

// Lasts is from the first segment to the last.
func (h *Holed) Lasts() time.Duration {
	n, _ := h.Payload()
	return time.Duration(n-1) * h.Gap
}
