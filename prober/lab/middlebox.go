package lab

import (
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func middleboxScenarios() []Scenario {
	return []Scenario{tsStripped(), tsRewritten(), tsNormalized()}
}

func tsStripped() Scenario {
	return Scenario{
		Name: "ts-stripped",
		Story: "A firewall on the way replaces the timestamps option by padding, in the client's SYN. Nobody gets timestamps any more. From outside this is " +
			"no different from a server whose timestamps are off: to call it healthy, with a note that they are missing, is right as well.",
		Params:     []Param{{"strip", "true", "whether it does", yes()}, familyParam()},
		Label:      Is(diagnose.MiddleboxTSStripped).OrAlso(diagnose.Healthy),
		NearMisses: []NearMiss{{"left alone", map[string]string{"strip": "false"}, Healthy()}},
		Build: func(st *Stage) {
			var stages []wires.Stage
			if st.Bool("strip") {
				stages = append(stages, wires.StripTimestamps(wires.SYN))
			}
			d := st.pair(stages...)
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func tsRewritten() Scenario {
	return Scenario{
		Name: "ts-rewritten",
		Story: "A device on the way rewrites the timestamps of the client but not the echoes that come back: the client does not know its own clock " +
			"again and throws the SYN-ACK away.",
		Params: []Param{{"shift", "100000000", "ticks added one way; 0 for none", whole(0, 100_000, 2_000_000_000, math.MaxInt32)}, familyParam()},
		Label:  Is(diagnose.MiddleboxTSecrCorrupt).OrAlso(diagnose.ClientPAWSReject),
		Expect: func(v *Values) Label {
			return graded(float64(v.Int("shift")), 1, 60_000, Is(diagnose.MiddleboxTSecrCorrupt).OrAlso(diagnose.ClientPAWSReject))
		},
		NearMisses: []NearMiss{{"left alone", map[string]string{"shift": "0"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.pair(wires.ShiftTSval(int64(st.Uint32("shift")), wires.Going(wires.In)))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func tsNormalized() Scenario {
	return Scenario{
		Name: "ts-normalized",
		Story: "The balancer rewrites the timestamps of all clients to its own clock, and the echoes back: right in every segment, invisible from outside, " +
			"and a server with tcp_tw_recycle=1 behind it does no harm.",
		Params: []Param{recycleParam(), gapParam(), closerParam(), {"every", "150ms", "between two connections of the other client", lasting(10*time.Millisecond, 50*time.Millisecond, time.Second, time.Minute)}},
		Label:  Healthy().OrAlso(diagnose.TimestampNormalizedPossible).OrAlso(),
		Build: func(st *Stage) {
			gap := int64(st.Uint32("gap"))
			v := st.vip(2, wiring{
				lb:   []wires.Stage{&wires.OneClock{Port: port, Clock: st.clock(0)}},
				real: func(int) []wires.Stage { return st.recycle() },
			})
			v.lb.Rules(v.table(nft.RoundRobin(v.members(), v.match()...), nft.Masquerade()))
			oneClock(st.Client)
			st.poison(v, gap)
		},
	}
}
