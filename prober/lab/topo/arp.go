package topo

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
)

// SlowARP is rules for the owner of an address: of the requests for it that an asker sends within a second (ARP, or the
// neighbour solicitations of IPv6) the first is dropped, so that an asker with retrans_time_ms=50 gets its answer after 52 ms,
// each time it has not asked for a second or more. Replacing the table by itself gives the drops back at once.
func SlowARP(owned string, askers ...string) nft.Table {
	var rules []nft.Rule
	target := netip.MustParseAddr(owned)
	for _, a := range askers {
		if target.Is6() {
			rules = append(rules, nft.Rule{nft.Src(netip.MustParseAddr(a)), nft.Solicitation(target), nft.Within(1, 1), nft.Drop()})
			continue
		}
		rules = append(rules, nft.Rule{nft.ARPRequest(), nft.ARPSender(netip.MustParseAddr(a)), nft.ARPTarget(target),
			nft.Within(1, 1), nft.Drop()})
	}
	family := nft.ARP
	if target.Is6() {
		family = nft.IPv6
	}
	return nft.Table{Family: family, Name: "slow_arp", Chains: []nft.Chain{{Hook: nft.Input, Rules: rules}}}
}
