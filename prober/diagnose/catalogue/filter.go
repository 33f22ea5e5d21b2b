package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func synRateLimited() Entry {
	return Entry{
		Verdict: diagnose.SYNRateLimited, Group: Filter, Title: "a filter lets through so many SYNs a second and no more",
		Symptoms: []string{
			"Single connects always work, bursts stall: the first few at once, the rest after seconds, some not at all.",
			"It gets worse under retries: 8 SYNs a second against a limit of 5 fail most connects, since repeats use up tokens too.",
			"Where the limit refuses what is over it, \"connection refused\" or \"no route to host\" at once for all but the first few, though the service runs.",
		},
		Mechanism: []Fact{
			{"A token bucket (nft limit, iptables limit and hashlimit, a balancer's or scrubber's policy) passes its burst, then its rate; what exceeds it is dropped in silence.", "nft(8) LIMIT; iptables-extensions(8) limit, hashlimit"},
			{"A dropped SYN is repeated after 1 s and counts again.", "RFC 6298 §2.1"},
			{"A rule may reject in place of dropping: with an RST in the listener's name, or with an ICMP error, of which its sender lets through few a second. A connect then fails at once and is not repeated.",
				"net/ipv4/netfilter/nf_reject_ipv4.c nf_send_reset, Linux 6.18; net/ipv4/icmp.c icmpv4_xrlim_allow, Linux 6.18"},
		},
		Proof: []Proof{
			{plan.KindPaced, diagnose.Confirmed, "none of the SYNs 400 ms apart is lost, in bursts the first are answered and later ones not (Fisher)"},
			{plan.KindRate, diagnose.Confirmed, "at a steady rate as many come through as the limit allows, while no more than a handshake or two of ours is open at once"},
			{plan.KindRate, diagnose.Confirmed, "where it refuses: as many come through at twice the pace, refused ones on flows that had just been answered; SYNs far apart all pass. The RSTs' TTL, or the ICMP errors' sender, says where it stands"},
			{plan.KindScope, diagnose.Confirmed, "for whom it counts: two addresses of this host in turn get together what one got alone (one bucket), or each as much (a bucket a source)"},
		},
		LookAlikes: []LookAlike{
			{diagnose.AcceptQueueOverflow, "its queue counts connections that wait, not SYNs a second: SYNs that are reset at once take no place in it; one port only"},
			{diagnose.LocalARPQueueOverflow, "the last ones pass, and only when cold"},
			{diagnose.SNATPortRace, "losses lie anywhere in the burst"},
			{diagnose.SNATPortExhaustion, "what holds the ports decides, not the rate"},
			{diagnose.ForwardSYNLoss, "SYNs far apart are lost as well"},
			{diagnose.PortClosed, "a member that is down refuses its share of SYNs far apart as well"},
			{diagnose.AbortOnOverflow, "its RST answers our ACK, never the SYN"},
			{diagnose.VIPPoolEmpty, "refuses everybody for seconds, and then serves everybody"},
		},
		Remedies: []Remedy{
			{"Linux filter", "nft list ruleset, iptables -L -v -n: raise or remove the limit on new connections; put a limit per source (hashlimit, nft meter) in place of one for all."},
			{"F5 BIG-IP", "connection rate limit of the virtual server, pool member or node; AFM's flood vectors."},
			{"clouds", "instance allowances (AWS: ethtool -S, pps_allowance_exceeded and conntrack_allowance_exceeded)."},
			{"clients", "spread connects, pool connections."},
		},
		Counters: []Counter{
			{"filter", "packet counter of the rule after the limit", "+1 for each SYN dropped or rejected"},
			{"server", "TcpExt ListenDrops, TCPReqQFullDrop", "do not move: the SYNs never reach TCP"},
		},
		Scenario: "syn-ratelimit",
	}
}

func aclDrop() Entry {
	return Entry{
		Verdict: diagnose.ACLDrop, Group: Filter, Title: "a filter refuses this flow",
		Symptoms: []string{"Every connect fails, always, from some sources or to some ports; other ports or other sources work."},
		Mechanism: []Fact{
			{"A filter that drops is silent; one that rejects answers with ICMP, administratively prohibited among its codes, or with an RST.", "RFC 1812 §5.2.7.1; RFC 4443 §3.1"},
			{"Some filters drop SYNs for what they carry and not for where they go: those that ask for ECN, those without timestamps or MSS. Clients of one make then fail, or wait for a repeat.", "RFC 3168 §6.1.1.1; RFC 3360"},
			{"A listener may refuse so by itself: one that wants signed segments (TCP-MD5, TCP-AO: routers' BGP) or TTL 255 drops every other SYN, and bare ACKs, without a word.", "RFC 2385; RFC 5925 §7; RFC 5082 §3"},
			{"A minimum TTL shows when a SYN comes with 255, where no router stands between; signatures cannot be told from a filter from outside.", "RFC 5082 §3; RFC 2385"},
		},
		Proof: []Proof{
			{plan.KindConnect, diagnose.Confirmed, "ICMP \"prohibited\" errors that quote our own SYNs, and who sent them"},
			{plan.KindOther, diagnose.Inconclusive, "silence on this port while another port of the address answers: a filter, or a VIP whose members are all dead; silence alone does not tell"},
			{plan.KindLook, diagnose.Confirmed, "in turn with usual SYNs, which are silent, those with TTL 255 are answered (a minimum TTL), or those without timestamps (a filter for the option; a memory of TSvals refuses half of them)"},
			{plan.KindECN, diagnose.Confirmed, "pairs of SYNs, with and without ECE and CWR: only those that ask for ECN are silent"},
			{plan.KindPlain, diagnose.Suspected, "SYNs without timestamps are silent at a port where nobody listens as well, those with them are reset there"},
		},
		LookAlikes: []LookAlike{
			{diagnose.ReversePathFilter, "all ports of one source network"},
			{diagnose.AcceptQueueOverflow, "answers bare ACKs, and served the first ones"},
			{diagnose.LocalARPUnresolved, "SYNs never leave"},
			{diagnose.BlackholeBackend, "new ports work"},
		},
		Remedies: []Remedy{
			{"filter", "permit the flow where the ICMP error says it was refused; otherwise follow the path with a SYN of limited TTL or the filters' logs."},
			{"clouds", "security group of target and balancer, network ACL both ways (AWS), NSG (Azure), firewall rules and health check ranges (Google)."},
			{"Kubernetes", "NetworkPolicy of the namespace; the node's own firewall for NodePorts."},
		},
		Counters: []Counter{
			{"filter", "packet counter of the dropping rule", "+1 for each SYN"},
			{"server", "tcpdump -ni any 'tcp[13]&2!=0 and host CLIENT'", "whether the SYN arrives at all"},
		},
		Scenario: "acl-drop",
	}
}

func reversePathFilter() Entry {
	return Entry{
		Verdict: diagnose.ReversePathFilter, Group: Filter, Title: "the server's reverse-path filter drops this source",
		Symptoms: []string{"One client network reaches a server with several interfaces on none of its ports, not even ping; the packets arrive there and vanish."},
		Mechanism: []Fact{
			{"With rp_filter=1 a packet is dropped when the route back to its source leads by another interface; with 2 only when there is no route at all. The greater of conf.all and conf.<dev> holds.",
				"RFC 3704 §2.2; net/ipv4/fib_frontend.c fib_validate_source, Linux 6.18; Documentation/networking/ip-sysctl.rst rp_filter, Linux 6.18"},
		},
		Proof: []Proof{{plan.KindOther, diagnose.NotApplicable, "from outside it is silence on every port of the address, as of a dead host: the server's IPReversePathFilter decides, or a source address on its own segment that works"}},
		LookAlikes: []LookAlike{
			{diagnose.ACLDrop, "a filter is mostly about ports"},
			{diagnose.SYNACKLoss, "asymmetric routing without the filter may still work, or lose only answers"},
		},
		Remedies: []Remedy{
			{"server", "mend the route back (policy routing: ip rule from ADDRESS lookup TABLE), or net.ipv4.conf.<dev>.rp_filter=2 on the interface where they arrive, and conf.all no stricter."},
			{"LVS tunnelling, direct routing", "rp_filter=0 on tunl0 of the real servers, since sources arrive there that are routed elsewhere."},
		},
		Counters: []Counter{
			{"server", "TcpExt IPReversePathFilter", "+1 for each packet dropped so"},
			{"server", "dmesg with net.ipv4.conf.all.log_martians=1", "martian source lines"},
		},
		Scenario: "rp-filter",
	}
}

func conntrackTableFull() Entry {
	return Entry{
		Verdict: diagnose.ConntrackTableFull, Group: Filter, Title: "a table of tracked connections is full",
		Symptoms: []string{
			"New connections through a balancer, firewall or node fail whatever their destination, established ones go on; pings to new hosts fail as well.",
			"\"nf_conntrack: table full, dropping packet\" in its kernel log.",
		},
		Mechanism: []Fact{{"A packet of no known flow needs a new entry; when nf_conntrack_max is reached and no unassured entry can be evicted it is dropped.", "net/netfilter/nf_conntrack_core.c __nf_conntrack_alloc, Linux 6.18"}},
		Proof:     []Proof{{plan.KindOther, diagnose.NotApplicable, "not named from outside alone: new flows to every destination through the device fail while old ones live; its counters decide"}},
		LookAlikes: []LookAlike{
			{diagnose.SNATPortExhaustion, "only one destination fails"},
			{diagnose.AcceptQueueOverflow, "only one port fails"},
			{diagnose.SYNRateLimited, "a steady rate passes"},
		},
		Remedies: []Remedy{
			{"Linux", "net.netfilter.nf_conntrack_max up (hash size with it), shorter nf_conntrack_tcp_timeout_established, notrack for traffic that needs no state."},
			{"clouds", "AWS instances: conntrack_allowance_exceeded; larger instances, or security group rules that need no tracking."},
			{"balancers", "look at its connection table limit and idle timeouts; a SYN flood fills it first."},
		},
		Counters: []Counter{
			{"the device", "net.netfilter.nf_conntrack_count against nf_conntrack_max", "equal: it is full"},
			{"the device", "conntrack -S (or /proc/net/stat/nf_conntrack): drop, early_drop", "+1 for each packet refused or entry evicted"},
			{"the device", "dmesg: nf_conntrack: table full", "rate-limited"},
		},
		Scenario: "conntrack-limit",
	}
}

func snatPortExhaustion() Entry {
	return Entry{
		Verdict: diagnose.SNATPortExhaustion, Group: Filter, Title: "the NAT has no source port left towards this destination",
		Symptoms: []string{
			"New connections to one busy service fail or stall while other services behind the same NAT work; at peak hours.",
			"It heals a minute or two after the load drops.",
		},
		Mechanism: []Fact{
			{"A NAT needs a distinct source address and port for each flow to one destination address and port: at most about 64,000 for each address, fewer where its range is narrow; a flow that finds none is dropped.",
				"net/netfilter/nf_nat_core.c get_unique_tuple, Linux 6.18; RFC 5382 §7.1"},
			{"Ports in TIME_WAIT count: net.netfilter.nf_conntrack_tcp_timeout_time_wait is 120 s.", "net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.18"},
		},
		Proof: []Proof{{plan.KindOther, diagnose.NotApplicable, "not named from outside alone: new flows to this address and port fail, to another port of the same servers they work; the NAT's counters decide"}},
		LookAlikes: []LookAlike{
			{diagnose.ConntrackTableFull, "every destination fails"},
			{diagnose.AcceptQueueOverflow, "direct connects to the server fail as well"},
			{diagnose.SNATPortRace, "the repeat a second later works"},
		},
		Remedies: []Remedy{
			{"balancer or NAT", "more SNAT addresses; a wider port range; more destinations (addresses or ports) to spread over."},
			{"F5 BIG-IP", "a SNAT pool of several addresses in place of automap; \"Inet port exhaustion\" in its log tells."},
			{"AWS", "NLB with client IP translation: 55,000 connections for each target and port, see PortAllocationErrorCount; add targets. NAT gateway: ErrorPortAllocation; add addresses."},
			{"Azure, Google", "outbound rules with more ports an instance; Cloud NAT: minimum ports per VM, dynamic allocation."},
			{"nginx, HAProxy, Envoy", "several source addresses towards the servers (proxy_bind, source, upstream_bind_config), keep-alive upstream."},
		},
		Counters: []Counter{
			{"Linux NAT", "conntrack -S: insert_failed, drop", "rise with each flow that found no port"},
			{"Linux NAT", "conntrack -L -d SERVER -p tcp --dport PORT | wc -l", "near the size of the port range"},
		},
		Scenario: "snat-exhaustion",
	}
}

func snatPortRace() Entry {
	return Entry{
		Verdict: diagnose.SNATPortRace, Group: Filter, Title: "two connections of one instant get one NAT port, and one loses its SYN",
		Symptoms: []string{"Now and then a connect takes exactly 1 s, when many begin at once through one NAT (containers, Kubernetes nodes); at a slow pace never."},
		Mechanism: []Fact{{"A port is chosen when the first packet is translated and registered only when it leaves; two CPUs that choose the same in between clash, and the later packet is dropped. Its repeat finds another port.",
			"net/netfilter/nf_conntrack_core.c __nf_conntrack_confirm, Linux 6.18; net/netfilter/nf_nat_core.c nf_nat_l4proto_unique_tuple, Linux 6.18"}},
		Proof: []Proof{{plan.KindConnect, diagnose.Confirmed, "connects of one instant lose a first SYN here and there and every repeat works; SYNs a few milliseconds apart lose none (Fisher)"}},
		LookAlikes: []LookAlike{
			{diagnose.LocalARPQueueOverflow, "the first of the burst suffer, when cold"},
			{diagnose.SYNRateLimited, "the last of the burst suffer"},
			{diagnose.ForwardSYNLoss, "SYNs apart are lost as well"},
		},
		Remedies: []Remedy{
			{"Linux NAT", "iptables … --random-fully, nft … fully-random: the clash becomes rare; more addresses for the NAT."},
			{"Kubernetes", "the CNI's or kube-proxy's masquerade rule with --random-fully (iptables ≥ 1.6.2 and a kernel that knows it), or no masquerade between nodes and pods."},
		},
		Counters: []Counter{{"Linux NAT", "conntrack -S: insert_failed", "+1 for each clash"}},
		Scenario: "snat-race",
	}
}

func vipPoolEmpty() Entry {
	return Entry{
		Verdict: diagnose.VIPPoolEmpty, Group: Pool, Title: "the health check has evicted the last real server",
		Symptoms: []string{
			"The VIP works, then refuses everybody for some seconds, then works again, in multiples of the check interval; the servers are up all the time.",
			"The balancer's log removes and adds the real server again and again.",
		},
		Mechanism: []Fact{
			{"A virtual service without a real server is answered by the balancer itself: IPVS with ICMP port unreachable, others with an RST.", "net/netfilter/ipvs/ip_vs_core.c ip_vs_leave, Linux 6.18"},
			{"keepalived removes a real server when TCP_CHECK fails retry+1 times, and adds it when one succeeds, every delay_loop.", "keepalived.conf(5) TCP_CHECK"},
			{"What makes the check fail is another fault, named beside this one.", "measured on Linux 6.18"},
		},
		Proof: []Proof{{plan.KindPaced, diagnose.Confirmed, "served and refused moments fall into fewer stretches of time than chance would make (Wald-Wolfowitz), refusals with a TTL of their own"}},
		LookAlikes: []LookAlike{
			{diagnose.PortClosed, "served and refused side by side in one burst: one member refuses"},
			{diagnose.TSClockDomainConflict, "a cause of it: the monitor's clock is refused"},
			{diagnose.AcceptQueueOverflow, "a cause of it: the check's connect times out"},
		},
		Remedies: []Remedy{
			{"keepalived", "find why TCP_CHECK fails; meanwhile retry and connect_timeout up, a sorry_server, inhibit_on_failure so that connections stay."},
			{"F5 BIG-IP", "monitor timeout of three intervals and one second; the pool's minimum active members; a fallback host or priority group."},
			{"HAProxy, nginx, Envoy", "fall/rise, max_fails; a backup server; Envoy's panic threshold spreads over all when too few are healthy."},
			{"AWS NLB", "fails open when no target is healthy: refusals then come from the targets."},
		},
		Counters: []Counter{
			{"director", "ipvsadm -ln", "the virtual service without a real server, at times"},
			{"director", "keepalived log: Removing service, Adding service", "the times of the stretches"},
			{"server", "TcpExt PAWSPassive, ListenOverflows", "what keeps the check out"},
		},
		Scenario: "pool-empty",
	}
}
