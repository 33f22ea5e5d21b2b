package lab

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// synTruesize is what one SYN or SYN-ACK takes of a neighbour queue: 832 octets of truesize, measured on 6.18 with veth.
const synTruesize = 832

func neighborScenarios() []Scenario {
	return []Scenario{arpClient(), arpServer(), arpBoth(), arp3s(), ndClient(), ndServer(), arpDead(), remoteARPDead(), arpQueueSize(), ndQueueSize(),
		arpKnown(), arpRouter(), arpGateway(), duplicateIP(), vipMoved(), flapping(), proxyARP()}
}

func queueParam() Param {
	return Param{"qlen", "3", "packets that wait for one unresolved neighbour", whole(1, 1, 8, 4096)}
}

// delayParam is long enough for a burst to be sent in full before the answer, also on a busy machine, and well below the first
// repeat of a SYN or SYN-ACK.
func delayParam() Param {
	return Param{"delay", "200ms", "of the ARP or ND answer, less than 1s", lasting(time.Millisecond, 60*time.Millisecond, 400*time.Millisecond, 999*time.Millisecond)}
}

// queueBytes is the unres_qlen_bytes that holds as many SYNs.
func queueBytes(packets int) string { return strconv.Itoa(packets * synTruesize) }

// deepQueue is the near miss of every queue: the same slow answer, but room for what waits (the default of 4.14 and later).
func deepQueue() NearMiss { return NearMiss{"deep queue", map[string]string{"qlen": "256"}, Healthy()} }

func arpClient() Scenario {
	return Scenario{
		Name: "arp-client",
		Story: "The client has no ARP entry for the VIP and keeps only 3 packets while it asks. Of a burst of connects the " +
			"first SYNs never leave; they are repeated a second later.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.LocalARPQueueOverflow),
		Expect:     localQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			st.coldTowards(v.clientLink, v.lbLink, clientIP, vipIP)
		},
	}
}

// coldTowards makes asker forget and ask slowly, with a short queue, and arms it again on demand.
func (st *Stage) coldTowards(asker, answerer *topo.Link, askerIP, answererIP string) {
	family := "ipv4"
	if addr(askerIP).Is6() {
		family = "ipv6"
	}
	asker.Neighbor(family, "retrans_time_ms", st.millis("delay"))
	asker.Neighbor(family, "unres_qlen_bytes", queueBytes(st.Int("qlen")))
	slow := topo.SlowARP(answererIP, askerIP)
	answerer.Host.Rules(slow)
	st.Rearm = func() error {
		if err := asker.Forget(addr(answererIP)); err != nil {
			return err
		}
		return answerer.Host.SetRules(slow)
	}
}

func arp3s() Scenario {
	return Scenario{
		Name: "arp-3s",
		Story: "arp-client on kernels of the time of incident 003: the first retransmission comes after 3 s, so a burst to a cold address takes " +
			"just over 3 s.",
		Params:     []Param{queueParam(), delayParam(), {"rto", "3s", "first retransmission timeout of client and balancer", lasting(20*time.Millisecond, time.Second, 4*time.Second, time.Minute)}},
		Label:      Is(diagnose.LocalARPQueueOverflow),
		Expect:     localQueue,
		NearMisses: []NearMiss{deepQueue()},
		Root:       "a BPF program sets the first retransmission timeout",
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			st.InitialRTO(st.Duration("rto"), append(v.real, st.Client, v.lb)...)
			st.coldTowards(v.clientLink, v.lbLink, clientIP, vipIP)
		},
	}
}

func arpServer() Scenario {
	return Scenario{
		Name: "arp-server",
		Story: "The machine that answers for the VIP has no ARP entry for the client and keeps only 3 packets while it asks: " +
			"all SYNs arrive, but of the SYN-ACKs only the last 3 come back before the SYNs are repeated.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.RemoteARPQueueOverflow),
		Expect:     remoteQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			v.clientLink.Knows(vipIP, v.lbLink)
			st.coldTowards(v.lbLink, v.clientLink, vipIP, clientIP)
		},
	}
}

// The addresses of the IPv6 twins.
const (
	clientIP6 = "fd77::2"
	serverIP6 = "fd77::21"
)

// direct6 is a client and an echoing server with IPv6 addresses only.
func (st *Stage) direct6() (client, server *topo.Link) {
	lan := st.Bridge("lan")
	st.Client = st.Host("client")
	client = st.Client.Attach(lan, clientIP6+"/64")
	h := st.Host("server")
	server = h.Attach(lan, serverIP6+"/64")
	h.Serve(topo.Service{Port: port, Then: topo.Echo})
	st.Target = at(serverIP6, port).String()
	return client, server
}

func ndClient() Scenario {
	return Scenario{
		Name:       "nd-client",
		Story:      "arp-client in IPv6: neighbour discovery has the same queue, and drops from the same end.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.LocalARPQueueOverflow),
		Expect:     localQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			client, server := st.direct6()
			st.coldTowards(client, server, clientIP6, serverIP6)
		},
	}
}

func ndServer() Scenario {
	return Scenario{
		Name:       "nd-server",
		Story:      "arp-server in IPv6: the server must discover the client before its SYN-ACKs can leave.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.RemoteARPQueueOverflow),
		Expect:     remoteQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			client, server := st.direct6()
			client.Knows(serverIP6, server)
			st.coldTowards(server, client, serverIP6, clientIP6)
		},
	}
}

func arpBoth() Scenario {
	return Scenario{
		Name: "arp-both",
		Story: "Neither side knows the other and neither learns from being asked: new machines on both sides of a switch that answers ARP for them. Of " +
			"a burst the client sends 5 SYNs, and of their SYN-ACKs 2 come back.",
		Params: []Param{{"qlen", "5", "packets that the client keeps", whole(1, 2, 8, 4096)}, {"server_qlen", "2", "the same on the other side, which never sees more packets than the first lets through", whole(1, 1, 8, 4096)},
			delayParam()},
		Label:  Is(diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow).OrAlso(diagnose.LocalARPQueueOverflow),
		Expect: twoQueues,
		NearMisses: []NearMiss{
			{"deep queues", map[string]string{"qlen": "256", "server_qlen": "256"}, Healthy()},
			{"server's queue holds what comes", map[string]string{"server_qlen": "5"},
				Is(diagnose.LocalARPQueueOverflow).OrAlso(diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow)},
		},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			delay := st.Duration("delay")
			v.clientLink.Neighbor("ipv4", "unres_qlen_bytes", queueBytes(st.Int("qlen")))
			v.clientLink.Respond(topo.Responder{For: []netip.Addr{addr(clientIP)}, Delay: delay})
			v.lbLink.Neighbor("ipv4", "unres_qlen_bytes", queueBytes(st.Int("server_qlen")))
			v.lbLink.Respond(topo.Responder{For: []netip.Addr{addr(vipIP)}, Delay: delay})
			st.Rearm = func() error {
				if err := v.lbLink.Forget(addr(clientIP)); err != nil {
					return err
				}
				return v.clientLink.Forget(addr(vipIP))
			}
		},
	}
}

func arpDead() Scenario {
	return Scenario{
		Name:  "arp-dead",
		Story: "Nobody answers ARP for the target: connects fail with 'no route to host' after three requests, about 3 s.",
		Label: Is(diagnose.LocalARPUnresolved),
		Build: func(st *Stage) {
			st.vip(1, wiring{})
			st.Target = at("10.77.0.99", port).String()
		},
	}
}

func remoteARPDead() Scenario {
	return Scenario{
		Name: "remote-arp-dead",
		Story: "The server cannot resolve the client in time, so its SYN-ACKs wait for the answer; when it comes late, several " +
			"SYN-ACKs of one port arrive at the same instant.",
		Params: []Param{{"delay", "1600ms", "of the client's ARP answer; more than 3s is never in time", lasting(0, 1200*time.Millisecond, 2800*time.Millisecond, time.Minute)}},
		Label:  Is(diagnose.RemoteARPUnresolved),
		Expect: lateAnswer,
		NearMisses: []NearMiss{
			{"prompt answer", map[string]string{"delay": "1ms"}, Healthy()},
		},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			d.clientLink.Knows(realIP(0), d.serverLink)
			d.clientLink.Respond(topo.Responder{For: []netip.Addr{addr(clientIP)}, Delay: st.Duration("delay")})
			st.Rearm = func() error { return d.serverLink.Forget(addr(clientIP)) }
		},
	}
}

func arpQueueSize() Scenario {
	const far = `the queue of a server that knows nobody yet`
	return Scenario{
		Name: "arp-queue-size",
		Story: "A server with a short queue for unresolved neighbours, which by now knows the client: the fault sleeps until " +
			"somebody new comes. Measured from outside with an unused address.",
		Params: []Param{{"qlen_bytes", "2496", far + ", in octets of truesize: 2496 is 3, 65536 is 78, 212992 is 256 SYN-ACKs", whole(1, synTruesize, 256*synTruesize, 1<<24)}},
		Label:  Is(diagnose.RemoteARPQueueOverflow).OrAlso(diagnose.Healthy),
		Expect: sleepingQueue,
		NearMisses: []NearMiss{
			{"3.3 to 4.13", map[string]string{"qlen_bytes": "65536"}, Healthy()},
			{"4.14 and later", map[string]string{"qlen_bytes": "212992"}, Healthy()},
		},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			d.serverLink.Neighbor("ipv4", "unres_qlen_bytes", st.String("qlen_bytes"))
			d.serverLink.Knows(clientIP, d.clientLink)
		},
	}
}

func ndQueueSize() Scenario {
	s := arpQueueSize()
	s.Name, s.Story = "nd-queue-size", "arp-queue-size in IPv6: the queue of neighbour discovery, measured from outside with an unused address."
	s.Build = func(st *Stage) {
		client, server := st.direct6()
		server.Neighbor("ipv6", "unres_qlen_bytes", st.String("qlen_bytes"))
		server.Knows(clientIP6, client)
	}
	return s
}

func duplicateIP() Scenario {
	return Scenario{
		Name: "duplicate-ip",
		Story: "Two machines claim the VIP: every ARP request gets two answers, and whose came last gets the connections. " +
			"Only one of them runs the service.",
		Params:     []Param{{"twins", "1", "machines with the same address besides the right one, 0 or 1", whole(0, 1, 1, 1)}},
		Label:      Is(diagnose.DuplicateAddress).OrAlso(diagnose.DuplicateAddress, diagnose.PortClosed),
		NearMisses: []NearMiss{{"one owner", map[string]string{"twins": "0"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(1, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			for range st.Int("twins") {
				st.Host("twin").Attach(v.lan, vipIP+"/24")
			}
			st.Rearm = func() error { return v.clientLink.Forget(addr(vipIP)) }
		},
	}
}

func vipMoved() Scenario {
	return Scenario{
		Name: "vip-moved",
		Story: "The VIP has moved to the standby balancer without a gratuitous ARP. The client's entry still points at the old one, which " +
			"drops what is not its own, until the entry is probed and given up.",
		Params:     []Param{{"announced", "false", "whether the move was announced", among("false").or("true")}},
		Label:      Is(diagnose.StaleNeighborAfterFailover),
		NearMisses: []NearMiss{{"announced", map[string]string{"announced": "true"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(1, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			old := st.Host("old-lb").Attach(v.lan, "10.77.0.11/24")
			st.Rearm = func() error {
				if st.Bool("announced") {
					return v.clientLink.Learn(vipIP, v.lbLink.MAC)
				}
				return v.clientLink.Learn(vipIP, old.MAC)
			}
			st.Step("the client's old entry", func() error { return st.Rearm() })
		},
	}
}
