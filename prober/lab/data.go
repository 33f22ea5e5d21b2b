package lab

import (
	"maps"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// dataScenarios are those whose handshakes are well, and whose data is not.
func dataScenarios() []Scenario {
	return []Scenario{dataLoss(), dataLossUp(), dataReorder(), groReorder(), tlpOnly(), dataPMTU(), dataPMTUUp()}
}

// bulk is how much a data scenario's server sends.
const bulk = 4 << 20

func familyParam() Param { return Param{"family", "4", "of IP: 4 or 6", among("4", "6")} }

// over6 are settings over IPv6.
func over6(set map[string]string) map[string]string {
	out := map[string]string{"family": "6"}
	maps.Copy(out, set)
	return out
}

// six reports whether the scenario runs over IPv6.
func (st *Stage) six() bool {
	switch st.String("family") {
	case "4":
	case "6":
		return true
	default:
		st.keep("family", errNotOneOf("4", "6"))
	}
	return false
}

// pair is a client and a server on one switch over the family that was asked for, with stages in front of the server.
func (st *Stage) pair(stages ...wires.Stage) *direct {
	if !st.six() {
		return st.direct(stages...)
	}
	d := &direct{lan: st.Bridge("lan")}
	st.Client = st.Host("client")
	d.clientLink = st.Client.Attach(d.lan, clientIP6+"/64")
	d.server = st.Host("server")
	d.serverLink = st.place(d.server, d.lan, stages, serverIP6+"/64")
	st.Target = at(serverIP6, port).String()
	return d
}

// opened chooses segments of connections that are open: handshakes are spared.
func opened(way wires.Direction) wires.Match {
	return wires.All(wires.TCP, wires.Going(way), func(p wires.Packet) bool { return p.Seg.Flags&wire.SYN == 0 })
}

// The words for which way loses.
const (
	lossBack  = "the way back loses, the way to the target does not"
	lossThere = "the way to the target loses, the way back does not"
	lossBoth  = "both ways lose"
)

func dataLoss() Scenario {
	return Scenario{
		Name:  "data-loss",
		Story: "Two segments of a hundred are lost on the way to the client once a connection is open, acknowledgments as well; handshakes are spared.",
		Params: append(lossParams("0.02", 0.005, 0.05), Param{"there", "0", "share of the segments to the server that are lost as well", portion(0, 0)},
			Param{"narrow", "0", "octets a second that the way to the client carries, with a queue of 50 ms; 0: any", whole(0, 0, 0, 1_000_000_000)}, familyParam()),
		Exchange: "source",
		Label:    Is(diagnose.PathLoss).Saying(lossBack),
		Expect:   lostData,
		NearMisses: []NearMiss{noLoss(),
			{"its own queue", map[string]string{"loss": "0", "narrow": "3000000"}, Healthy()},
			{"both ways", map[string]string{"there": "0.02"}, Is(diagnose.PathLoss).Saying(lossBoth)},
			{"IPv6", over6(nil), Is(diagnose.PathLoss)},
			{"IPv6, no loss", over6(noLoss().Set), Healthy()}},
		Build: func(st *Stage) {
			data := wires.All(wires.Data, wires.Going(wires.Out))
			seed := uint64(st.Uint32("seed"))
			stages := []wires.Stage{wires.Lose(st.Fraction("loss"), wires.Random(seed), opened(wires.Out)),
				wires.Lose(st.Fraction("there"), wires.Random(seed+1), opened(wires.In))}
			if rate := st.Int("narrow"); rate > 0 {
				stages = append(stages, wires.Narrow(float64(rate), 50*time.Millisecond, data))
			}
			st.pair(stages...).server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
		},
	}
}

func dataLossUp() Scenario {
	return Scenario{
		Name:       "data-loss-up",
		Story:      "Two segments of a hundred are lost on the way to the server once a connection is open; handshakes, and the way back, are spared.",
		Params:     append(lossParams("0.02", 0.005, 0.05), familyParam()),
		Exchange:   "sink",
		Label:      Is(diagnose.PathLoss).Saying(lossThere),
		Expect:     lostDataUp,
		NearMisses: []NearMiss{noLoss(), {"IPv6", over6(nil), Is(diagnose.PathLoss)}, {"IPv6, no loss", over6(noLoss().Set), Healthy()}},
		Build: func(st *Stage) {
			data := wires.All(wires.Data, wires.Going(wires.In))
			d := st.pair(wires.Lose(st.Fraction("loss"), wires.Random(uint64(st.Uint32("seed"))), data), wires.Delay(time.Millisecond, 0, nil, wires.Any))
			d.server.Serve(topo.Service{Port: port, Then: topo.Sink})
		},
	}
}

func dataReorder() Scenario {
	inOrder := map[string]string{"share": "0"}
	return Scenario{
		Name: "data-reorder",
		Story: "Now and then a data segment is overtaken by those behind it; none is lost. The receiver's SACKs make the sender repeat what had " +
			"arrived.",
		Params:     []Param{{"share", "0.02", "of the segments that are held up", portion(0.01, 0.08)}, {"hold", "3ms", "for how long", lasting(0, 2*time.Millisecond, 8*time.Millisecond, time.Second)}, {"seed", "1", "of the choice", seeds()}, familyParam()},
		Exchange:   "source",
		Label:      Is(diagnose.PathReordering),
		Expect:     func(v *Values) Label { return disordered(v, Is(diagnose.PathReordering)) },
		NearMisses: []NearMiss{{"in order", inOrder, Healthy()}, {"IPv6", over6(nil), Is(diagnose.PathReordering)}, {"IPv6, in order", over6(inOrder), Healthy()}},
		Build: func(st *Stage) {
			late := wires.Chance(st.Fraction("share"), wires.Random(uint64(st.Uint32("seed"))), wires.All(wires.Data, wires.Going(wires.Out)))
			d := st.pair(wires.Hold(st.Duration("hold"), late), wires.Delay(time.Millisecond, 0, nil, wires.Any))
			d.server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
		},
	}
}

// suspectsGRO is what the evidence says where the client's own device merges.
const suspectsGRO = "this host's device merges what it receives (GRO)"

func groReorder() Scenario {
	return Scenario{
		Name: "gro-reorder",
		Story: "data-reorder at a client whose device merges what it receives (GRO): a capture looks behind it, so that the device is as suspect as the path. (A driver " +
			"whose GRO itself changes the order is nothing that a kernel of today can be made to be; the wire before the device does it here.)",
		Params: []Param{{"share", "0.02", "of the segments that are held up", portion(0.01, 0.08)}, {"hold", "3ms", "for how long", lasting(0, 2*time.Millisecond, 8*time.Millisecond, time.Second)}, {"seed", "1", "of the choice", seeds()},
			{"gro", "true", "whether the client's device merges", yes()}},
		Root:     "how long a device waits for more to merge is the machine's administrator's to set",
		Exchange: "source",
		Label:    Is(diagnose.PathReordering).Saying(suspectsGRO),
		Expect: func(v *Values) Label {
			fault := Is(diagnose.PathReordering)
			if v.Bool("gro") {
				fault = fault.Saying(suspectsGRO)
			}
			return disordered(v, fault)
		},
		NearMisses: []NearMiss{{"in order", map[string]string{"share": "0"}, Healthy()},
			{"the same without GRO", map[string]string{"gro": "false"}, Is(diagnose.PathReordering)}},
		Build: func(st *Stage) {
			late := wires.Chance(st.Fraction("share"), wires.Random(uint64(st.Uint32("seed"))), wires.All(wires.Data, wires.Going(wires.Out)))
			d := st.direct(wires.Hold(st.Duration("hold"), late), wires.Delay(time.Millisecond, 0, nil, wires.Any))
			if d.clientLink.MergesReceived(st.Bool("gro")); st.Bool("gro") {
				d.clientLink.HoldsMerged(100 * time.Microsecond)
			}
			d.server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
		},
	}
}

func tlpOnly() Scenario {
	noted := Healthy().Noting(diagnose.SpuriousRetransTLP)
	return Scenario{
		Name: "tlp-only",
		Story: "The last segment of each answer is late by more than two round trips, so the server sends a tail loss probe that was not needed. " +
			"No reason for alarm.",
		Params: []Param{{"late", "3s", "by how much the last segment is at most; it goes as soon as a probe of it has passed",
			lasting(0, 280*time.Millisecond, 3*time.Second, 5*time.Second)}, familyParam()},
		Exchange:   "source",
		Label:      noted,
		Expect:     probed,
		NearMisses: []NearMiss{{"in time", map[string]string{"late": "0s"}, Healthy()}, {"IPv6", over6(nil), noted}},
		Build: func(st *Stage) {
			// 14 full segments of 1,448 octets (IPv6: 1,428) and a short one. Alone in flight, it is probed after 2·SRTT and 200 ms
			// (tcp_schedule_loss_probe in net/ipv4/tcp_output.c, 6.18), so what the round trip is says how late is late enough.
			const answer = 14*1448 + 200
			last := wires.All(wires.Data, wires.Going(wires.Out), wires.ShorterThan(1000))
			stages := []wires.Stage{wires.Delay(2*time.Millisecond, 0, nil, wires.Any)}
			if most := st.Duration("late"); most > 0 {
				stages = append(stages, &wires.Overtaken{M: last, Most: most})
			}
			d := st.pair(stages...)
			d.server.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: answer})
		},
	}
}
