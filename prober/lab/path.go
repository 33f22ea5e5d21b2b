package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func pathScenarios() []Scenario {
	return []Scenario{synLoss(), synACKLoss(), slowSYNACK(), ecmpLoss(), pmtuBlackhole()}
}

func lossParams(loss string, from, to float64) []Param {
	return []Param{{"loss", loss, "share of the packets that are lost", portion(from, to)}, {"seed", "1", "of the losses", seeds()}}
}

func noLoss() NearMiss { return NearMiss{"no loss", map[string]string{"loss": "0"}, Healthy()} }

// lossy is a server behind a wire that loses what m chooses.
func (st *Stage) lossy(m wires.Match, s topo.Service) {
	d := st.pair(wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), m))
	s.Port = port
	d.server.Serve(s)
}

func synLoss() Scenario {
	return Scenario{
		Name:       "syn-loss-30",
		Story:      "The way to the server loses three SYNs of ten, at random: no flow, port or backend is worse than another.",
		Params:     append(lossParams("0.3", 0.1, 0.5), familyParam()),
		Label:      Is(diagnose.ForwardSYNLoss),
		Expect:     func(v *Values) Label { return graded(v.Fraction("loss"), 1e-9, 0.1, Is(diagnose.ForwardSYNLoss)) },
		NearMisses: []NearMiss{noLoss()},
		Build:      func(st *Stage) { st.lossy(wires.SYN, topo.Service{Then: topo.Echo}) },
	}
}

func synACKLoss() Scenario {
	return Scenario{
		Name:       "synack-loss",
		Story:      "The way back loses three SYN-ACKs of ten. The server has the SYN and repeats its answer; the client repeats its SYN.",
		Params:     append(lossParams("0.3", 0.1, 0.5), familyParam()),
		Label:      Is(diagnose.SYNACKLoss),
		Expect:     func(v *Values) Label { return graded(v.Fraction("loss"), 1e-9, 0.1, Is(diagnose.SYNACKLoss)) },
		NearMisses: []NearMiss{noLoss()},
		Build:      func(st *Stage) { st.lossy(wires.SYNACK, topo.Service{Then: topo.Echo}) },
	}
}

func slowSYNACK() Scenario {
	return Scenario{
		Name:       "slow-synack",
		Story:      "Every SYN-ACK is late by more than the client's retransmission timeout. SYNs are repeated, but none was lost.",
		Params:     []Param{{"delay", "1300ms", "of each SYN-ACK", lasting(0, 1100*time.Millisecond, 2800*time.Millisecond, 10*time.Second)}, familyParam()},
		Label:      Is(diagnose.SlowPathNotStall),
		Expect:     slow,
		NearMisses: []NearMiss{{"200 ms", map[string]string{"delay": "200ms"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.pair(wires.Delay(st.Duration("delay"), 0, nil, wires.SYNACK))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func ecmpLoss() Scenario {
	return Scenario{
		Name: "ecmp-loss",
		Story: "Two equal paths, chosen by a hash of addresses and ports, and one of them loses half of what it carries. A flow keeps its path, so some " +
			"flows suffer always a little, others never.",
		Params:     lossParams("0.5", 0.3, 0.8),
		Label:      Is(diagnose.ECMPPathLoss),
		Expect:     func(v *Values) Label { return graded(v.Fraction("loss"), 1e-9, 0.25, Is(diagnose.ECMPPathLoss)) },
		NearMisses: []NearMiss{noLoss()},
		Build: func(st *Stage) {
			front, back := st.Bridge("front"), st.Bridge("back")
			st.Client = st.Host("client")
			st.Client.Attach(front, clientIP+"/24")
			st.Client.Route("10.79.0.0/24", "10.77.0.1")
			r := st.Host("router")
			r.Attach(front, "10.77.0.1/24")
			r.Forward()
			server := st.Host("server")
			server.Attach(back, "10.79.0.21/24")
			for i, name := range []string{"path1", "path2"} {
				mid := st.Bridge(name)
				subnet := "10.78." + string('1'+rune(i)) + "."
				r.Attach(mid, subnet+"1/24")
				p := st.Host(name)
				var stages []wires.Stage
				if i == 1 {
					stages = append(stages, wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), wires.All(wires.TCP, wires.Going(wires.In))))
				}
				st.place(p, mid, stages, subnet+"2/24")
				p.Attach(back, "10.79.0."+string('1'+rune(i))+"/24")
				p.Forward()
				p.Route("10.77.0.0/24", subnet+"1")
			}
			r.Route("10.79.0.0/24", "10.78.1.2", "10.78.2.2")
			server.Route("10.77.0.0/24", "10.79.0.1")
			server.Serve(topo.Service{Port: port, Then: topo.Echo})
			st.Target = at("10.79.0.21", port).String()
		},
	}
}

func pmtuBlackhole() Scenario {
	return Scenario{
		Name: "pmtu-blackhole",
		Story: "A tunnel on the way drops packets of more than its size and says nothing. Connections open, small requests work, the first full segment is " +
			"repeated for ever.",
		Params:     []Param{{"mtu", "1000", "octets of IP that fit", whole(576, 600, 1450, 65535)}, familyParam()},
		Label:      Is(diagnose.MTUBlackhole),
		Expect:     func(v *Values) Label { return unless(v.Int("mtu") >= 1500, Is(diagnose.MTUBlackhole)) },
		NearMisses: []NearMiss{{"1500", map[string]string{"mtu": "1500"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.pair(wires.Drop(wires.Longer(st.Int("mtu"))))
			d.clientLink.SingleSegments()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}
