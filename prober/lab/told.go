package lab

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

// toldScenarios are those in which the server tells its own counters while it is probed.
func toldScenarios() []Scenario {
	return []Scenario{toldAcceptFull(), toldSYNQueueFull(), toldARPServer(), toldRecycle()}
}

// whoseParam is where the fault is that the server's counters count.
func whoseParam(what string) Param {
	return Param{"whose", "ours", what + ": at the port that is probed (ours), or at another of the server while a filter drops SYNs to the one that is probed (theirs)", among("ours").or("theirs")}
}

// another is the port where the fault is that has nothing to do with the target.
const another = port + 8000

// ours reports whether the fault is the target's own; else a filter drops the target's SYNs.
func (st *Stage) ours(d *direct) bool {
	switch v := st.String("whose"); v {
	case "ours":
		return true
	case "theirs":
		d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		d.server.Rules(filter("acl", nft.Input, nft.Rule{nft.DstPort(port), nft.Drop()}))
	default:
		st.keep("whose", errNotOneOf("ours", "theirs"))
	}
	return false
}

func toldAcceptFull() Scenario {
	return Scenario{
		Name: "told-accept-full",
		Story: "accept-full, and the server tells its own counters: from outside the silence has several causes, ListenOverflows and the listener's Recv-Q " +
			"leave one.",
		Params: []Param{whoseParam("the full accept queue"), {"every", "30ms", "between two SYNs of others to the full queue at another port", lasting(5*time.Millisecond, 20*time.Millisecond, 60*time.Millisecond, time.Second)}, byParam()},
		Label:  Label{Verdicts: []diagnose.Verdict{diagnose.AcceptQueueOverflow}, Level: diagnose.Proven}.Told(diagnose.AcceptQueueOverflow, diagnose.EffectNamed),
		NearMisses: []NearMiss{{"another port's queue", map[string]string{"whose": "theirs"},
			Is(diagnose.ACLDrop).Told(diagnose.AcceptQueueOverflow, diagnose.EffectBackground)},
			{"by a node_exporter", map[string]string{"by": exporter},
				Label{Verdicts: []diagnose.Verdict{diagnose.AcceptQueueOverflow}, Level: diagnose.Proven}.Told(diagnose.AcceptQueueOverflow, diagnose.EffectNamed)}},
		Build: func(st *Stage) {
			d := st.direct()
			st.deposes(d.server, st.Target, nil)
			o := st.Host("other")
			o.Attach(d.lan, otherIP+"/24")
			full := uint16(another)
			if st.ours(d) {
				full = port
			}
			d.server.Serve(topo.Service{Port: full, Then: topo.Stuck, Backlog: 1})
			st.holds(o, at(realIP(0), full).String(), 3)
			if full == another {
				st.knocks(o, at(realIP(0), full), st.Duration("every"))
			}
		},
	}
}

// knocks lets a host try connections that come to nothing, every so often.
func (st *Stage) knocks(from *topo.Host, to netip.AddrPort, every time.Duration) {
	st.Go(func(ctx context.Context) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = visitBriefly(ctx, from, to)
			}
		}
	})
}

// visitBriefly sends one SYN and gives up.
func visitBriefly(ctx context.Context, from *topo.Host, to netip.AddrPort) error {
	c, err := from.Dial(ctx, &net.Dialer{Timeout: 5 * time.Millisecond}, to.String())
	if err != nil {
		return err
	}
	return c.Close()
}

func toldSYNQueueFull() Scenario {
	return Scenario{
		Name: "told-synq-full",
		Story: "synq-full, and the server tells its own counters: a flood moves ListenDrops all the time, with our SYNs and without; that the listener's " +
			"half-open connections stand at their limit, with cookies off, proves it.",
		Params: []Param{whoseParam("the flood"), {"rate", "200", "SYNs a second of the flood", whole(0, 100, 400, 2000)}, byParam()},
		Label:  Label{Verdicts: []diagnose.Verdict{diagnose.SYNQueueFullDrop}, Level: diagnose.Proven}.Told(diagnose.SYNQueueFullDrop, diagnose.EffectNamed),
		NearMisses: []NearMiss{{"another port's queue", map[string]string{"whose": "theirs"},
			Is(diagnose.ACLDrop).Told(diagnose.SYNQueueFullDrop, diagnose.EffectBackground)}},
		Heavy: true,
		Build: func(st *Stage) {
			d := st.direct()
			st.deposes(d.server, st.Target, nil)
			d.server.Sysctl("net.ipv4.tcp_max_syn_backlog", "64")
			d.server.Sysctl("net.ipv4.tcp_syncookies", "0")
			flooded := uint16(another)
			if st.ours(d) {
				flooded = port
			}
			d.server.Serve(topo.Service{Port: flooded, Then: topo.Echo, Backlog: 64})
			flooder := st.Host("flooder")
			l := flooder.Attach(d.lan, otherIP+"/24")
			d.server.Route("10.99.0.0/16", otherIP) // the SYN-ACKs go into the void
			st.flood(l, d.serverLink, addr("10.99.0.1"), at(realIP(0), flooded), st.Int("rate"))
		},
	}
}

func toldARPServer() Scenario {
	return Scenario{
		Name: "told-arp-server",
		Story: "arp-server, and the machine that answers for the VIP tells its own counters: unresolved_discards rose by one for each SYN-ACK that did not " +
			"come.",
		Params: []Param{queueParam(), delayParam(), {"others", "0", "packets to an address that nobody has, twenty times a second: they leave the queue unsent, too", whole(0, 0, 0, 100)}, byParam()},
		Label:  Label{Verdicts: []diagnose.Verdict{diagnose.RemoteARPQueueOverflow}, Level: diagnose.Proven}.Told(diagnose.RemoteARPQueueOverflow, diagnose.EffectUpgraded),
		NearMisses: []NearMiss{deepQueue(),
			{"others overflow it all the time", map[string]string{"others": "20"}, Is(diagnose.RemoteARPQueueOverflow).Told(diagnose.RemoteARPQueueOverflow, diagnose.EffectBackground)}},
		Heavy: true, // the counter is one for all namespaces of a machine (net/core/neighbour.c neigh_stat_seq_show, 6.18): other scenarios would move it
		Build: func(st *Stage) {
			v := st.vip(2, wiring{})
			v.balance()
			v.serve(topo.Service{Then: topo.Echo})
			v.clientLink.Knows(vipIP, v.lbLink)
			st.coldTowards(v.lbLink, v.clientLink, vipIP, clientIP)
			st.deposes(v.lb, st.Target, nil)
			if n := st.Int("others"); n > 0 {
				st.wastes(v.lb, addr("10.77.0.99"), n, 50*time.Millisecond)
			}
		},
	}
}

// wastes lets a host send datagrams to an address that nobody has, some at once every so often.
func (st *Stage) wastes(from *topo.Host, to netip.Addr, n int, every time.Duration) {
	var c net.Conn
	from.Build("a socket to nobody", func() (err error) {
		c, err = (&net.Dialer{}).DialContext(st.Context(), "udp", netip.AddrPortFrom(to, 9).String())
		return err
	})
	if c == nil {
		return
	}
	st.OnClose(func() { c.Close() })
	st.Go(func(ctx context.Context) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for range n {
					_, _ = c.Write([]byte("nobody")) // EHOSTUNREACH now and then is meant to be
				}
			}
		}
	})
}

func toldRecycle() Scenario {
	return Scenario{
		Name: "told-recycle",
		Story: "recycle-direct, and the server tells its own counters as a kernel of its time does: PAWSPassive rose by one for each SYN that was refused. (The lab " +
			"has no such kernel: the wire that holds its rule counts for it.)",
		Params: []Param{recycleParam(), {"others", "0", "SYNs of others that are refused at once, twenty times a second", whole(0, 0, 0, 100)}, byParam()},
		Label:  proven("").Told(diagnose.TWRecyclePAWSDrop, diagnose.EffectUpgraded),
		NearMisses: []NearMiss{
			{"others are refused all the time", map[string]string{"others": "10"}, proven("").Told(diagnose.TWRecyclePAWSDrop, diagnose.EffectBackground)},
			{"CentOS 7", map[string]string{"recycle": "3.10"}, proven("").Told(diagnose.TWRecyclePAWSDrop, diagnose.EffectUpgraded)},
		},
		Grants: []Grant{GrantPrime},
		Build: func(st *Stage) {
			stages := st.recycle()
			d := st.direct(stages...)
			oneClock(st.Client)
			d.server.Serve(topo.Service{Port: port, Then: topo.CloseFirst})
			k := oldKernel{release: "2.6.32-431.el6.x86_64"}
			if st.String("recycle") == "3.10" {
				k = oldKernel{release: "3.10.0-1160.el7.x86_64", drops: true}
			}
			st.deposes(d.server, st.Target, k.procfs())
			if len(stages) == 1 {
				if r, ok := stages[0].(*wires.Recycle); ok {
					st.countsRefused(r, k, st.Int("others"), 50*time.Millisecond)
				}
			}
		},
	}
}
