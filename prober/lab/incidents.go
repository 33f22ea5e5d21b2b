package lab

import (
	"context"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// incidents are the five cases that the project started from, each with the topology, addresses and figures of its report.
func incidents() []Scenario {
	return []Scenario{calSNAT(), adMonitorL7(), adMonitorSeparate(), adMonitorShared(), greenplum(), newHostsARP(), slbRetransmit()}
}

func calSNAT() Scenario {
	return Scenario{
		Name: "cal-snat",
		Story: "A logging service behind a FastL4 balancer with SNAT, servers with tcp_tw_recycle=1. Connects to the VIP time out now and then; " +
			"some 15 s later the balancer resets the client. The servers remember one client's clock and refuse the others'.",
		Params: []Param{recycleParam(), closerParam(),
			{"remembered", "517740536", "TSval that the servers have from the other client at the start; it goes on with time", whole(0, 517740536, 517740536, math.MaxUint32)},
			{"refused", "481284815", "TSval clock of the prober's host where its own would not be refused", whole(0, 481284815, 481284815, math.MaxUint32)},
			{"every", "200ms", "between two connections of the other client", lasting(10*time.Millisecond, 100*time.Millisecond, time.Second, time.Minute)},
			{"expiry", "15s", "after which the balancer resets an unanswered flow", lasting(time.Second, 10*time.Second, 20*time.Second, 10*time.Minute)}},
		Label:      Is(diagnose.TWRecyclePAWSDropSNAT),
		NearMisses: []NearMiss{noRecycle(), clientCloses()},
		Budget:     30 * time.Second,
		Build: func(st *Stage) {
			known := wire.TSval(st.Uint32("remembered"))
			v := st.vip(2, wiring{
				client: st.olderThan(known),
				lb:     []wires.Stage{&wires.Expire{After: st.Duration("expiry")}},
				real:   func(int) []wires.Stage { return st.recycle() },
			})
			v.balance()
			oneClock(st.Client)
			st.poison(v, int64(known.Sub(st.uptime())))
		},
	}
}

// olderThan is nothing where this machine's own clock would be refused by a server that remembers val; else a wire that moves it to the
// parameter's value. So that, on most machines, a crafted TSval reaches the server as it was sent.
func (st *Stage) olderThan(val wire.TSval) []wires.Stage {
	const margin = 3_600_000 // an hour of ticks
	now := st.uptime()
	if val.Sub(now) > margin {
		return nil
	}
	return []wires.Stage{wires.Clock(int64(wire.TSval(st.Uint32("refused")).Sub(now)))}
}

// The addresses of incident 001.
const (
	adVIP    = "10.65.161.90"
	adSNAT   = "10.65.161.91"
	adClient = "10.65.248.24"
	adPort   = 6180
)

// adNet is its network: an application-delivery box, two authentication servers with timestamp checks, the client B.
type adNet struct {
	lan     *topo.Bridge
	box     *topo.Host
	members []string
	real    []*topo.Host
}

func (st *Stage) ad(box []wires.Stage) *adNet {
	n := &adNet{lan: st.Bridge("lan")}
	st.Client = st.Host("client")
	oneClock(st.Client)
	st.Client.Attach(n.lan, adClient+"/16")
	n.box = st.Host("box")
	st.place(n.box, n.lan, box, adVIP+"/16", adSNAT+"/16")
	n.box.Forward()
	for _, ip := range []string{"10.65.161.82", "10.65.161.83"} {
		h := st.Host("auth" + ip[len(ip)-2:])
		st.place(h, n.lan, st.recycle(), ip+"/16")
		h.Serve(topo.Service{Port: adPort, Then: topo.CloseFirst})
		n.real = append(n.real, h)
		n.members = append(n.members, at(ip, adPort).String())
	}
	st.Members = n.members
	st.Target = at(adVIP, adPort).String()
	return n
}

// business adds the client that the servers close first, and lets it work through the VIP.
func (st *Stage) business(n *adNet, gap int64) {
	b := st.Host("business")
	oneClock(b)
	st.place(b, n.lan, []wires.Stage{wires.Clock(gap)}, "10.65.248.25/16")
	st.visits(b, at(adVIP, adPort).String(), len(n.real), 200*time.Millisecond, request)
}

// layer4 forwards the VIP to the members with a source address.
func (n *adNet) layer4(source string) {
	to := []netip.AddrPort{at("10.65.161.82", adPort), at("10.65.161.83", adPort)}
	n.box.Rules(nft.Table{Family: nft.IPv4, Name: "vip", Chains: []nft.Chain{
		{Hook: nft.DNAT, Rules: nft.RoundRobin(to, nft.Dst(addr(adVIP)), nft.DstPort(adPort))},
		{Hook: nft.SNAT, Rules: []nft.Rule{{nft.DstPort(adPort), nft.FromSource(addr(source), 0, 0)}}},
	}})
}

// checks lets the box check each member, every 5 s, with or without timestamps.
func (st *Stage) checks(n *adNet, timestamps bool) {
	value := "0"
	if timestamps {
		value = "2"
	}
	n.box.Sysctl("net.ipv4.tcp_timestamps", value)
	for _, m := range n.members {
		st.Go(func(ctx context.Context) {
			for ok := true; ok; ok = wait(ctx, 5*time.Second) {
				_ = visit(ctx, n.box, m, hangUp)
			}
		})
	}
}

func adMonitorL7() Scenario {
	return Scenario{
		Name: "ad-monitor-l7",
		Story: "The box ends the client's connection and makes its own, without timestamps: the servers' timestamp check never sees a clock. Business and " +
			"monitor are well, and the VIP says nothing about the servers.",
		Params: []Param{recycleParam(), gapParam()},
		Label:  Is(diagnose.LBFullProxyMasks).OrAlso(diagnose.Healthy).OrAlso(),
		Build: func(st *Stage) {
			n := st.ad(nil)
			st.checks(n, false)
			n.box.Proxy(adPort, n.members)
			st.business(n, int64(st.Uint32("gap")))
		},
	}
}

func adMonitorSeparate() Scenario {
	return Scenario{
		Name: "ad-monitor-separate-snat",
		Story: "The box forwards at layer 4 from an address of its own, 10.65.161.91, and rewrites all clients' timestamps to one clock; its monitor uses " +
			"another address. All is well, until a client comes whose timestamps are not rewritten, or who sends none.",
		Params: []Param{recycleParam(), gapParam(),
			{"rewrite", "true", "whether the box rewrites timestamps", yes()},
			{"timestamps", "true", "whether the prober's host sends them", yes()}},
		Label:  Healthy().OrAlso(diagnose.TimestampNormalizedPossible).OrAlso(),
		Expect: rewritten,
		NearMisses: []NearMiss{
			{"provincial client, clock not rewritten", map[string]string{"rewrite": "false"}, Is(diagnose.TWRecyclePAWSDropSNAT)},
			// From outside it is an inference: a filter could ask for timestamps as well.
			{"provincial client without timestamps", map[string]string{"recycle": "3.10", "timestamps": "false"},
				Label{Verdicts: []diagnose.Verdict{diagnose.TWRecyclePAWSDropSNAT}, Level: diagnose.Suspected}},
		},
		Build: func(st *Stage) {
			gap := int64(st.Uint32("gap"))
			var box []wires.Stage
			if st.Bool("rewrite") {
				box = append(box, &wires.OneClock{Port: adPort, Clock: st.clock(gap)})
			}
			n := st.ad(box)
			n.layer4(adSNAT)
			st.checks(n, false)
			if !st.Bool("timestamps") {
				st.Client.Sysctl("net.ipv4.tcp_timestamps", "0")
			}
			st.business(n, gap)
		},
	}
}

func adMonitorShared() Scenario {
	return Scenario{
		Name: "ad-monitor-shared-snat",
		Story: "Monitor and business leave the box from one address, 10.65.161.90: business with rewritten timestamps, the monitor with the system's own " +
			"clock, which is behind. The servers refuse the monitor; it declares them dead. Probed from where the monitor is.",
		Params:     []Param{recycleParam(), gapParam()},
		Label:      Is(diagnose.TSClockDomainConflict).OrAlso(diagnose.TSClockDomainConflict, diagnose.TWRecyclePAWSDrop),
		NearMisses: []NearMiss{noRecycle()},
		Build: func(st *Stage) {
			gap := int64(st.Uint32("gap"))
			n := st.ad(nil)
			n.layer4(adVIP)
			st.checks(n, true)
			st.business(n, gap)
			st.Client, st.Target, st.Members = n.box, n.members[0], nil
		},
	}
}

func greenplum() Scenario {
	return Scenario{
		Name: "greenplum-keepalived",
		Story: "A database master behind keepalived: LVS NAT and masquerade to 10.244.3.27, whose kernel has tcp_tw_recycle=1. Clients of m1, whose clock " +
			"is ahead, make the master refuse the health check, which comes from the same address; keepalived evicts the only real server.",
		Params:     append([]Param{recycleParam(), gapParam()}, checkParams()...),
		Label:      Is(diagnose.TWRecyclePAWSDropSNAT, diagnose.VIPPoolEmpty).OrAlso(diagnose.TWRecyclePAWSDropSNAT),
		NearMisses: []NearMiss{noRecycle()},
		Budget:     40 * time.Second,
		Build: func(st *Stage) {
			lan, cni := st.Bridge("lan"), st.Bridge("cni0")
			st.Client = st.Host("client")
			oneClock(st.Client)
			st.Client.Attach(lan, "192.168.128.160/24")
			m1 := st.Host("m1")
			oneClock(m1)
			st.place(m1, lan, []wires.Stage{wires.Clock(int64(st.Uint32("gap")))}, "192.168.128.158/24")
			lb := st.Host("keepalived")
			oneClock(lb)
			lb.Attach(lan, "192.168.128.149/24", "192.168.128.5/24")
			lb.Attach(cni, "10.244.3.1/24")
			lb.Forward()
			master := st.Host("master")
			st.place(master, cni, st.recycle(), "10.244.3.27/24")
			master.Route("default", "10.244.3.1")
			master.Serve(topo.Service{Port: 5432, Then: topo.CloseFirst})
			service := []nft.Part{nft.Dst(addr("192.168.128.5")), nft.DstPort(5432)}
			lb.Rules(nft.Table{Family: nft.IPv4, Name: "lvs", Chains: []nft.Chain{
				{Hook: nft.DNAT, Rules: nft.RoundRobin([]netip.AddrPort{at("10.244.3.27", 5432)}, service...)},
				{Hook: nft.SNAT, Rules: []nft.Rule{{nft.DstPort(5432), nft.FromSource(addr("10.244.3.1"), 0, 0)}}},
			}})
			st.Target, st.Members = "192.168.128.5:5432", []string{"10.244.3.27:5432"}
			st.visits(m1, st.Target, 1, 300*time.Millisecond, request)
			st.evicts(lb, st.Members[0], st.check(), nft.Rule(append(service, nft.SYN(), nft.Unreachable())))
		},
	}
}

func newHostsARP() Scenario {
	return Scenario{
		Name: "new-hosts-arp",
		Story: "Thirty new machines on one switch; a program opens ten connections to each at once. Those it has not talked to for a while stall: the queue for " +
			"unresolved neighbours holds 3 packets, on both sides.",
		Params: []Param{queueParam(), delayParam(), {"hosts", "5", "machines, 2 … 30; the second and every fourth after it unknown to us, the fourth and so on to whom we are unknown", whole(2, 4, 9, 30)}},
		Label:  Is(diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow),
		Expect: newHosts,
		NearMisses: []NearMiss{
			deepQueue(),
		},
		Build: func(st *Stage) {
			lan := st.Bridge("lan")
			st.Client = st.Host("client")
			us := st.Client.Attach(lan, clientIP+"/24")
			us.Neighbor("ipv4", "retrans_time_ms", st.millis("delay"))
			us.Neighbor("ipv4", "unres_qlen_bytes", queueBytes(st.Int("qlen")))
			var all, strangers []string
			for i := range min(st.Int("hosts"), 30) {
				ip := realIP(i)
				h := st.Host("host" + strconv.Itoa(i+1))
				l := h.Attach(lan, ip+"/24")
				l.Neighbor("ipv4", "retrans_time_ms", st.millis("delay"))
				l.Neighbor("ipv4", "unres_qlen_bytes", queueBytes(st.Int("qlen")))
				h.Serve(topo.Service{Port: port, Then: topo.Echo})
				switch i % 4 {
				case 1:
					h.Rules(topo.SlowARP(ip, clientIP))
				case 3:
					us.Knows(ip, l)
					strangers = append(strangers, ip)
				default:
					us.Knows(ip, l)
					l.Knows(clientIP, us)
				}
				all = append(all, at(ip, port).String())
			}
			st.Client.Rules(topo.SlowARP(clientIP, strangers...))
			st.Target, st.Others = all[0], all[1:]
		},
	}
}

func slbRetransmit() Scenario {
	return Scenario{
		Name: "slb-retransmit",
		Story: "A software balancer sends to a machine whose driver puts merged segments out of order. Every SACK makes the balancer repeat data that was not " +
			"lost; the same with tcp_reordering=6 repeats less.",
		Params: []Param{{"share", "0.05", "of the segments that are overtaken", portion(0.01, 0.1)}, {"hold", "2ms", "for how long", lasting(0, 2*time.Millisecond, 8*time.Millisecond, time.Second)},
			{"reordering", "3", "net.ipv4.tcp_reordering of the balancer", whole(1, 3, 10, 300)}, {"seed", "1", "of the choice", seeds()}},
		Exchange:   "source",
		Label:      Is(diagnose.PathReordering),
		Expect:     func(v *Values) Label { return disordered(v, Is(diagnose.PathReordering)) },
		NearMisses: []NearMiss{{"in order", map[string]string{"share": "0"}, Healthy()}},
		Build: func(st *Stage) {
			late := wires.Chance(st.Fraction("share"), wires.Random(uint64(st.Uint32("seed"))), wires.All(wires.Data, wires.Going(wires.In)))
			lan := st.Bridge("lan")
			st.Client = st.Host("client")
			st.place(st.Client, lan, []wires.Stage{wires.Delay(time.Millisecond, 0, nil, wires.Any), wires.Hold(st.Duration("hold"), late)},
				clientIP+"/24")
			slb := st.Host("slb")
			slb.Attach(lan, vipIP+"/24")
			slb.Sysctl("net.ipv4.tcp_reordering", st.String("reordering"))
			slb.Serve(topo.Service{Port: port, Then: topo.Bulk, Size: bulk})
			st.Target = at(vipIP, port).String()
		},
	}
}
