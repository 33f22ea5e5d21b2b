package topo

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
)

// SlowARP is rules for the owner of an address: of the ARP requests for it that an asker sends within a second the first is
// dropped, so that an asker with retrans_time_ms=50 gets its answer after 52 ms, each time it has forgotten the entry for a
// second or more. Replacing the table by itself gives the drops back at once.
func SlowARP(owned string, askers ...string) nft.Table {
	var rules []nft.Rule
	for _, a := range askers {
		rules = append(rules, nft.Rule{nft.ARPRequest(), nft.ARPSender(netip.MustParseAddr(a)), nft.ARPTarget(netip.MustParseAddr(owned)),
			nft.Within(1, 1), nft.Drop()})
	}
	return nft.Table{Family: nft.ARP, Name: "slow_arp", Chains: []nft.Chain{{Hook: nft.Input, Rules: rules}}}
}
