package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

func conntrack() []Counter {
	return []Counter{
		{Name: "nf_conntrack.drop", Topic: Conntrack, Scope: Namespace, Claims: fits(d.ConntrackTableFull, d.SNATPortExhaustion),
			Means:  "packets dropped because no connection entry could be made or confirmed: the table is full, or NAT found no port",
			Source: "net/netfilter/nf_conntrack_core.c nf_conntrack_in, Linux 6.18"},
		{Name: "nf_conntrack.early_drop", Topic: Conntrack, Scope: Namespace, Claims: fits(d.ConntrackTableFull),
			Means:  "entries thrown out to make room in a full table: unanswered connections go first",
			Source: "net/netfilter/nf_conntrack_core.c early_drop, Linux 6.18"},
		{Name: "nf_conntrack.insert_failed", Topic: Conntrack, Scope: Namespace, Claims: fits(d.SNATPortRace, d.SNATPortExhaustion),
			Means:  "packets dropped because another connection took the same translated ports in between",
			Also:   "two DNS queries of one socket at once (UDP)",
			Source: "net/netfilter/nf_conntrack_core.c __nf_conntrack_confirm, Linux 6.18"},
		{Name: "nf_conntrack.clashres", Topic: Conntrack, Scope: Namespace, Since: Kernel{5, 10}, Claims: aside(d.SNATPortRace),
			Means:  "such clashes that were resolved without a loss",
			Source: "net/netfilter/nf_conntrack_core.c nf_ct_resolve_clash, Linux 6.18"},
		{Name: "nf_conntrack.invalid", Topic: Conntrack, Scope: Namespace, Claims: fits(d.ClientPAWSReject, d.ACLDrop),
			Means:  "packets that fit no connection; a rule that drops ctstate INVALID swallows them",
			Also:   "asymmetric paths; late segments of closed connections",
			Source: "net/netfilter/nf_conntrack_core.c nf_conntrack_in, Linux 6.18"},
	}
}

func admission() []Counter {
	return []Counter{
		{Name: "TcpExt.IPReversePathFilter", Topic: Admission, Scope: Namespace, Since: Kernel{2, 6, 36}, Claims: names(d.ReversePathFilter),
			Means:  "packets dropped because their source is not reached by the interface they came in (rp_filter)",
			Source: "net/ipv4/ip_input.c ip_rcv_finish_core, Linux 6.18"},
		{Name: "TcpExt.TCPMinTTLDrop", Topic: Admission, Scope: Namespace, Since: Kernel{2, 6, 34}, Claims: nil,
			Means:  "packets dropped by IP_MINTTL or IPV6_MINHOPCOUNT: also what a prober keeps from its own kernel",
			Source: "net/ipv4/tcp_ipv4.c tcp_v4_rcv, Linux 6.18"},
		{Name: "TcpExt.TCPMD5NotFound", Topic: Admission, Scope: Namespace, Claims: nil,
			Means:  "segments without the MD5 signature that the socket asks for",
			Source: "net/ipv4/tcp.c tcp_inbound_md5_hash, Linux 6.18"},
		{Name: "Tcp.OutRsts", Topic: Admission, Scope: Namespace, Claims: fits(d.PortClosed, d.AbortOnOverflow),
			Means:  "RSTs sent",
			Also:   "programs that close with data unread; answers to strays; the probes' own",
			Source: "net/ipv4/tcp_ipv4.c tcp_v4_send_reset, Linux 6.18; net/ipv4/tcp_output.c tcp_send_active_reset, Linux 6.18"},
		{Name: "Tcp.AttemptFails", Topic: Admission, Scope: Namespace, Claims: fits(d.PortClosed),
			Means:  "connections that failed while opening, either way",
			Source: "RFC 4022; net/ipv4/tcp.c tcp_done, Linux 6.18"},
		{Name: "IcmpMsg.InType3", Topic: Admission, Scope: Namespace, Claims: fits(d.VIPPoolEmpty, d.ACLDrop, d.PortClosed),
			Means:  "ICMP unreachables received: refused, filtered, no route, or too big",
			Source: "net/ipv4/icmp.c icmp_rcv, Linux 6.18; RFC 792"},
		{Name: "IcmpMsg.OutType3", Topic: Admission, Scope: Namespace, Claims: fits(d.VIPPoolEmpty, d.ACLDrop),
			Means:  "ICMP unreachables sent",
			Source: "net/ipv4/icmp.c icmp_out_count, Linux 6.18; RFC 792"},
		{Name: "Icmp6.InDestUnreachs", Topic: Admission, Scope: Namespace, Claims: fits(d.VIPPoolEmpty, d.ACLDrop, d.PortClosed),
			Means:  "ICMPv6 unreachables received",
			Source: "net/ipv6/proc.c snmp6_icmp6_list, Linux 6.18; RFC 4443 §3.1"},
		{Name: "Ip.OutNoRoutes", Topic: Admission, Scope: Namespace, Claims: fits(d.ProberLocalDrop),
			Means:  "packets not sent for want of a route",
			Source: "net/ipv4/route.c ip_route_output_key_hash_rcu, Linux 6.18"},
		{Name: "Ip6.OutNoRoutes", Topic: Admission, Scope: Namespace, Claims: fits(d.ProberLocalDrop),
			Means:  "IPv6 packets not sent for want of a route",
			Source: "net/ipv6/route.c ip6_pkt_drop, Linux 6.18"},
		{Name: "IpExt.InNoRoutes", Topic: Admission, Scope: Namespace, Claims: aside(d.ACLDrop),
			Means:  "packets received for which there is no route",
			Source: "net/ipv4/route.c ip_error, Linux 6.18"},
	}
}
