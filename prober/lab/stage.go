package lab

import (
	"net/netip"
	"strconv"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// Stage is what a scenario's Build fills: the network, and who probes what.
type Stage struct {
	*topo.Net
	*Values
	Client  *topo.Host
	Target  string
	Members []string
	// Rearm brings back a fault that first contact uses up.
	Rearm func() error
}

// The addresses that most scenarios share. Hosts are numbered by role so that a capture reads without a legend.
const (
	clientIP = "10.77.0.2"
	otherIP  = "10.77.0.3"
	vipIP    = "10.77.0.10"
	port     = 80
)

// realIP is the address of the i-th real server.
func realIP(i int) string { return "10.77.0." + strconv.Itoa(21+i) }

func at(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

// VIP is the usual network: a client, a balancer that owns the VIP, and real servers, all on one switch. The balancer rewrites
// the destination to the real servers in turn and the source to its own address (DNAT + masquerade), as kube-proxy,
// keepalived with fullnat, or an F5 with SNAT do.
type VIP struct {
	LAN        *topo.Bridge
	LB         *topo.Host
	LBLink     *topo.Link
	ClientLink *topo.Link
	Real       []*topo.Host
	RealLinks  []*topo.Link
}

// vip builds the usual network with n real servers that echo, the client probing the VIP.
func (st *Stage) vip(n int) *VIP {
	v := &VIP{LAN: st.Bridge("lan")}
	st.Client = st.Host("client")
	v.ClientLink = st.Client.Attach(v.LAN, clientIP+"/24")
	v.LB = st.Host("lb")
	v.LBLink = v.LB.Attach(v.LAN, vipIP+"/24")
	v.LB.Forward()
	for i := range n {
		h := st.Host("real" + strconv.Itoa(i+1))
		v.RealLinks = append(v.RealLinks, h.Attach(v.LAN, realIP(i)+"/24"))
		v.Real = append(v.Real, h)
		st.Members = append(st.Members, at(realIP(i), port).String())
	}
	st.Target = at(vipIP, port).String()
	return v
}

// members are the real servers as rules want them.
func (v *VIP) members() []netip.AddrPort {
	var all []netip.AddrPort
	for i := range v.Real {
		all = append(all, at(realIP(i), port))
	}
	return all
}

// balance installs the usual rules on the balancer.
func (v *VIP) balance() {
	v.LB.Rules(v.table(nft.RoundRobin(v.members(), v.match()...), nft.Masquerade()))
}

// match is what the balancer's rules look for.
func (v *VIP) match() []nft.Part {
	return []nft.Part{nft.Dst(netip.MustParseAddr(vipIP)), nft.DstPort(port)}
}

// table is the balancer's table: which destinations, and how the source is rewritten.
func (v *VIP) table(dnat []nft.Rule, snat nft.Part) nft.Table {
	return nft.Table{Family: nft.IPv4, Name: "vip", Chains: []nft.Chain{
		{Hook: nft.DNAT, Rules: dnat},
		{Hook: nft.SNAT, Rules: []nft.Rule{{nft.DstPort(port), snat}}},
	}}
}

// serve starts the same service on every real server.
func (v *VIP) serve(s topo.Service) {
	s.Port = port
	for _, h := range v.Real {
		h.Serve(s)
	}
}
