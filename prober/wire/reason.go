package wire

import "strconv"

// Reason names why bytes are not what a parser of this package was asked for. Readers count frames by it.
type Reason uint8

// The reasons a frame is passed over.
const (
	ReasonNone           Reason = iota
	ReasonShort                 // ends before its headers do
	ReasonVersion               // IP version neither 4 nor 6
	ReasonHeaderLen             // a header length field that cannot be
	ReasonTotalLength           // the IP length is shorter than its headers
	ReasonFragment              // not the first fragment, or more to come
	ReasonProtocol              // not the protocol asked for
	ReasonOptions               // TCP or ND options malformed
	ReasonNotQuoted             // an ICMP message that quotes no TCP header
	ReasonHeaderChecksum        // IPv4 header checksum wrong: every host discards it (RFC 1122 §3.2.1.2)
	ReasonChecksum              // ICMP or ICMPv6 checksum wrong
	ReasonICMPType              // an ICMP message of another type
	ReasonICMPCode              // a code that the type does not have (RFC 4861 §7.1: not 0)
	ReasonHopLimit              // ND with a hop limit below 255: it came through a router (RFC 4861 §7.1)
	ReasonNDTarget              // ND about a multicast address (RFC 4861 §7.1)
	ReasonNDAddress             // ND with addresses, flags or options that exclude each other (RFC 4861 §7.1)
	ReasonEtherType             // not Ethernet II: the type field is an 802.3 length
	ReasonVLAN                  // more VLAN tags than two
	reasonCount
)

// Reasons lists every reason but ReasonNone, in the order of their values.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := ReasonNone + 1; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

func (r Reason) String() string {
	names := [reasonCount]string{
		"none", "short", "version", "header_length", "total_length", "fragment", "protocol", "options", "not_quoted",
		"header_checksum", "checksum", "icmp_type", "icmp_code", "hop_limit", "nd_target", "nd_address", "ethertype", "vlan",
	}
	if r < reasonCount {
		return names[r]
	}
	return "reason(" + strconv.Itoa(int(r)) + ")"
}

// Error makes a Reason usable as an error value.
func (r Reason) Error() string { return "packet not decoded: " + r.String() }
