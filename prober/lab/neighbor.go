package lab

import (
	"net/netip"
	"strconv"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// synTruesize is what one SYN or SYN-ACK takes of a neighbour queue: 832 octets of truesize, measured on 6.18 with veth.
const synTruesize = 832

func neighborScenarios() []Scenario {
	return []Scenario{arpClient()}
}

func queueParam() Param {
	return Param{"qlen", "3", "packets that wait for one unresolved neighbour, 1 … 256"}
}

// queueBytes is the unres_qlen_bytes that holds as many SYNs.
func queueBytes(packets int) string { return strconv.Itoa(packets * synTruesize) }

func arpClient() Scenario {
	return Scenario{
		Name: "arp-client",
		Story: "The client has no ARP entry for the VIP and keeps only 3 packets while it asks. Of a burst of connects the " +
			"first SYNs never leave; they are repeated a second later.",
		Params: []Param{queueParam()},
		Label:  Is(diagnose.LocalARPQueueOverflow),
		NearMisses: []NearMiss{
			{"deep queue", map[string]string{"qlen": "256"}, Healthy()},
		},
		Build: func(st *Stage) {
			v := st.vip(2)
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			v.ClientLink.Neighbor("ipv4", "retrans_time_ms", "50")
			v.ClientLink.Neighbor("ipv4", "unres_qlen_bytes", queueBytes(st.Int("qlen")))
			slow := topo.SlowARP(clientIP)
			v.LB.Rules(slow)
			st.Rearm = func() error {
				if err := v.ClientLink.Forget(netip.MustParseAddr(vipIP)); err != nil {
					return err
				}
				return v.LB.SetRules(slow)
			}
		},
	}
}
