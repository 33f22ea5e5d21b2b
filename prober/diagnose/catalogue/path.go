package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func pathRemedies() []Remedy {
	return []Remedy{
		{"network", "follow the path hop by hop in the direction named: drops, errors and discards of each interface, optics, duplex, policers, overloaded firewalls."},
		{"hosts", "ip -s link, ethtool -S <dev> (rx_missed, rx_no_buffer, discards), /proc/net/softnet_stat second column: a host drops before TCP, too."},
	}
}

func forwardSYNLoss() Entry {
	return Entry{
		Verdict: diagnose.ForwardSYNLoss, Group: Path, Title: "SYNs are lost on the way to the server",
		Symptoms: []string{"A share of all connects stalls for 1 s, 3 s, 7 s, on every port, flow and time alike."},
		Mechanism: []Fact{
			{"A SYN without an answer is repeated after 1 s (3 s before 3.1), then at growing intervals; each repeat has a TSval of its own, and the SYN-ACK echoes the one that made the request.",
				"RFC 6298 §2.1; RFC 7323 §3.2; Documentation/networking/ip-sysctl.rst tcp_syn_linear_timeouts, Linux 6.18"},
		},
		Proof: []Proof{
			{plan.KindSticky, diagnose.Inconclusive, "echoes skip over SYNs: these had made no request at the listener"},
			{plan.KindOther, diagnose.Confirmed, "another port of the address loses as much, and SYNs far apart are lost as well: the path, not the listener or a limit"},
			{plan.KindEven, diagnose.Confirmed, "all flows lose alike"},
		},
		LookAlikes: []LookAlike{
			{diagnose.SYNACKLoss, "echoes name the first SYN: it had arrived"},
			{diagnose.BlackholeBackend, "loss keeps to flows, all or nothing"},
			{diagnose.ECMPPathLoss, "loss keeps to flows, in part"},
			{diagnose.SYNRateLimited, "SYNs far apart pass"},
			{diagnose.AcceptQueueOverflow, "another port loses none"},
		},
		Remedies: pathRemedies(),
		Counters: []Counter{
			{"network", "interface discards and errors towards the server", "rise by the share lost"},
			{"server", "TcpExt ListenDrops", "does not move: the SYNs do not arrive"},
		},
		Scenario: "syn-loss-30",
	}
}

func synackLoss() Entry {
	return Entry{
		Verdict: diagnose.SYNACKLoss, Group: Path, Title: "the server's answers are lost on the way back",
		Symptoms: []string{"As SYN loss, from the client: connects stall for 1 s and more. The server shows half-open connections that complete late."},
		Mechanism: []Fact{
			{"The listener has the request and repeats its SYN-ACK by itself after 1 s; the echo of the SYN-ACK that comes names the first SYN.", "RFC 7323 §3.2; RFC 6298 §2.1; measured on Linux 6.18"},
		},
		Proof: []Proof{
			{plan.KindSticky, diagnose.Confirmed, "three SYN-ACKs and more echo a SYN that was sent before the last: it had arrived, its answer had not"},
			{plan.KindStateful, diagnose.Suspected, "the listener repeats, so echoes tell the direction; one that answers by cookie does not"},
		},
		LookAlikes: []LookAlike{
			{diagnose.ForwardSYNLoss, "echoes skip over the lost SYNs"},
			{diagnose.RemoteARPQueueOverflow, "only cold, and the last ones come"},
			{diagnose.SlowPathNotStall, "single SYNs are answered late, none never"},
			{diagnose.ClientPAWSReject, "the SYN-ACK reaches this host's tap"},
		},
		Remedies: append(pathRemedies(),
			Remedy{"routing", "is the way back another one? A stateful firewall on it that did not see the SYN drops the SYN-ACK; direct server return and two uplinks are where it happens."}),
		Counters: []Counter{
			{"server", "TcpExt TCPSynRetrans, ss -tan state syn-recv", "SYN-ACKs repeated (the counter has SYNs, too)"},
			{"network", "interface discards and errors towards the client", "rise by the share lost"},
		},
		Scenario: "synack-loss",
	}
}

func blackholeBackend() Entry {
	return Entry{
		Verdict: diagnose.BlackholeBackend, Group: Path, Title: "one of several members swallows what it gets",
		Symptoms: []string{
			"A fixed share of the connects to a VIP times out, as 1 of 3 where there are three servers; a retry from a new port mostly works, one from the same port never does.",
			"The balancer calls all members healthy.",
		},
		Mechanism: []Fact{
			{"Balancers that choose by a hash of addresses and ports send a flow to the same member again and again; if that drops in silence, so does the flow.", "RFC 2992 §1; net/netfilter/ipvs/ip_vs_sh.c, Linux 6.18"},
			{"Health checks often take another path than clients: another source address, port or interface.", "keepalived.conf(5) TCP_CHECK"},
		},
		Proof: []Proof{{plan.KindSticky, diagnose.Confirmed, "some flows answer none of five SYNs, all others each first one; loss spread at random would not sort itself so (p < 1e-4); the share has a 99 % interval"},
			{plan.KindAgain, diagnose.Confirmed, "asked again later ten times each, the dead flows stay dead with this host's TSval and then half a circle on, while fresh ones beside them are answered"}},
		LookAlikes: []LookAlike{
			{diagnose.ECMPPathLoss, "lossy flows are answered in between"},
			{diagnose.ForwardSYNLoss, "no flow is wholly dead"},
			{diagnose.TWRecyclePAWSDropSNAT, "asks for the TSval: the same flow passes with another"},
			{diagnose.SYNRateLimited, "the later ones are dead, and live when asked later"},
		},
		Remedies: []Remedy{
			{"balancer", "probe each real server directly (vipprobe probe --compare VIP REAL…), take the silent one out, and let the check connect to the service port by the clients' path."},
			{"LVS direct routing", "the real server lacks the VIP on lo, or its rp_filter drops the clients; with NAT its default route is not the director."},
			{"IPVS", "expire_nodest_conn=1 and expire_quiescent_template=1, so that flows leave a removed server."},
			{"Kubernetes", "externalTrafficPolicy: Local with nodes that have no pod, or a readiness probe that tests too little."},
		},
		Counters: []Counter{
			{"balancer", "connections by member (ipvsadm -ln --stats --rate)", "a member with packets in and none out"},
			{"the member", "TcpExt ListenOverflows, IPReversePathFilter, its filter's counters", "why it is silent"},
		},
		Scenario: "blackhole-1of3",
	}
}

func ecmpPathLoss() Entry {
	return Entry{
		Verdict: diagnose.ECMPPathLoss, Group: Path, Title: "one of several equal paths is lossy",
		Symptoms: []string{"Some connections are always a little slow, others never; ping between two hosts shows nothing, or always the same loss.", "A test with one flow hits or misses it for ever."},
		Mechanism: []Fact{
			{"Routers and bonds choose a path by a hash of the flow, so a bad link, line card or LAG member harms the flows that hash to it.", "RFC 2992 §1; Documentation/networking/ip-sysctl.rst fib_multipath_hash_policy, Linux 6.18"},
			{"Over IPv6 the flow label is part of it.", "RFC 6437 §2"},
		},
		Proof: []Proof{{plan.KindEven, diagnose.Confirmed, "each flow is asked twelve times: some lose a part, others nothing, more of them than equal loss would leave clean (binomial, p < 1e-4)"}},
		LookAlikes: []LookAlike{
			{diagnose.BlackholeBackend, "dead flows never answer"},
			{diagnose.ForwardSYNLoss, "all flows lose alike"},
			{diagnose.BackendHeterogeneity, "a lossy member looks the same through a VIP: probe the members directly"},
		},
		Remedies: []Remedy{
			{"network", "trace a lossy and a clean flow side by side with fixed ports and see where they part; check that link's or LAG member's errors; take it out."},
			{"hosts", "a bond's members one by one (ethtool -S)."},
		},
		Counters: []Counter{{"network", "errors and discards of each member link, not of the bundle", "one of them rises"}},
		Scenario: "ecmp-loss",
	}
}

func mtuBlackhole() Entry {
	return Entry{
		Verdict: diagnose.MTUBlackhole, Group: Path, Title: "large packets are swallowed on the way",
		Symptoms:  []string{"Connect and login work, then it hangs: on the first large answer, file, TLS certificate or query. Small requests always work."},
		Mechanism: []Fact{{"A packet too big for a link is dropped with an ICMP error that names the MTU; where that error is filtered or never sent, the sender repeats full-sized segments for ever.", "RFC 1191 §3; RFC 8201 §3; RFC 2923 §2.1; RFC 4821 §1"}},
		Proof: []Proof{{plan.KindSizes, diagnose.Confirmed, "segments of 500 octets are acknowledged, full-sized ones on the same path never (Fisher), and no ICMP error came"},
			{plan.KindSmall, diagnose.Confirmed, "diagnose --transfer: data phases stand still at a segment that never passes, either way, and the same data passes with an MSS of 500 (Fisher)"}},
		LookAlikes: []LookAlike{
			{diagnose.PathLoss, "large segments come through in the end"},
			{diagnose.LBFullProxyMasks, "small segments are not acknowledged either"},
		},
		Remedies: []Remedy{
			{"network", "let ICMP type 3 code 4 and ICMPv6 packet too big pass; set the tunnel's or overlay's true MTU on its interfaces."},
			{"router or balancer", "clamp the MSS (nft: tcp option maxseg size set rt mtu; F5: MSS of the TCP profile)."},
			{"hosts", "net.ipv4.tcp_mtu_probing=1 at both ends, until it is mended (RFC 4821)."},
			{"clouds", "jumbo frames (AWS: 9,001) do not pass internet gateways and most VPNs."},
		},
		Counters: []Counter{
			{"sender", "ss -ti: retrans, pmtu, mss", "one segment repeated, pmtu never lowered"},
			{"sender", "Icmp InDestUnreachs; ip route get ADDRESS", "no rise; no cached mtu"},
			{"sender", "TcpExt TCPMTUPFail, TCPMTUPSuccess", "with probing on"},
		},
		Scenario: "pmtu-blackhole",
	}
}

func lbFullProxyMasks() Entry {
	return Entry{
		Verdict: diagnose.LBFullProxyMasks, Group: Path, Title: "something answers for servers that do not",
		Symptoms: []string{"The connection opens at once and then hangs; monitors that only connect are green while nobody is served."},
		Mechanism: []Fact{
			{"A SYN proxy or full proxy completes handshakes by itself, before it has a server, or while none is there.", "RFC 4987; net/netfilter/nf_synproxy_core.c, Linux 6.18"},
			{"What lies behind has its own connections with its own timestamps and options: nothing of the handshake says anything of the servers.", "RFC 3135"},
		},
		Proof: []Proof{{plan.KindServed, diagnose.Confirmed, "handshakes complete by SYN-ACKs with a window of 0, data is acknowledged by nobody, and the SYN-ACK is not repeated"}},
		LookAlikes: []LookAlike{
			{diagnose.AcceptQueueOverflow, "repeats its SYN-ACK"},
			{diagnose.MTUBlackhole, "small data is acknowledged"},
			{diagnose.DeferAcceptBenign, "data is acknowledged"},
			{diagnose.Healthy, "a proxy whose servers live acknowledges data"},
			{diagnose.SYNStallUnclassified, "a way back that passes SYN-ACKs alone: the listener repeats a SYN-ACK that is left without our ACK"},
		},
		Remedies: []Remedy{
			{"monitoring", "probe each real server directly, and check the VIP with a request, not a connect."},
			{"F5 BIG-IP", "standard virtual servers and SYN cookies accept first; a monitor on the pool and reset on service down tell clients."},
			{"HAProxy, nginx, Envoy", "they accept before they connect: watch their own counts of failed upstream connects."},
			{"Linux SYNPROXY", "combine it with a health check that takes the address away."},
		},
		Counters: []Counter{
			{"Linux proxy", "/proc/net/stat/synproxy: cookie_valid, syn_received", "handshakes that it completed itself"},
			{"HAProxy", "econ, eresp of the backend (show stat)", "failed connects to servers"},
			{"Envoy", "upstream_cx_connect_fail, upstream_cx_connect_timeout", "failed connects to servers"},
		},
		Scenario: "synproxy-dead",
	}
}

func backendHeterogeneity() Entry {
	return Entry{
		Verdict: diagnose.BackendHeterogeneity, Group: Path, Title: "the members behind the VIP are not alike",
		Symptoms:   []string{"Nothing fails for certain; what fails does so on a share of the connections and cannot be repeated on one server."},
		Mechanism:  []Fact{{"MSS, window scale, option order and initial TTL of a SYN-ACK are made by stack and settings, not by the connection.", "RFC 9293 §3.7.1; RFC 7323 §2.2"}},
		Proof:      []Proof{{plan.KindQuadrants, diagnose.Confirmed, "one address answers with two fingerprints and more, each seen at least twice"}},
		LookAlikes: []LookAlike{{diagnose.DuplicateAddress, "two MACs answer one request"}, {diagnose.MiddleboxTSStripped, "one option missing everywhere"}},
		Remedies: []Remedy{
			{"members", "align kernels, sysctls (tcp_timestamps, tcp_window_scaling, tcp_rmem) and routes (advmss) by configuration management; or know the difference."},
			{"before a rollout", "compare each new machine's handshake with a member that is known to be good."},
		},
		Counters: []Counter{{"members", "sysctl -a | grep -E 'tcp_|somaxconn|neigh', uname -r", "a diff between two of them"}},
		Scenario: "mixed-backends",
	}
}
