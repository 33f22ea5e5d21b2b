package plan

import (
	"net/netip"
	"time"
)

// Ping is one ICMP or ICMPv6 echo request (RFC 792, RFC 4443 §4.1), which leaves as the burst's raw shots to the same address do: from their
// source, by their next hop. A burst that has none of these sends none. Its answer is contrast and no more: hosts and filters may well
// drop what they like of ICMP, and a device on the way may answer for a host that is not there.
type Ping struct {
	Offset time.Duration // from the start of the burst
	Dst    netip.Addr
}

// PingOctets is how much of our own an echo request carries, so that a reply can be told from one that somebody made up: RFC 4443 §4.2
// and RFC 1122 §3.2.2.6 have it returned as it was.
const PingOctets = 16
