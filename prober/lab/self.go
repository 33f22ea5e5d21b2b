package lab

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func selfScenarios() []Scenario { return []Scenario{localDrop(), proberBusy()} }

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
