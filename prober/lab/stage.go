package lab

import (
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Stage is what a scenario's Build fills: the network, and who probes what.
type Stage struct {
	*topo.Net
	*Values
	Client  *topo.Host
	Target  string
	Others  []string // further targets
	Members []string
	// Deponents are hosts that tell their own counters.
	Deponents []Deponent
	// Rearm brings back a fault that first contact uses up.
	Rearm func() error
}

// The addresses that most scenarios share. Hosts are numbered by role so that a capture reads without a legend.
const (
	clientIP = "10.77.0.2"
	otherIP  = "10.77.0.3"
	// controlIP is a second address of the client.
	controlIP = "10.77.0.4"
	vipIP     = "10.77.0.10"
	port      = 80
)

// realIP is the address of the i-th real server.
func realIP(i int) string { return "10.77.0." + strconv.Itoa(21+i) }

func addr(ip string) netip.Addr { return netip.MustParseAddr(ip) }

func at(ip string, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr(ip), port) }

// place joins a host to a switch, by a wire where there is anything on it.
func (st *Stage) place(h *topo.Host, b *topo.Bridge, stages []wires.Stage, prefixes ...string) *topo.Link {
	if len(stages) == 0 {
		return h.Attach(b, prefixes...)
	}
	return wires.Attach(st.Net, h, b, stages, prefixes...)
}

// Net of one server: client and server on one switch, the client probing the server itself.
type direct struct {
	lan        *topo.Bridge
	server     *topo.Host
	clientLink *topo.Link
	serverLink *topo.Link
}

// direct builds it, with stages in front of the server.
func (st *Stage) direct(stages ...wires.Stage) *direct {
	d := &direct{lan: st.Bridge("lan")}
	st.Client = st.Host("client")
	d.clientLink = st.Client.Attach(d.lan, clientIP+"/24")
	d.server = st.Host("server")
	d.serverLink = st.place(d.server, d.lan, stages, realIP(0)+"/24")
	st.Target = at(realIP(0), port).String()
	return d
}

// other adds a second client to a switch, whose timestamp clock is gap ticks ahead of the first one's.
func (st *Stage) other(b *topo.Bridge, gap int64) *topo.Host {
	h := st.Host("other")
	oneClock(h)
	st.place(h, b, []wires.Stage{wires.Clock(gap)}, otherIP+"/24")
	return h
}

// oneClock gives all connections of a host one timestamp clock, as kernels before 4.10 had: the machine's uptime in
// milliseconds (tcp_timestamps=2: no random offset; Documentation/networking/ip-sysctl.rst, 6.18).
func oneClock(h *topo.Host) { h.Sysctl("net.ipv4.tcp_timestamps", "2") }

// clock is a timestamp clock that runs with this machine's own, gap ticks ahead of it.
func (st *Stage) clock(gap int64) func(time.Time) wire.TSval {
	made, start := time.Now(), st.uptime().Add(gap)
	return func(now time.Time) wire.TSval { return start.Add(now.Sub(made).Milliseconds()) }
}

// uptime is what a host of oneClock would write as TSval just now (tcp_clock_ms in include/net/tcp.h, 6.18: CLOCK_MONOTONIC).
func (st *Stage) uptime() wire.TSval {
	var ts unix.Timespec
	st.Step("read the monotonic clock", func() error { return unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) })
	return wire.TSval(uint32(ts.Nano() / int64(time.Millisecond)))
}

// vip is the usual network: a client, a balancer that owns the VIP, and real servers, all on one switch. The balancer rewrites
// the destination to the real servers in turn and the source to its own address (DNAT and masquerade), as kube-proxy,
// keepalived with fullnat, or an F5 with SNAT do.
type vip struct {
	lan        *topo.Bridge
	lb         *topo.Host
	lbLink     *topo.Link
	clientLink *topo.Link
	real       []*topo.Host
	realLinks  []*topo.Link
}

// wiring is what lies in front of whom.
type wiring struct {
	client []wires.Stage
	lb     []wires.Stage
	real   func(i int) []wires.Stage
}

// vip builds the usual network with n real servers, the client probing the VIP. Nothing balances or listens yet.
func (st *Stage) vip(n int, w wiring) *vip {
	v := &vip{lan: st.Bridge("lan")}
	st.Client = st.Host("client")
	v.clientLink = st.place(st.Client, v.lan, w.client, clientIP+"/24")
	v.lb = st.Host("lb")
	v.lbLink = st.place(v.lb, v.lan, w.lb, vipIP+"/24")
	v.lb.Forward()
	for i := range n {
		h := st.Host("real" + strconv.Itoa(i+1))
		var stages []wires.Stage
		if w.real != nil {
			stages = w.real(i)
		}
		v.realLinks = append(v.realLinks, st.place(h, v.lan, stages, realIP(i)+"/24"))
		v.real = append(v.real, h)
		st.Members = append(st.Members, at(realIP(i), port).String())
	}
	st.Target = at(vipIP, port).String()
	return v
}

// members are the real servers as rules want them.
func (v *vip) members() []netip.AddrPort {
	var all []netip.AddrPort
	for i := range v.real {
		all = append(all, at(realIP(i), port))
	}
	return all
}

// balance installs the usual rules on the balancer.
func (v *vip) balance() {
	v.lb.Rules(v.table(nft.RoundRobin(v.members(), v.match()...), nft.Masquerade()))
}

// forward installs rules on the balancer that leave the source as it is: the servers send their answers by way of the balancer.
func (v *vip) forward() {
	v.lb.Rules(nft.Table{Family: nft.IPv4, Name: "vip", Chains: []nft.Chain{{Hook: nft.DNAT, Rules: nft.RoundRobin(v.members(), v.match()...)}}})
	for _, h := range v.real {
		for _, client := range []string{clientIP, otherIP} {
			h.Route(client+"/32", vipIP)
		}
	}
}

// balances installs the one or the other, by parameter.
func (st *Stage) balances(v *vip) {
	if st.Bool("snat") {
		v.balance()
	} else {
		v.forward()
	}
}

// match is what the balancer's rules look for.
func (v *vip) match() []nft.Part { return []nft.Part{nft.Dst(addr(vipIP)), nft.DstPort(port)} }

// table is the balancer's table: which destinations, and how the source is rewritten.
func (v *vip) table(dnat []nft.Rule, snat nft.Part) nft.Table {
	return nft.Table{Family: nft.IPv4, Name: "vip", Chains: []nft.Chain{
		{Hook: nft.DNAT, Rules: dnat},
		{Hook: nft.SNAT, Rules: []nft.Rule{{nft.DstPort(port), snat}}},
	}}
}

// serve starts the same service on every real server.
func (v *vip) serve(s topo.Service) {
	s.Port = port
	for _, h := range v.real {
		h.Serve(s)
	}
}

// filter is such a table for the family that was asked for.
func (st *Stage) filter(name string, hook nft.Hook, rules ...nft.Rule) nft.Table {
	t := filter(name, hook, rules...)
	if st.six() {
		t.Family = nft.IPv6
	}
	return t
}

// filter is a table with one chain.
func filter(name string, hook nft.Hook, rules ...nft.Rule) nft.Table {
	return nft.Table{Family: nft.IPv4, Name: name, Chains: []nft.Chain{{Hook: hook, Rules: rules}}}
}
