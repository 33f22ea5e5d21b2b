package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func pathScenarios() []Scenario {
	return []Scenario{synLoss(), synACKLoss(), slowSYNACK(), ecmpLoss(), pmtuBlackhole(), dataLoss(), dataLossUp(), dataReorder(), tlpOnly()}
}

func lossParams(loss string) []Param {
	return []Param{{"loss", loss, "share of the packets that are lost, 0 … 1"}, {"seed", "1", "of the losses"}}
}

func noLoss() NearMiss { return NearMiss{"no loss", map[string]string{"loss": "0"}, Healthy()} }

// lossy is a server behind a wire that loses what m chooses.
func (st *Stage) lossy(m wires.Match, s topo.Service) {
	d := st.direct(wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), m))
	s.Port = port
	d.server.Serve(s)
}

func synLoss() Scenario {
	return Scenario{
		Name:       "syn-loss-30",
		Story:      "The way to the server loses three SYNs of ten, at random: no flow, port or backend is worse than another.",
		Params:     lossParams("0.3"),
		Label:      Is(diagnose.ForwardSYNLoss),
		NearMisses: []NearMiss{noLoss()},
		Build:      func(st *Stage) { st.lossy(wires.SYN, topo.Service{Then: topo.Echo}) },
	}
}

func synACKLoss() Scenario {
	return Scenario{
		Name:       "synack-loss",
		Story:      "The way back loses three SYN-ACKs of ten. The server has the SYN and repeats its answer; the client repeats its SYN.",
		Params:     lossParams("0.3"),
		Label:      Is(diagnose.SYNACKLoss),
		NearMisses: []NearMiss{noLoss()},
		Build:      func(st *Stage) { st.lossy(wires.SYNACK, topo.Service{Then: topo.Echo}) },
	}
}

func slowSYNACK() Scenario {
	return Scenario{
		Name:       "slow-synack",
		Story:      "Every SYN-ACK is late by more than the client's retransmission timeout. SYNs are repeated, but none was lost.",
		Params:     []Param{{"delay", "1300ms", "of each SYN-ACK"}},
		Label:      Is(diagnose.SlowPathNotStall),
		NearMisses: []NearMiss{{"200 ms", map[string]string{"delay": "200ms"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.direct(wires.Delay(st.Duration("delay"), 0, nil, wires.SYNACK))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func ecmpLoss() Scenario {
	return Scenario{
		Name: "ecmp-loss",
		Story: "Two equal paths, chosen by a hash of addresses and ports, and one of them loses half of what it carries. A flow keeps its path, so some " +
			"flows suffer always a little, others never.",
		Params:     lossParams("0.5"),
		Label:      Is(diagnose.ECMPPathLoss),
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
		Params:     []Param{{"mtu", "1000", "octets of IP that fit"}},
		Label:      Is(diagnose.MTUBlackhole),
		NearMisses: []NearMiss{{"1500", map[string]string{"mtu": "1500"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.direct(wires.Drop(wires.Longer(st.Int("mtu"))))
			d.clientLink.SingleSegments()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func dataLoss() Scenario {
	return Scenario{
		Name:       "data-loss",
		Story:      "Two segments of a hundred are lost on the way to the client once a connection is open, acknowledgments as well; handshakes are spared.",
		Params:     append(lossParams("0.02"), Param{"narrow", "0", "octets a second that the way to the client carries, with a queue of 50 ms; 0: any"}),
		Exchange:   "source",
		Label:      Is(diagnose.PathLoss),
		NearMisses: []NearMiss{noLoss(), {"its own queue", map[string]string{"loss": "0", "narrow": "3000000"}, Healthy()}},
		Build: func(st *Stage) {
			data := wires.All(wires.Data, wires.Going(wires.Out))
			open := wires.All(wires.TCP, wires.Going(wires.Out), func(p wires.Packet) bool { return p.Seg.Flags&wire.SYN == 0 })
			stages := []wires.Stage{wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), open)}
			if rate := st.Int("narrow"); rate > 0 {
				stages = append(stages, wires.Narrow(float64(rate), 50*time.Millisecond, data))
			}
			st.direct(stages...).server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
		},
	}
}

func dataLossUp() Scenario {
	return Scenario{
		Name:       "data-loss-up",
		Story:      "Two segments of a hundred are lost on the way to the server once a connection is open; handshakes, and the way back, are spared.",
		Params:     lossParams("0.02"),
		Exchange:   "sink",
		Label:      Is(diagnose.PathLoss),
		NearMisses: []NearMiss{noLoss()},
		Build: func(st *Stage) {
			data := wires.All(wires.Data, wires.Going(wires.In))
			d := st.direct(wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), data), wires.Delay(time.Millisecond, 0, nil, wires.Any))
			d.server.Serve(topo.Service{Port: port, Then: topo.Sink})
		},
	}
}

// bulk is how much a data scenario's server sends.
const bulk = 4 << 20

func dataReorder() Scenario {
	return Scenario{
		Name: "data-reorder",
		Story: "Now and then a data segment is overtaken by those behind it; none is lost. The receiver's SACKs make the sender repeat what had " +
			"arrived.",
		Params:     []Param{{"share", "0.02", "of the segments that are held up"}, {"hold", "3ms", "for how long"}, {"seed", "1", "of the choice"}},
		Exchange:   "source",
		Label:      Is(diagnose.PathReordering),
		NearMisses: []NearMiss{{"in order", map[string]string{"share": "0"}, Healthy()}},
		Build: func(st *Stage) {
			late := wires.Chance(st.Fraction("share"), wires.Random(uint64(st.Uint32("seed"))), wires.All(wires.Data, wires.Going(wires.Out)))
			d := st.direct(wires.Hold(st.Duration("hold"), late), wires.Delay(time.Millisecond, 0, nil, wires.Any))
			d.server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
		},
	}
}

func tlpOnly() Scenario {
	return Scenario{
		Name: "tlp-only",
		Story: "The last segment of each answer is late by more than two round trips, so the server sends a tail loss probe that was not needed. " +
			"No reason for alarm.",
		Params:   []Param{{"late", "300ms", "by how much the last segment is"}},
		Exchange: "source",
		Label:    Healthy().Noting(diagnose.SpuriousRetransTLP),
		Build: func(st *Stage) {
			// 14 full segments of 1,448 octets and a short one. Alone in flight, it is probed after 2·SRTT and 200 ms (tcp_schedule_loss_probe in
			// net/ipv4/tcp_output.c, 6.18).
			const answer = 14*1448 + 200
			last := wires.All(wires.Data, wires.Going(wires.Out), wires.ShorterThan(1000))
			d := st.direct(wires.Hold(st.Duration("late"), wires.FirstOfFlow(1, last)), wires.Delay(2*time.Millisecond, 0, nil, wires.Any))
			d.server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: answer})
		},
	}
}
