package topo

import "github.com/vipprobe/vipprobe/prober/lab/nft"

// Lose drops each TCP segment to and from the host with probability p, on every cable it has: behind the host's own taps and before
// anybody else's, so that the host sees what it sent, and sees nothing of what it never got.
func (h *Host) Lose(p float64) {
	for _, l := range h.links {
		port := l.port()
		if port == nil {
			continue // a device on top of another
		}
		lost := []nft.Rule{{nft.TCP(), nft.Chance(p), nft.Drop()}}
		port.Host.Rules(nft.Table{Family: nft.Netdev, Name: "loss_" + port.Name, Chains: []nft.Chain{
			{Hook: nft.Ingress, Device: port.Name, Rules: lost},
			{Hook: nft.Egress, Device: port.Name, Rules: lost},
		}})
	}
}

// port is the first device beyond the link's cable, and beyond whatever wire that is, at which a packet rule decides.
func (l *Link) port() *Link {
	far := l.far
	for far != nil && far.Host.Relay {
		beyond := far.Host.links[0]
		if beyond == far {
			beyond = far.Host.links[1]
		}
		far = beyond.far
	}
	for far != nil && far.beyond != nil {
		far = far.beyond
	}
	return far
}
