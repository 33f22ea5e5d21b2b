package experiment

import "fmt"

// QueueFit is one setting that a queue of the measured length fits.
type QueueFit struct {
	// Setting is the sysctl under net.ipv4.neigh.<dev>. or net.ipv6.neigh.<dev>.
	Setting string
	// Low and High are its values: packets for unres_qlen, octets of truesize for unres_qlen_bytes.
	Low, High int
	// Truesize is what one packet then takes, in octets; 0 for packets.
	Truesize int
	Meaning  string
}

// The truesize of a small TCP segment: 832 octets measured on 6.18 for SYN, SYN-ACK and RST. Other builds differ by the size of sk_buff and of
// the slab that holds its head (include/linux/skbuff.h SKB_TRUESIZE; MAX_TCP_HEADER by configuration), in steps of a cache line.
const (
	usualTruesize = 832
	leastTruesize = 768
	mostTruesize  = 1280
	truesizeStep  = 64
)

// The kernels' defaults of unres_qlen_bytes (net/ipv4/arp.c arp_tbl, net/ipv6/ndisc.c nd_tbl): 64 KiB from 3.3, SK_WMEM_MAX from 4.14;
// and of unres_qlen before, in packets.
const (
	defaultBytes33  = 65536
	defaultBytes414 = 212992
	defaultPackets  = 3
)

// fits lists the settings that hold low … high packets and no more; high 0: low and more.
func fits(low, high int) []QueueFit {
	var all []QueueFit
	if high > 0 && low <= defaultPackets && defaultPackets <= high {
		all = append(all, QueueFit{Setting: "unres_qlen", Low: defaultPackets, High: defaultPackets, Meaning: "default before 3.3"})
	}
	for _, d := range []struct {
		bytes   int
		meaning string
	}{{defaultBytes33, "default of 3.3–4.13"}, {defaultBytes414, "default of ≥ 4.14"}} {
		if t := truesizeOf(d.bytes, low, high); t > 0 {
			all = append(all, QueueFit{Setting: "unres_qlen_bytes", Low: d.bytes, High: d.bytes, Truesize: t, Meaning: d.meaning})
		}
	}
	if high > 0 {
		all = append(all, byteRange(low, high, usualTruesize, usualTruesize))
		all = append(all, byteRange(low, high, leastTruesize, mostTruesize))
	}
	return all
}

// truesizeOf is the truesize with which octets hold low … high packets: the usual one if it does, else the least that does, 0 if none.
func truesizeOf(octets, low, high int) int {
	holds := func(t int) bool { n := max(1, octets/t); return n >= low && (high == 0 || n <= high) }
	if holds(usualTruesize) {
		return usualTruesize
	}
	for t := leastTruesize; t <= mostTruesize; t += truesizeStep {
		if holds(t) {
			return t
		}
	}
	return 0
}

// byteRange is the octets that hold low … high packets of small to large truesize. One packet always waits, whatever the octets
// (net/core/neighbour.c __neigh_event_send, 6.18).
func byteRange(low, high, small, large int) QueueFit {
	f := QueueFit{Setting: "unres_qlen_bytes", Low: low * small, High: (high+1)*large - 1, Truesize: small}
	f.Meaning = fmt.Sprintf("with packets of %d octets", small)
	if large > small {
		f.Truesize, f.Meaning = 0, fmt.Sprintf("with packets of %d–%d octets, as other builds have them", small, large)
	}
	if low <= 1 {
		f.Low = 0
	}
	return f
}

// Reading is what the length means, in a sentence; "" where nothing was measured.
func (r *QueueResult) Reading() string {
	switch r.State {
	case QueueAtLeast:
		return fmt.Sprintf("at least %d packets: %s", r.Packets, beyond(r))
	case QueueRange:
		if r.High == 0 {
			return fmt.Sprintf("at least %d packets", r.Low)
		}
		return fmt.Sprintf("%d–%d packets: %s", r.Low, r.High, r.means())
	case QueueMeasured:
		return fmt.Sprintf("%d packet%s: %s", r.Packets, plural(r.Packets), r.means())
	case QueueInconclusive, QueueNotApplicable:
	}
	return ""
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func beyond(r *QueueResult) string {
	if r.Packets > defaultBytes414/leastTruesize {
		return "more than any default of Linux"
	}
	return "the burst was too small to overflow it"
}

// means names the defaults that fit, and what else would.
func (r *QueueResult) means() string {
	s := ""
	var octets QueueFit
	for _, f := range r.Fits {
		switch {
		case f.Setting == "unres_qlen":
			s = "unres_qlen of a kernel before 3.3 (default 3)"
		case f.Low == f.High && f.Low == defaultBytes33, f.Low == f.High && f.Low == defaultBytes414:
			if s != "" {
				s += ", or "
			}
			s += fmt.Sprintf("unres_qlen_bytes=%d, the %s, at %d octets a packet", f.Low, f.Meaning, f.Truesize)
		case f.Truesize == usualTruesize:
			octets = f
		}
	}
	if s == "" {
		return fmt.Sprintf("no default; unres_qlen_bytes=%d…%d would do it at %d octets a packet, unres_qlen=%d before 3.3", octets.Low, octets.High, usualTruesize, r.Low)
	}
	if r.High > 0 && r.High <= 2*defaultPackets {
		s += fmt.Sprintf("; on a later kernel unres_qlen_bytes=%d…%d does the same", octets.Low, octets.High)
	}
	return s
}
