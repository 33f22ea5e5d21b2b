package lab

import (
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func timestampScenarios() []Scenario {
	return []Scenario{recycleDirect(), recycleHeal(), recycleControl(), recycleIdle(), recycleVIP(), recycleShare(), monitorOwnClock(), monitorNoTS(), l7Proxy(), randomTSClient(),
		timeWaitReuse(), portReuse(), clientPAWS()}
}

// recycleParam says which old kernel the real servers are.
func recycleParam() Param {
	return Param{"recycle", "2.6.32", "per-host PAWS of the servers: 2.6.32 (SYNs without timestamps pass), 3.10 (they are dropped), off", among("2.6.32", "3.10").or("off")}
}

// recycle is the rule that a server of that kernel holds; nothing for a healthy one.
func (st *Stage) recycle() []wires.Stage {
	switch v := st.String("recycle"); v {
	case "2.6.32":
		return []wires.Stage{&wires.Recycle{NoTS: wires.NoTSAccepted}}
	case "3.10":
		return []wires.Stage{&wires.Recycle{NoTS: wires.NoTSDropped}}
	case "off":
		return nil
	default:
		st.keep("recycle", errNotOneOf("2.6.32", "3.10", "off"))
		return nil
	}
}

// gapParam is how far another client's clock is ahead.
func gapParam() Param {
	return Param{"gap", "500000000", "ticks by which the other client's timestamp clock is ahead of the prober's", whole(0, 60_000, 2_000_000_000, math.MaxUint32)}
}

// closerParam is who ends the background connections.
func closerParam() Param {
	return Param{"closer", "server", "who closes the other client's connections first: server or client", among("server").or("client")}
}

func noRecycle() NearMiss {
	return NearMiss{"recycle off", map[string]string{"recycle": "off"}, Healthy()}
}

func clientCloses() NearMiss {
	return NearMiss{"client closes first", map[string]string{"closer": "client"}, Healthy()}
}

// closer is the exchange and the service of connections that the parameter's side closes.
func (st *Stage) closer() (exchange, topo.Service) {
	switch v := st.String("closer"); v {
	case "server":
		return request, topo.Service{Then: topo.CloseFirst}
	case "client":
		return hangUp, topo.Service{Then: topo.Echo}
	default:
		st.keep("closer", errNotOneOf("server", "client"))
		return nil, topo.Service{}
	}
}

func recycleVIP() Scenario {
	return Scenario{
		Name: "recycle-vip",
		Story: "Two clients with timestamp clocks far apart share the balancer's address towards servers with tcp_tw_recycle=1. " +
			"Whenever a server closes a connection of the one that is ahead, the other is refused there for a minute.",
		Params: []Param{recycleParam(), gapParam(), closerParam(), {"every", "150ms", "between two connections of the other client", lasting(10*time.Millisecond, 50*time.Millisecond, time.Second, time.Minute)},
			membersParam("2", 1, 5), {"snat", "true", "whether the balancer puts its own address in the place of the clients'", yes()},
			{"timestamps", "2", "net.ipv4.tcp_timestamps of the prober's host: 2 one clock for all connections, 1 an offset for each, 0 none", among("2", "1").or("0")}},
		Label:  Is(diagnose.TWRecyclePAWSDropSNAT),
		Expect: recycledBehindVIP,
		NearMisses: []NearMiss{noRecycle(), clientCloses(), {"each client by its own address", map[string]string{"snat": "false"}, Healthy()},
			{"prober with an offset per connection", map[string]string{"timestamps": "1"}, Is(diagnose.TWRecyclePAWSDropSNAT).OrAlso(diagnose.TWRecyclePAWSDrop)}},
		Build: func(st *Stage) {
			v := st.vip(st.Int("members"), wiring{real: func(int) []wires.Stage { return st.recycle() }})
			st.balances(v)
			st.Client.Sysctl("net.ipv4.tcp_timestamps", st.String("timestamps"))
			st.poison(v, int64(st.Uint32("gap")))
		},
	}
}

// recycleShare has new and old servers behind one VIP, and tells the diagnosis who they are.
func recycleShare() Scenario {
	return Scenario{
		Name: "recycle-share",
		Story: "Four real servers of which one still has an old kernel with tcp_tw_recycle=1; two clients with clocks far apart share the balancer's " +
			"address. A quarter of one client's connections is refused, and a health check of the other servers shows nothing. The real servers are known.",
		Params: []Param{recycleParam(), gapParam(), closerParam(), {"every", "150ms", "between two connections of the other client", lasting(10*time.Millisecond, 50*time.Millisecond, time.Second, time.Minute)},
			membersParam("4", 2, 6), {"old", "1", "how many of them are old", whole(0, 1, 3, 32)}},
		Label:   Is(diagnose.TWRecyclePAWSDropSNAT),
		Compare: true,
		Expect:  recycledShare,
		NearMisses: []NearMiss{
			{"two of four", map[string]string{"old": "2"}, Is(diagnose.TWRecyclePAWSDropSNAT)},
			{"none is old", map[string]string{"old": "0"}, Healthy()}, clientCloses()},
		Build: func(st *Stage) {
			old := int(st.Uint32("old"))
			v := st.vip(st.Int("members"), wiring{real: func(i int) []wires.Stage {
				if i < old {
					return st.recycle()
				}
				return nil
			}})
			v.balance()
			oneClock(st.Client)
			st.poison(v, int64(st.Uint32("gap")))
		},
	}
}

// poison lets another client, gap ticks ahead, visit every real server through the VIP before the prober comes, and ever after.
func (st *Stage) poison(v *vip, gap int64) {
	how, service := st.closer()
	v.serve(service)
	st.visits(st.other(v.lan, gap), st.Target, len(v.real), st.Duration("every"), how)
}

// monitor builds the balancer's own view: it probes a member from the address that business also comes from.
func (st *Stage) monitor(stages []wires.Stage) *vip {
	v := st.vip(1, wiring{real: func(int) []wires.Stage { return stages }})
	v.balance()
	v.serve(topo.Service{Then: topo.CloseFirst})
	oneClock(v.lb)
	st.visits(st.other(v.lan, int64(st.Uint32("gap"))), st.Target, 1, 150*time.Millisecond, request)
	st.Client, st.Target, st.Members = v.lb, st.Members[0], nil
	return v
}

func monitorOwnClock() Scenario {
	return Scenario{
		Name: "monitor-own-clock",
		Story: "The balancer's health monitor and the business it forwards leave from one address with two timestamp clocks. The server takes " +
			"the monitor, whose clock is behind, for a ghost of older connections.",
		Params:     []Param{recycleParam(), gapParam()},
		Label:      Is(diagnose.TSClockDomainConflict).OrAlso(diagnose.TSClockDomainConflict, diagnose.TWRecyclePAWSDrop),
		NearMisses: []NearMiss{noRecycle()},
		Build:      func(st *Stage) { st.monitor(st.recycle()) },
	}
}

func monitorNoTS() Scenario {
	return Scenario{
		Name: "monitor-no-ts",
		Story: "The same, but the monitor sends no timestamps and the server is a 2.6.32, which does not ask for them: the control, " +
			"nothing is wrong for the monitor.",
		Params: []Param{recycleParam(), gapParam()},
		Label:  Healthy().OrAlso(diagnose.TSClockDomainConflict).OrAlso(diagnose.TWRecyclePAWSDropSNAT),
		Expect: monitored,
		NearMisses: []NearMiss{{"3.10", map[string]string{"recycle": "3.10"},
			Is(diagnose.TSClockDomainConflict).OrAlso(diagnose.TWRecyclePAWSDropSNAT)}},
		Build: func(st *Stage) {
			v := st.monitor(st.recycle())
			v.lb.Sysctl("net.ipv4.tcp_timestamps", "0")
		},
	}
}

func l7Proxy() Scenario {
	return Scenario{
		Name: "l7-proxy",
		Story: "A full proxy without timestamps stands before servers with tcp_tw_recycle=1: whatever clock the clients have, the servers never " +
			"see it. Nothing may be concluded about them from here.",
		Params: []Param{recycleParam(), gapParam(), closerParam()},
		Label:  Is(diagnose.LBFullProxyMasks).OrAlso(diagnose.Healthy).OrAlso(),
		Build: func(st *Stage) {
			v := st.vip(2, wiring{real: func(int) []wires.Stage { return st.recycle() }})
			v.lb.Sysctl("net.ipv4.tcp_timestamps", "0")
			how, service := st.closer()
			v.serve(service)
			v.lb.Proxy(port, st.Members)
			st.visits(st.other(v.lan, int64(st.Uint32("gap"))), st.Target, len(v.real), 150*time.Millisecond, how)
		},
	}
}

func randomTSClient() Scenario {
	return Scenario{
		Name: "random-ts-client",
		Story: "No NAT and one client, but its kernel (6.18.19 or later) gives every source port a timestamp offset of its own. A server with " +
			"tcp_tw_recycle=1 refuses about half of its new connections.",
		Params:     []Param{recycleParam()},
		Label:      Is(diagnose.ClientRandomTSVsRecycle).OrAlso(diagnose.TWRecyclePAWSDrop),
		NearMisses: []NearMiss{noRecycle()},
		Build: func(st *Stage) {
			d := st.direct(st.recycle()...)
			d.server.Serve(topo.Service{Port: port, Then: topo.CloseFirst})
			st.visitOnce(st.Client, st.Target, request) // the next may be refused already
			st.goesOnVisiting(st.Client, st.Target, 150*time.Millisecond, request)
		},
	}
}

func timeWaitReuse() Scenario {
	return Scenario{
		Name: "timewait-snat-reuse",
		Story: "The balancer rewrites sources to few ports and forgets them a second after close, while the servers still hold them in " +
			"TIME_WAIT: a new connection meets an old one and is answered with a bare ACK.",
		Params: []Param{{"ports", "32", "source ports of the balancer, 16 … 10000", whole(16, 16, 48, 10_000)},
			{"forgets", "1", "seconds after which the balancer forgets a closed connection", whole(1, 1, 2, 3600)}},
		Label:      Is(diagnose.TimeWaitCollision),
		Expect:     reused,
		NearMisses: []NearMiss{{"enough ports", map[string]string{"ports": "10000", "forgets": "120"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(1, wiring{})
			v.serve(topo.Service{Then: topo.CloseFirst})
			v.lb.Sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait", st.String("forgets"))
			v.lb.Sysctl("net.netfilter.nf_conntrack_tcp_timeout_close", st.String("forgets"))
			last := uint16(20000 + max(st.Int("ports"), 16) - 1)
			v.lb.Rules(v.table(nft.RoundRobin(v.members(), v.match()...), nft.FromSource(addr(vipIP), 20000, last)))
			o := st.other(v.lan, int64(1)<<30)
			for range 60 {
				st.visitOnce(o, st.Target, request)
			}
			st.goesOnVisiting(o, st.Target, 50*time.Millisecond, request)
		},
	}
}

func portReuse() Scenario {
	return Scenario{
		Name: "port-reuse",
		Story: "An IPVS director before 5.9: a client that comes back with a source port it used within two minutes loses exactly the first SYN, " +
			"and stalls for a second.",
		Params: []Param{membersParam("2", 1, 4), {"holds", "120s", "how long the director holds an ended connection; 0s for not at all", lasting(0, 10*time.Second, 120*time.Second, time.Hour)}},
		Label:  Is(diagnose.IPVSPortReuseDrop),
		Expect: func(v *Values) Label {
			return graded(v.Duration("holds").Seconds(), 1e-9, 5, Is(diagnose.IPVSPortReuseDrop))
		},
		NearMisses: []NearMiss{{"new director", map[string]string{"holds": "0s"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(st.Int("members"), wiring{lb: []wires.Stage{&wires.PortReuse{Holds: st.Duration("holds")}}})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
		},
	}
}

// A client of today judges only the echo in a SYN-ACK (PAWSActive: tcp_rcv_synsent_state_process in net/ipv4/tcp_input.c, 6.18),
// not whether its TSval runs back: a TIME_WAIT reused towards a server whose clock is behind connects without harm, as tried.
func clientPAWS() Scenario {
	return Scenario{
		Name: "client-paws",
		Story: "Behind one of two members a device answers with the timestamp echo of somebody else's connection. The client discards such a " +
			"SYN-ACK and resets, again and again, while the other member serves it well.",
		Params: []Param{{"shift", "100000000", "ticks by which the echo of the second member is wrong; 0 for none", whole(0, 100_000, 2_000_000_000, math.MaxInt32)}},
		Label:  Is(diagnose.ClientPAWSReject).OrAlso(diagnose.MiddleboxTSecrCorrupt),
		Expect: func(v *Values) Label {
			return graded(float64(v.Int("shift")), 1, 60_000, Is(diagnose.ClientPAWSReject).OrAlso(diagnose.MiddleboxTSecrCorrupt))
		},
		NearMisses: []NearMiss{{"right echo", map[string]string{"shift": "0"}, Healthy()}},
		Build: func(st *Stage) {
			shift := int64(st.Uint32("shift"))
			v := st.vip(2, wiring{real: func(i int) []wires.Stage {
				return []wires.Stage{wires.ShiftTSecr(int64(i)*shift, wires.SYNACK)}
			}})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
		},
	}
}
