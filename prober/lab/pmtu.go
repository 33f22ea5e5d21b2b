package lab

import (
	"errors"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func dataPMTU() Scenario {
	return tunnelled("data-pmtu", "source", topo.Service{Port: port, Then: topo.Bulk, Size: bulk},
		"A tunnel between two routers is narrower than the ends' own links, and a filter drops the routers' word about it: what the server sends stands still at "+
			"the first full segment.", NearMiss{"the way back alone", map[string]string{"way": "back"}, Is(diagnose.MTUBlackhole)})
}

func dataPMTUUp() Scenario {
	return tunnelled("data-pmtu-up", "sink", topo.Service{Port: port, Then: topo.Sink},
		"data-pmtu the other way: what the client sends stands still at the first full segment.",
		NearMiss{"the way back alone", map[string]string{"way": "back"}, Healthy()})
}

// tunnelled is a client and a server, each behind a router, and a tunnel between the routers.
func tunnelled(name, exchange string, s topo.Service, story string, more ...NearMiss) Scenario {
	word, wide, clamped := map[string]string{"errors": "pass"}, map[string]string{"mtu": "1500"}, map[string]string{"clamp": "true"}
	return Scenario{
		Name: name, Story: story, Exchange: exchange,
		Params: []Param{{"mtu", "1280", "of the tunnel, octets, 1280 (of IPv4 576) … 1500", whole(576, 1280, 1480, 1500)}, {"errors", "drop", "of the routers, by a filter of theirs (ICMP type 3, ICMPv6 type 2): drop or pass", among("drop").or("pass")},
			{"way", "both", "that is narrow: both, or back; back alone is a device behind the tunnel that says nothing at all", among("both").or("back")},
			{"clamp", "false", "whether the SYNs' MSS is made to fit the tunnel", among("false").or("true")}, familyParam()},
		Label:  Is(diagnose.MTUBlackhole),
		Expect: func(v *Values) Label { return stuck(v, exchange == "sink") },
		NearMisses: append([]NearMiss{{"1500", wide, Healthy()}, {"the word passes", word, Healthy()}, {"clamped", clamped, Healthy()},
			{"IPv6", over6(nil), Is(diagnose.MTUBlackhole)}, {"IPv6, 1500", over6(wide), Healthy()}, {"IPv6, the word passes", over6(word), Healthy()},
			{"IPv6, clamped", over6(clamped), Healthy()}}, more...),
		Build: func(st *Stage) { st.tunnel().Serve(s) },
	}
}

// tunnelNet are the addresses of such a network.
type tunnelNet struct {
	client, clientRouter, server, serverRouter, near, far string
	bits                                                  string
	headers                                               int // octets of IP and TCP
}

func (st *Stage) tunnelNet() tunnelNet {
	if st.six() {
		return tunnelNet{clientIP6, "fd77::1", "fd78::21", "fd78::1", "fd79::1", "fd79::2", "/64", 60}
	}
	return tunnelNet{clientIP, "10.77.0.1", "10.78.0.21", "10.78.0.1", "10.79.0.1", "10.79.0.2", "/24", 40}
}

// tunnel builds it and returns the server.
func (st *Stage) tunnel() *topo.Host {
	n, mtu := st.tunnelNet(), st.Int("mtu")
	if least := map[int]int{40: 576, 60: 1280}[n.headers]; mtu < least || mtu > 1500 {
		st.keep("mtu", errors.New("want 1280 (IPv4: 576) … 1500"))
		mtu = 1500
	}
	front, back := st.Bridge("front"), st.Bridge("back")
	st.Client = st.Host("client")
	var stages []wires.Stage
	if st.Bool("clamp") {
		stages = append(stages, wires.ClampMSS(uint16(mtu-n.headers), wires.SYN), wires.ClampMSS(uint16(mtu-n.headers), wires.SYNACK))
	}
	st.place(st.Client, front, stages, n.client+n.bits)
	r1, r2 := st.Host("router1"), st.Host("router2")
	r1.Attach(front, n.clientRouter+n.bits)
	r2.Attach(back, n.serverRouter+n.bits)
	one, two := st.Cable(r1, r2)
	one.Addr(n.near + n.bits)
	two.Addr(n.far + n.bits)
	server := st.Host("server")
	switch st.String("way") {
	case "both":
		one.MTU(mtu)
		two.MTU(mtu)
		server.Attach(back, n.server+n.bits)
	case "back":
		st.place(server, back, []wires.Stage{wires.Drop(wires.All(wires.Longer(mtu), wires.Going(wires.Out)))}, n.server+n.bits)
	default:
		st.keep("way", errNotOneOf("both", "back"))
	}
	st.Client.Route(subnet(n.server+n.bits), n.clientRouter)
	r1.Route(subnet(n.server+n.bits), n.far)
	r2.Route(subnet(n.client+n.bits), n.near)
	server.Route(subnet(n.client+n.bits), n.serverRouter)
	for _, r := range []*topo.Host{r1, r2} {
		r.Forward()
		st.silence(r)
	}
	st.Target = at(n.server, port).String()
	return server
}

// silence drops what a router says of packets that do not fit.
func (st *Stage) silence(r *topo.Host) {
	switch st.String("errors") {
	case "pass":
	case "drop":
		for _, f := range []nft.Family{nft.IPv4, nft.IPv6} {
			r.Rules(nft.Table{Family: f, Name: "silence", Chains: []nft.Chain{{Hook: nft.Output, Rules: []nft.Rule{{nft.TooBig(f), nft.Drop()}}}}})
		}
	default:
		st.keep("errors", errNotOneOf("drop", "pass"))
	}
}

// subnet is the network of an address with its prefix length.
func subnet(prefix string) string { return netip.MustParsePrefix(prefix).Masked().String() }
