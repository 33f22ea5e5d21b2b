package lab

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func filterScenarios() []Scenario {
	return []Scenario{synRateLimit(), aclDrop(), tcpFiltered(), rpFilter(), conntrackLimit(), snatExhaustion(), snatRace()}
}

func synRateLimit() Scenario {
	return Scenario{
		Name: "syn-ratelimit",
		Story: "A filter before the server lets few SYNs a second through, of all together, of each source, or of one. Their repeats eat the same tokens, so a burst " +
			"takes seconds to recover.",
		Params: []Param{{"rate", "5", "SYNs a second", whole(1, 2, 15, 1_000_000)}, {"burst", "5", "SYNs at once", whole(1, 2, 15, 1_000_000)},
			{"counts", "all", "whose SYNs: all together; each source by itself; one source only, the client's usual address", among("all", "each", "one")},
			{"over", "drop", "what is over it: dropped; refused by RST; refused by ICMP", among("drop", "reset", "icmp")}},
		Budget: 45 * time.Second,
		Label:  Is(diagnose.SYNRateLimited).Saying("both draw on one bucket"),
		Expect: limited,
		NearMisses: []NearMiss{{"generous", map[string]string{"rate": "5000", "burst": "5000"}, Healthy()},
			{"each source by itself", map[string]string{"counts": "each"}, Is(diagnose.SYNRateLimited).Saying("each has a bucket of its own")},
			{"one source only", map[string]string{"counts": "one"}, Is(diagnose.SYNRateLimited).Saying("only the first is limited")},
			{"with an RST", map[string]string{"over": "reset"}, Is(diagnose.SYNRateLimited).Saying("the RSTs come from as far away as the SYN-ACKs")},
			{"with an ICMP error", map[string]string{"over": "icmp"}, Is(diagnose.SYNRateLimited).Saying("there the filter stands")},
			{"generous, with an RST", map[string]string{"rate": "5000", "burst": "5000", "over": "reset"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.direct()
			d.clientLink.Addr(controlIP + "/24")
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			over, known := map[string]nft.Part{"drop": nft.Drop(), "reset": nft.Reset(), "icmp": nft.Prohibited()}[st.String("over")]
			if !known {
				st.keep("over", errNotOneOf("drop", "reset", "icmp"))
			}
			limit := func(who ...nft.Part) nft.Rule {
				return append(nft.Rule{nft.SYN()}, append(who, nft.Beyond(uint64(st.Int("rate")), uint32(st.Int("burst"))), over)...)
			}
			usual, second := limit(nft.Src(addr(clientIP))), limit(nft.Src(addr(controlIP)))
			rules := map[string][]nft.Rule{"all": {limit()}, "each": {usual, second}, "one": {usual}}
			whose, known := rules[st.String("counts")]
			if !known {
				st.keep("counts", errNotOneOf("all", "each", "one"))
			}
			d.server.Rules(filter("guard", nft.Input, whose...))
		},
	}
}

func aclDrop() Scenario {
	return Scenario{
		Name:  "acl-drop",
		Story: "A filter drops everything to the port, always. Another port of the same server answers. Or the listener itself drops what is not as it wants it.",
		Params: []Param{{"port", "80", "the port that is dropped", whole(1, port, port, 65535)}, {"by", "filter", "who drops: a filter; a listener that wants a TTL of least; a filter that drops SYNs with " +
			"timestamps; a listener that wants signed segments", among("filter", "ttl", "timestamps", "signature")}, {"least", "255", "TTL that the listener wants", whole(1, 65, 255, 255)}, familyParam()},
		Label:  Is(diagnose.ACLDrop),
		Expect: choosy,
		NearMisses: []NearMiss{{"another port", map[string]string{"port": "4711"}, Healthy()},
			{"a listener that wants TTL 255", map[string]string{"by": "ttl"}, Is(diagnose.ACLDrop).Saying("is dropped by a listener without a word")},
			{"a listener that wants TTL 64", map[string]string{"by": "ttl", "least": "64"}, Healthy()},
			{"timestamps alone are dropped", map[string]string{"by": "timestamps"}, Is(diagnose.ACLDrop).Saying("their TSvals were drawn by lot")},
			{"a listener that wants signatures", map[string]string{"by": "signature"}, Is(diagnose.ACLDrop).Saying("takes only signed segments")}},
		Build: func(st *Stage) {
			d := st.pair()
			to := nft.DstPort(uint16(st.Int("port")))
			s := topo.Service{Port: port, Then: topo.Echo}
			switch by := st.String("by"); by {
			case "filter":
				d.server.Rules(st.filter("acl", nft.Input, nft.Rule{to, nft.Drop()}))
			case "timestamps":
				d.server.Rules(st.filter("acl", nft.Input, nft.Rule{to, nft.SYN(), nft.Timestamps(), nft.Drop()}))
			case "ttl":
				s.LeastTTL = st.Int("least")
			case "signature":
				s.Signed = []netip.Addr{addr(clientIP), addr(clientIP6)}
			default:
				st.keep("by", errNotOneOf("filter", "ttl", "timestamps", "signature"))
			}
			d.server.Serve(s)
		},
	}
}

func tcpFiltered() Scenario {
	return Scenario{
		Name: "tcp-filtered",
		Story: "A filter drops every segment to the server, whatever the port, and lets ping pass. Ping works, so people say that the server is up; nothing " +
			"tells from outside which box drops what.",
		Params: []Param{{"segments", "0", "TCP segments a second that pass, and as many at once", whole(0, 0, 0, 1_000_000)}, {"echoes", "100", "ICMP echo requests a second that pass, and as many at once", whole(0, 1, 100, 1_000_000)}},
		Label:  Open("something is up at this address"),
		Expect: filtered,
		NearMisses: []NearMiss{{"nothing passes", map[string]string{"echoes": "0"}, Open("so is ICMP echo")},
			{"one ping a second", map[string]string{"echoes": "1"}, Open("something is up at this address")},
			{"ping alone is dropped", map[string]string{"segments": "100000", "echoes": "0"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			d.server.Rules(filter("firewall", nft.Input, beyond(nft.TCP(), st.Int("segments")), beyond(nft.EchoRequest(), st.Int("echoes"))))
		},
	}
}

// beyond drops what matches and comes faster than so many a second.
func beyond(m nft.Part, rate int) nft.Rule {
	if rate <= 0 {
		return nft.Rule{m, nft.Drop()}
	}
	return nft.Rule{m, nft.Beyond(uint64(rate), uint32(rate)), nft.Drop()}
}

func rpFilter() Scenario {
	return Scenario{
		Name: "rp-filter",
		Story: "The client's packets reach the server by one way, but the server's route back to their source leads by another, and its reverse-path " +
			"filter drops them all. Another address of the client, on the server's own segment, is served.",
		Params: []Param{{"rp_filter", "1", "of the server: 0 off, 1 strict, 2 loose", among("1").or("0", "2")}},
		// A missing way back and a filter by source look the same from outside.
		Label:      Label{Verdicts: []diagnose.Verdict{diagnose.ReversePathFilter}, Level: diagnose.Suspected},
		NearMisses: []NearMiss{{"loose", map[string]string{"rp_filter": "2"}, Healthy()}},
		Build: func(st *Stage) {
			front, back := st.Bridge("front"), st.Bridge("back")
			st.Client = st.Host("client")
			client := st.Client.Attach(front, clientIP+"/24", "10.79.0.2/32")
			st.Client.Attach(back, "10.78.0.2/24")
			server := st.Host("server")
			in := server.Attach(front, "10.79.0.21/24")
			server.Attach(back, "10.78.0.21/24")
			// There by the front, back by the back.
			st.Client.OnLink("10.79.0.21/32", client)
			server.Route("10.77.0.0/24", "10.78.0.2")
			client.Knows("10.79.0.21", in) // the filter would drop the ARP request as well (arp_process)
			in.Conf("ipv4", "rp_filter", st.String("rp_filter"))
			server.Serve(topo.Service{Port: port, Then: topo.Echo})
			st.Target = at("10.79.0.21", port).String()
		},
	}
}

func conntrackLimit() Scenario {
	return Scenario{
		Name:  "conntrack-limit",
		Story: "The balancer tracks connections and its table is full: what is tracked goes on, what is new vanishes, whatever its destination.",
		Params: []Param{{"limit", "60", "connections that may be tracked", whole(1, 50, 80, 1_000_000)},
			{"held", "30", "connections that other clients hold open", whole(0, 10, 40, 10_000)}},
		Label:      Is(diagnose.ConntrackTableFull),
		Grants:     []Grant{GrantHold},
		Expect:     tracked,
		NearMisses: []NearMiss{{"large table", map[string]string{"limit": "100000"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			v.clientLink.Addr("10.77.0.4/24") // a limit per source address would spare it
			v.lb.Rules(filter("table_size", nft.Prerouting,
				nft.Rule{nft.NewConnection(), nft.ConnectionsOver(uint32(st.Int("limit"))), nft.Drop()}))
			o := st.Host("other")
			o.Attach(v.lan, otherIP+"/24")
			st.holds(o, st.Target, st.Int("held"))
		},
	}
}

func snatExhaustion() Scenario {
	return Scenario{
		Name: "snat-exhaustion",
		Story: "The balancer has few source ports towards each server and other clients hold many of them. At the peak new connections to this service " +
			"vanish; another port of the same servers works.",
		Params: []Param{{"ports", "20", "source ports for each server, 1 … 10000", whole(1, 12, 24, 10_000)}, {"held", "8", "connections that other clients hold open", whole(0, 2, 16, 10_000)}},
		// A limit of connections to one service looks the same from outside.
		Label:      Label{Verdicts: []diagnose.Verdict{diagnose.SNATPortExhaustion}, Level: diagnose.Suspected},
		Grants:     []Grant{GrantHold},
		Expect:     translated,
		NearMisses: []NearMiss{{"many ports", map[string]string{"ports": "10000"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.serve(topo.Service{Then: topo.Echo})
			last := uint16(20000 + max(st.Int("ports"), 1) - 1)
			v.lb.Rules(v.table(nft.RoundRobin(v.members(), v.match()...), nft.FromSource(addr(vipIP), 20000, last)))
			o := st.Host("other")
			o.Attach(v.lan, otherIP+"/24")
			st.holds(o, st.Target, st.Int("held"))
		},
	}
}

func snatRace() Scenario {
	return Scenario{
		Name: "snat-race",
		Story: "Two connections that begin within the same instant can get one source port from the balancer, and the loser's SYN is dropped; its " +
			"repeat works. A burst loses some first SYNs, paced connections none.",
		Params:     []Param{{"share", "0.5", "of the SYNs behind another within 2 ms that lose", portion(0.3, 0.9)}, {"seed", "1", "of the losses", seeds()}},
		Label:      Is(diagnose.SNATPortRace),
		Expect:     func(v *Values) Label { return graded(v.Fraction("share"), 1e-9, 0.2, Is(diagnose.SNATPortRace)) },
		NearMisses: []NearMiss{{"no clashes", map[string]string{"share": "0"}, Healthy()}},
		Build: func(st *Stage) {
			random := wires.Random(uint64(st.Uint32("seed")))
			share := st.Fraction("share")
			clash := &wires.Clash{Within: 2 * time.Millisecond, Lost: func() bool { return random.Float64() < share }}
			v := st.vip(2, wiring{lb: []wires.Stage{clash}})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
		},
	}
}
