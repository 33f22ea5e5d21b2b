package lab

import (
	"context"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func balancerScenarios() []Scenario {
	return []Scenario{clean(), blackholeOneOfThree(), refuseOneOfThree(), poolEmpty(), synproxyDead(), mixedBackends(), localDNAT()}
}

func clean() Scenario {
	return Scenario{
		Name:   "clean",
		Story:  "A VIP with two real servers and no fault.",
		Params: []Param{membersParam("2", 1, 6), snatParam()},
		Label:  Healthy(),
		Build: func(st *Stage) {
			v := st.vip(st.Int("members"), wiring{})
			st.balances(v)
			v.serve(topo.Service{Then: topo.Echo})
		},
	}
}

// membersParam is how many real servers the VIP has, usually; drawn of from … to.
func membersParam(usual string, from, to int) Param {
	return Param{"members", usual, "real servers of the VIP", whole(1, from, to, 32)}
}

func snatParam() Param {
	return Param{"snat", "true", "whether the balancer puts its own address in the place of the clients'", among("true", "false")}
}

func brokenParams() []Param {
	return []Param{membersParam("3", 2, 6), {"broken", "1", "how many of the members are broken", whole(0, 1, 3, 32)}}
}

// hashing builds a VIP that hashes flows to its members, the last ones of them broken by f.
func (st *Stage) hashing(broken func(*topo.Host)) {
	v := st.vip(st.Int("members"), wiring{})
	v.lb.Rules(v.table(nft.Hashed(nft.IPv4, 77, v.members(), v.match()...), nft.Masquerade()))
	good := len(v.real) - min(st.Int("broken"), len(v.real))
	for i, h := range v.real {
		if i < good {
			h.Serve(topo.Service{Port: port, Then: topo.Echo})
		} else {
			broken(h)
		}
	}
}

func blackholeOneOfThree() Scenario {
	return Scenario{
		Name: "blackhole-1of3",
		Story: "One of three members drops every SYN. The balancer chooses by a hash of source address and port, so the same flow fails again and " +
			"again while a new port mostly works.",
		Params: brokenParams(),
		Label:  Is(diagnose.BlackholeBackend),
		Expect: func(v *Values) Label {
			return some(v, Is(diagnose.BlackholeBackend), Is(diagnose.ACLDrop))
		},
		NearMisses: []NearMiss{{"all serve", map[string]string{"broken": "0"}, Healthy()}},
		Build: func(st *Stage) {
			st.hashing(func(h *topo.Host) {
				h.Rules(filter("dead", nft.Input, nft.Rule{nft.DstPort(port), nft.Drop()}))
			})
		},
	}
}

func refuseOneOfThree() Scenario {
	return Scenario{
		Name:   "refuse-1of3",
		Story:  "On one of three members nothing listens: a third of the connections are refused.",
		Params: brokenParams(),
		Label:  Is(diagnose.PortClosed),
		Expect: func(v *Values) Label {
			return some(v, Is(diagnose.PortClosed), Is(diagnose.PortClosed))
		},
		NearMisses: []NearMiss{{"all serve", map[string]string{"broken": "0"}, Healthy()}},
		Build:      func(st *Stage) { st.hashing(func(*topo.Host) {}) },
	}
}

// check is a health check of the kind of keepalived's TCP_CHECK.
type check struct {
	every, timeout, beforeRetry time.Duration
	retries                     int
}

// checkParams are those of incident 002's keepalived.
func checkParams() []Param {
	return []Param{{"every", "5s", "between two health checks", lasting(100*time.Millisecond, 3*time.Second, 5*time.Second, time.Minute)}, {"timeout", "3s", "of one check", lasting(10*time.Millisecond, time.Second, 3*time.Second, time.Minute)},
		{"retry", "1", "repeats before eviction", whole(0, 1, 1, 10)}, {"before_retry", "3s", "pause before a repeat", lasting(0, time.Second, 3*time.Second, time.Minute)}}
}

func (st *Stage) check() check {
	return check{st.Duration("every"), st.Duration("timeout"), st.Duration("before_retry"), st.Int("retry")}
}

// watch evicts and readmits: in is called with whether the member is in the pool, at every change.
func (c check) watch(ctx context.Context, healthy func(context.Context) bool, in func(bool)) {
	pooled := true
	for pause := time.Duration(0); wait(ctx, pause); pause = c.every {
		ok := healthy(ctx)
		for try := 0; !ok && try < c.retries && wait(ctx, c.beforeRetry); try++ {
			ok = healthy(ctx)
		}
		if ctx.Err() == nil && ok != pooled {
			pooled = ok
			in(ok)
		}
	}
}

// wait reports whether d passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// evicts runs a health check from the balancer against its one member; while that is out, the balancer has the rule refusal.
func (st *Stage) evicts(lb *topo.Host, member string, c check, refusal nft.Rule) {
	tcpCheck := func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		return visit(ctx, lb, member, hangUp) == nil
	}
	gate := filter("pool", nft.Prerouting, refusal)
	st.Go(func(ctx context.Context) {
		c.watch(ctx, tcpCheck, func(in bool) {
			if in {
				_ = lb.SetRules(nft.Table{Family: gate.Family, Name: gate.Name})
			} else {
				_ = lb.SetRules(gate)
			}
		})
	})
}

func poolEmpty() Scenario {
	return Scenario{
		Name: "pool-empty",
		Story: "A health check has evicted the last member, whose accept queue is full now and then: the VIP alternates between service and refusal, " +
			"in step with the check.",
		Params: []Param{{"every", "1s", "between two health checks", lasting(100*time.Millisecond, 500*time.Millisecond, 1200*time.Millisecond, time.Minute)}, {"timeout", "500ms", "of one check", lasting(10*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond, time.Minute)},
			{"retry", "0", "repeats before eviction", whole(0, 0, 0, 10)}, {"before_retry", "0s", "pause before a repeat", lasting(0, 0, 0, time.Minute)},
			{"sick", "2s", "the member drops SYNs for so long, and as long it does not; 0s for never", lasting(0, 2*time.Second, 4*time.Second, time.Minute)}},
		Label:      Is(diagnose.VIPPoolEmpty).OrAlso(diagnose.VIPPoolEmpty, diagnose.ACLDrop),
		Expect:     emptied,
		NearMisses: []NearMiss{{"member well", map[string]string{"sick": "0s"}, Healthy()}},
		Budget:     30 * time.Second,
		Build: func(st *Stage) {
			v := st.vip(1, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			st.evicts(v.lb, st.Members[0], st.check(), nft.Rule(append(v.match(), nft.SYN(), nft.Reset())))
			sick := filter("sick", nft.Input, nft.Rule{nft.DstPort(port), nft.SYN(), nft.Drop()})
			if period := st.Duration("sick"); period > 0 {
				st.alternate(v.real[0], sick, period)
			}
		},
	}
}

// alternate installs and removes a table in turn, on first.
func (st *Stage) alternate(h *topo.Host, t nft.Table, period time.Duration) {
	h.Rules(t)
	st.Go(func(ctx context.Context) {
		for on := false; wait(ctx, period); on = !on {
			if on {
				_ = h.SetRules(t)
			} else {
				_ = h.SetRules(nft.Table{Family: t.Family, Name: t.Name})
			}
		}
	})
}

func synproxyDead() Scenario {
	return Scenario{
		Name: "synproxy-dead",
		Story: "A SYN proxy completes every handshake by itself, while the server behind it is dead: the connection opens at once and then hangs. " +
			"The handshake says nothing about the server.",
		Params:     []Param{{"dead", "true", "whether the server is", yes()}},
		Label:      Is(diagnose.LBFullProxyMasks),
		NearMisses: []NearMiss{{"server lives", map[string]string{"dead": "false"}, Healthy().OrAlso(diagnose.LBFullProxyMasks).OrAlso()}},
		Build: func(st *Stage) {
			front, back := st.Bridge("front"), st.Bridge("back")
			st.Client = st.Host("client")
			st.Client.Attach(front, clientIP+"/24")
			lb := st.Host("lb")
			lb.Attach(front, "10.77.0.1/24")
			lb.Attach(back, "10.78.0.1/24")
			lb.Forward()
			server := st.Host("server")
			server.Attach(back, "10.78.0.21/24")
			server.Route("default", "10.78.0.1")
			st.Client.Route("10.78.0.0/24", "10.77.0.1")
			server.Serve(topo.Service{Port: port, Then: topo.Echo})
			if st.Bool("dead") {
				server.Rules(filter("dead", nft.Input, nft.Rule{nft.DstPort(port), nft.Drop()}))
			}
			lb.Sysctl("net.netfilter.nf_conntrack_tcp_loose", "0")
			lb.Rules(nft.Table{Family: nft.IPv4, Name: "synproxy", Chains: []nft.Chain{
				{Hook: nft.Raw, Rules: []nft.Rule{{nft.Dst(addr("10.78.0.21")), nft.DstPort(port), nft.SYN(), nft.NoTrack()}}},
				{Hook: nft.Forward, Rules: []nft.Rule{
					{nft.DstPort(port), nft.InvalidOrUntracked(), nft.SYNProxy(1460, 7)},
					{nft.Invalid(), nft.Drop()},
				}},
			}})
			st.Target = at("10.78.0.21", port).String()
		},
	}
}

func mixedBackends() Scenario {
	return Scenario{
		Name: "mixed-backends",
		Story: "Three members of one pool answer with different MSS, window scale and timestamps: somebody set up one of them otherwise. " +
			"Nothing fails yet.",
		Params:     []Param{membersParam("3", 3, 6), {"mixed", "true", "whether two of them differ", yes()}},
		Label:      Is(diagnose.BackendHeterogeneity),
		NearMisses: []NearMiss{{"all alike", map[string]string{"mixed": "false"}, Healthy()}},
		Build: func(st *Stage) {
			v := st.vip(max(st.Int("members"), 3), wiring{real: func(i int) []wires.Stage {
				if i == 1 && st.Bool("mixed") {
					return []wires.Stage{wires.ClampMSS(1240, wires.SYNACK)}
				}
				return nil
			}})
			v.balance()
			if st.Bool("mixed") {
				v.real[1].Sysctl("net.ipv4.tcp_rmem", "4096\t131072\t1048576")
				v.real[2].Sysctl("net.ipv4.tcp_timestamps", "0")
			}
			v.serve(topo.Service{Then: topo.Echo})
		},
	}
}

func localDNAT() Scenario {
	return Scenario{
		Name: "local-dnat",
		Story: "The prober's own host rewrites the VIP's address on the way out, as kube-proxy does on every node. Ordinary connects work; a raw SYN " +
			"would bypass the rewriting and reach nobody.",
		Label: Healthy(),
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
			// A service address that no machine has.
			st.Client.OnLink("10.96.0.10/32", d.clientLink)
			st.Client.Rules(nft.Table{Family: nft.IPv4, Name: "service", Chains: []nft.Chain{{Hook: nft.OutputDNAT, Rules: []nft.Rule{
				{nft.Dst(addr("10.96.0.10")), nft.DstPort(port), nft.ToDestination(at(realIP(0), port))},
			}}}})
			st.Target = at("10.96.0.10", port).String()
		},
	}
}
