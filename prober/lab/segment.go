package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func flapping() Scenario {
	return Scenario{
		Name: "flapping",
		Story: "Two balancers both believe that they are the master and announce the VIP in turn, several times a second: " +
			"each announcement moves the traffic.",
		Params: []Param{{"every", "300ms", "between two announcements", lasting(10*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond, time.Minute)}, {"masters", "2", "balancers that announce it, 1 or 2", whole(1, 2, 2, 2)},
			{"moves", "false", "one failover in place of it all: the other takes the VIP over once, and announces it", among("false").or("true")}},
		Label: Is(diagnose.NeighborFlapping),
		NearMisses: []NearMiss{
			{"one master, which repeats itself", map[string]string{"masters": "1"}, Healthy()},
			{"one failover, announced", map[string]string{"moves": "true"}, Healthy()},
		},
		Build: func(st *Stage) {
			v := st.vip(1, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			every := st.Duration("every")
			second := st.Host("second-lb").Attach(v.lan, "10.77.0.11/24")
			if st.Bool("moves") {
				// The old master is gone by the time anybody looks; what it said last is in the client's table.
				st.Step("the old master's entry", func() error { return v.clientLink.Learn(vipIP, second.MAC) })
				v.lbLink.Announce(addr(vipIP), 10*every, 0)
				return
			}
			v.lbLink.Announce(addr(vipIP), 2*every, 2*every)
			if st.Int("masters") > 1 {
				second.Announce(addr(vipIP), 2*every, every)
			}
		},
	}
}

// routed is a client, a router and a server behind it.
type routed struct {
	client, router *topo.Link // on the client's segment
}

func (st *Stage) routed() routed {
	r := st.routedFrom("24")
	st.Client.Route("10.78.0.0/24", "10.77.0.1")
	return r
}

// routedFrom gives the client a netmask of its own, and no route.
func (st *Stage) routedFrom(bits string) routed {
	front, back := st.Bridge("front"), st.Bridge("back")
	st.Client = st.Host("client")
	var r routed
	r.client = st.Client.Attach(front, clientIP+"/"+bits)
	router := st.Host("router")
	r.router = router.Attach(front, "10.77.0.1/24")
	router.Attach(back, "10.78.0.1/24")
	router.Forward()
	server := st.Host("server")
	server.Attach(back, "10.78.0.21/24")
	server.Route("default", "10.78.0.1")
	server.Serve(topo.Service{Port: port, Then: topo.Echo})
	st.Target = at("10.78.0.21", port).String()
	return r
}

func arpRouter() Scenario {
	return Scenario{
		Name: "arp-router",
		Story: "The server is behind a router that has no ARP entry for the client and keeps only 3 packets while it asks: the SYN-ACKs to a burst are lost one " +
			"hop before the client, and no setting of the server helps.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.RemoteARPQueueOverflow),
		Expect:     remoteQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			r := st.routed()
			r.client.Knows("10.77.0.1", r.router)
			st.coldTowards(r.router, r.client, "10.77.0.1", clientIP)
		},
	}
}

func arpGateway() Scenario {
	return Scenario{
		Name:       "arp-gateway",
		Story:      "The server is behind a router, and the client has no ARP entry for that router: the first burst to anywhere beyond it loses SYNs in the client.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.LocalARPQueueOverflow),
		Expect:     localQueue,
		NearMisses: []NearMiss{deepQueue()},
		Build: func(st *Stage) {
			r := st.routed()
			st.coldTowards(r.client, r.router, clientIP, "10.77.0.1")
		},
	}
}

func arpKnown() Scenario {
	return Scenario{
		Name: "arp-known",
		Story: "arp-client, but the client knows the VIP by now, and forgets nobody while its table is small: the fault sleeps until the entry is gone. " +
			"Deleting that one entry wakes it.",
		Params:     []Param{queueParam(), delayParam()},
		Label:      Is(diagnose.LocalARPQueueOverflow),
		Expect:     localQueue,
		NearMisses: []NearMiss{deepQueue()},
		Grants:     []Grant{GrantForget},
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			st.coldTowards(v.clientLink, v.lbLink, clientIP, vipIP)
			known := func() error { return v.clientLink.Learn(vipIP, v.lbLink.MAC) }
			st.Rearm = known
			st.Step("the client's entry", known)
		},
	}
}

func proxyARP() Scenario {
	return Scenario{
		Name: "proxy-arp",
		Story: "The client takes the server for a neighbour, since its netmask is too wide; a router in between answers ARP in the server's stead, and all works. " +
			"Until somebody switches that off.",
		Params:     []Param{{"proxy", "true", "whether the router answers for the server", yes()}},
		Label:      Healthy(),
		NearMisses: []NearMiss{{"no proxy", map[string]string{"proxy": "false"}, Is(diagnose.LocalARPUnresolved)}},
		Build: func(st *Stage) {
			r := st.routedFrom("14") // 10.76.0.0 to 10.79.255.255
			if st.Bool("proxy") {
				r.router.Conf("ipv4", "proxy_arp", "1")
				r.router.Neighbor("ipv4", "proxy_delay", "0")
			}
		},
	}
}
