package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func selfScenarios() []Scenario { return []Scenario{localDrop(), ownDevice(), proberBusy()} }

func localDrop() Scenario {
	return Scenario{
		Name: "local-drop",
		Story: "The prober's own host drops every third SYN before it reaches the wire, or a tap: a filter at its device, a full queue. The network is " +
			"innocent.",
		Params:     []Param{{"one_in", "3", "SYNs that are dropped; 0 for none", whole(0, 2, 6, 1_000_000)}, familyParam()},
		Label:      Is(diagnose.ProberLocalDrop),
		Expect:     dropsAtHome,
		NearMisses: []NearMiss{{"none", map[string]string{"one_in": "0"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.pair()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			if n := st.Int("one_in"); n > 0 {
				st.Client.Rules(nft.Table{Family: nft.Netdev, Name: "full_queue", Chains: []nft.Chain{{Hook: nft.Egress, Device: d.clientLink.Name,
					Rules: []nft.Rule{{nft.SYN(), nft.DstPort(port), nft.OneOf(uint32(n)), nft.Drop()}}}}})
			}
		},
	}
}

func ownDevice() Scenario {
	return Scenario{
		Name: "own-device",
		Story: "The prober sits on a macvlan, and the device below it lets few SYNs a second out: a shaper or a policer of this very host. Taps see every SYN leave. The " +
			"network is innocent, though it looks as if it limited SYNs.",
		Params: []Param{{"rate", "5", "SYNs a second that leave", whole(1, 3, 8, 1_000_000)}, {"burst", "5", "SYNs at once", whole(1, 3, 8, 1_000_000)},
			{"where", "below", "who drops the rest: the device below the prober's; the server, alike", among("below", "server")}},
		Budget: 45 * time.Second,
		// By counters alone, and no burst without drops to compare with but the paced one.
		Label:  Label{Verdicts: []diagnose.Verdict{diagnose.ProberLocalDrop}, Level: diagnose.Suspected},
		Expect: shaped,
		NearMisses: []NearMiss{{"generous", map[string]string{"rate": "5000", "burst": "5000"}, Healthy()},
			{"the server drops them", map[string]string{"where": "server"}, Is(diagnose.SYNRateLimited)}},
		Build: func(st *Stage) {
			lan := st.Bridge("lan")
			st.Client = st.Host("client")
			below := st.Client.Attach(lan)
			below.Macvlan(st.Client, clientIP+"/24")
			server := st.Host("server")
			server.Attach(lan, realIP(0)+"/24")
			server.Serve(topo.Service{Port: port, Then: topo.Echo})
			st.Target = at(realIP(0), port).String()
			over := nft.Rule{nft.SYN(), nft.Beyond(uint64(st.Int("rate")), uint32(st.Int("burst"))), nft.Drop()}
			switch st.String("where") {
			case "below":
				st.Client.Rules(nft.Table{Family: nft.Netdev, Name: "shaper", Chains: []nft.Chain{{Hook: nft.Egress, Device: below.Name, Rules: []nft.Rule{over}}}})
			case "server":
				server.Rules(filter("guard", nft.Input, over))
			default:
				st.keep("where", errNotOneOf("below", "server"))
			}
		},
	}
}

func proberBusy() Scenario {
	return Scenario{
		Name:   "prober-busy",
		Story:  "The prober's machine is busy with other things. Handshakes may look slow to the program; on the wire nothing is.",
		Params: []Param{{"loops", "4", "processes that spin", whole(0, 1, 6, 64)}},
		Label:  Healthy().OrAlso(diagnose.SlowPathNotStall),
		Heavy:  true,
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			for range st.Int("loops") {
				st.Step("a busy loop", func() error {
					return st.Client.Start(st.Client.Command(st.Context(), "sh", "-c", "while :; do :; done"))
				})
			}
		},
	}
}
