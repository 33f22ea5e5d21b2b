package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func queueFacts() []Fact {
	return []Fact{
		{"While an address is being resolved, packets for it wait in a queue of its neighbour entry; when that is full the oldest is dropped, so the last ones survive.",
			"net/core/neighbour.c __neigh_event_send, Linux 6.18; RFC 1122 §2.3.2.2"},
		{"The queue holds 3 packets up to 3.2, 65,536 octets from 3.3, 212,992 from 4.14, counted in truesize (about 832 a SYN): 3, 78 and 256 packets.",
			"Documentation/networking/ip-sysctl.rst neigh/default/unres_qlen_bytes, Linux 6.18; measured on Linux 6.18; measured on Linux 2.6.32"},
	}
}

func queueRemedies(whose string) []Remedy {
	return []Remedy{
		{whose + ", Linux ≥ 3.3", "net.ipv4.neigh.<dev>.unres_qlen_bytes=212992 or more (net.ipv6.neigh for IPv6); setting unres_qlen there is rounded and means fewer than it says."},
		{whose + ", Linux ≤ 3.2", "net.ipv4.neigh.<dev>.unres_qlen=256: it counts packets there."},
		{whose, "keep entries of peers that matter warm (raise base_reachable_time_ms, or a little regular traffic), or open connections to a new host one at a time."},
		{"new hosts", "announce themselves when they come up (arping -U, RFC 5227 §3), so that nobody has to ask in the middle of a burst."},
	}
}

func localARPQueueOverflow() Entry {
	return Entry{
		Verdict: diagnose.LocalARPQueueOverflow, Group: Neighbour, Title: "this host's own neighbour queue drops SYNs while it asks for a MAC",
		Symptoms: []string{
			"A burst of connects to a host not talked to for a while: the last few succeed at once, the rest take exactly 1 s (3 s on old kernels).",
			"The second burst is clean. Adding machines to a pool makes it more frequent.",
		},
		Mechanism: queueFacts(),
		Proof: []Proof{{plan.KindConnect, diagnose.Proven, "an ARP or ND request of ours, then only the last Q SYNs on the wire while TCP_INFO counts all; the same burst again, warm, loses nothing; " +
			"or unresolved_discards rose by as many"}},
		LookAlikes: []LookAlike{
			{diagnose.RemoteARPQueueOverflow, "all SYNs leave, and the question comes from the other side"},
			{diagnose.AcceptQueueOverflow, "the first ones succeed, not the last"},
			{diagnose.SYNRateLimited, "the first ones succeed, and it happens warm as well"},
			{diagnose.ProberLocalDrop, "SYNs vanish in this host without a resolution under way"},
		},
		Remedies: queueRemedies("this host"),
		Counters: []Counter{
			{"this host", "/proc/net/stat/arp_cache unresolved_discards (ndisc_cache for IPv6)", "hex, a row per CPU, all namespaces together; +1 per dropped packet"},
			{"this host", "drop reason NEIGH_QUEUEFULL (perf trace -e skb:kfree_skb)", "Linux ≥ 5.18, unverified"},
		},
		Scenario: "arp-client",
	}
}

func remoteARPQueueOverflow() Entry {
	return Entry{
		Verdict: diagnose.RemoteARPQueueOverflow, Group: Neighbour, Title: "the far side's neighbour queue drops SYN-ACKs while it asks for our MAC",
		Symptoms: []string{
			"A burst from a new client, or to new servers: the last few connects succeed at once, the rest 1 s later; the server's ListenDrops rise.",
			"A capture on the client shows every SYN leaving and a who-has for the client's own address arriving.",
		},
		Mechanism: append(queueFacts(), Fact{"It is whoever delivers to us on our segment: the server itself, or the router before it.", "RFC 1122 §2.3.2.2"}),
		Proof:     []Proof{{plan.KindConnect, diagnose.Proven, "a request for our address, SYN-ACKs for the last Q SYNs only, and a warm repeat of the burst that loses nothing"}},
		LookAlikes: []LookAlike{
			{diagnose.LocalARPQueueOverflow, "the SYNs never leave this host"},
			{diagnose.SYNACKLoss, "random loss of answers spares no particular end of the burst, and goes on when warm"},
			{diagnose.AcceptQueueOverflow, "the first ones succeed, not the last"},
		},
		Remedies: queueRemedies("far host or router"),
		Counters: []Counter{
			{"far host or router", "/proc/net/stat/arp_cache unresolved_discards", "hex, a row per CPU; +1 per dropped SYN-ACK"},
			{"server", "TcpExt TCPSynRetrans", "the SYN-ACKs that had to be repeated"},
		},
		Scenario: "arp-server",
	}
}

func localARPUnresolved() Entry {
	return Entry{
		Verdict: diagnose.LocalARPUnresolved, Group: Neighbour, Title: "nobody answers this host's question for the next hop",
		Symptoms:  []string{"Every connect fails after about 3 s with \"No route to host\".", "The server is fine from other segments."},
		Mechanism: []Fact{{"Three requests a second apart, then the entry fails and waiting packets are answered with EHOSTUNREACH; the next packet begins anew.", "net/core/neighbour.c neigh_timer_handler, Linux 6.18; RFC 4861 §7.2.2"}},
		Proof: []Proof{
			{plan.KindConnect, diagnose.Proven, "three requests and more left over two seconds and more, nothing of that address came at any time of the round, and no SYN of the connects was on the wire"},
			{plan.KindResolve, diagnose.Confirmed, "an answer came after a second and more, no SYN left before it, and asked again it was as late, while TCP's own round trips are a tenth of that at most"},
		},
		LookAlikes: []LookAlike{
			{diagnose.ACLDrop, "SYNs leave and are not answered"},
			{diagnose.RemoteARPUnresolved, "SYNs leave; the other side asks and has no answer"},
			{diagnose.StaleNeighborAfterFailover, "SYNs leave for a MAC that is gone"},
		},
		Remedies: []Remedy{
			{"target", "bring the address up on its segment; on LVS direct routing check that exactly the director answers ARP for the VIP (arp_ignore, arp_announce on the real servers)."},
			{"this host", "correct the netmask or route that makes it ask here; check VLAN and bond."},
			{"switch", "port security, dynamic ARP inspection or a private VLAN may swallow the question."},
		},
		Counters: []Counter{
			{"this host", "ip neigh show ADDRESS", "INCOMPLETE, then FAILED"},
			{"this host", "/proc/net/stat/arp_cache res_failed", "+1 for each resolution given up"},
		},
		Scenario: "arp-dead",
	}
}

func remoteARPUnresolved() Entry {
	return Entry{
		Verdict: diagnose.RemoteARPUnresolved, Group: Neighbour, Title: "the far side cannot resolve this host in time",
		Symptoms: []string{
			"SYNs leave, nothing comes for a second or more, then several SYN-ACKs of one connection at one instant; or nothing at all.",
			"The far side asks for this host's MAC again and again.",
		},
		Mechanism: []Fact{
			{"SYN-ACKs and their repeats wait in the far side's neighbour entry until it has our MAC, and then leave together.", "net/core/neighbour.c neigh_update, Linux 6.18; measured on Linux 6.18"},
			{"A host answers requests for its address by the rules of arp_ignore and arp_filter; a filter or the switch may eat the answer.", "Documentation/networking/ip-sysctl.rst arp_ignore, Linux 6.18"},
		},
		Proof:      []Proof{{plan.KindConnect, diagnose.Confirmed, "a request for our address stays open while no SYN-ACK comes, and when it is answered several SYN-ACKs of one port arrive within 2 ms"}},
		LookAlikes: []LookAlike{{diagnose.SYNACKLoss, "no question for our address is open"}, {diagnose.SlowPathNotStall, "the answers are late alike, and single"}},
		Remedies: []Remedy{
			{"this host", "arp_ignore, arp_filter and its packet filter (arptables, nft arp): let it answer for this address on this interface; two interfaces on one segment need arp_filter or separate routes."},
			{"switch", "port security, dynamic ARP inspection, ND inspection: permit this host."},
		},
		Counters: []Counter{
			{"far host or router", "ip neigh show ADDRESS", "INCOMPLETE or FAILED for this host"},
			{"far host or router", "/proc/net/stat/arp_cache res_failed", "+1 for each resolution given up"},
			{"server", "TcpExt ListenDrops", "rises for SYN-ACKs that could not be sent"},
		},
		Scenario: "remote-arp-dead",
	}
}

func neighTableOverflow() Entry {
	return Entry{
		Verdict: diagnose.NeighTableOverflow, Group: Neighbour, Title: "the neighbour table is full",
		Symptoms: []string{
			"\"neighbour: arp_cache: neighbor table overflow!\" in the kernel log; connects to new neighbours fail with \"No buffer space available\", known ones go on.",
			"On hosts with many containers, or on a flat segment with more than a thousand peers.",
		},
		Mechanism: []Fact{{"A new entry is refused with ENOBUFS once gc_thresh3 (1,024) entries are in use and forced collection frees none; the table is one for all namespaces.",
			"net/core/neighbour.c neigh_alloc, Linux 6.18"}},
		Proof: []Proof{{plan.KindConnect, diagnose.NotApplicable, "not named from outside: read table_fulls and the kernel log on the host that resolves; connects fail with ENOBUFS there"}},
		LookAlikes: []LookAlike{
			{diagnose.LocalARPUnresolved, "requests leave and are not answered; here none leaves"},
			{diagnose.LocalARPQueueOverflow, "one entry's queue is full, not the table"},
		},
		Remedies: []Remedy{{"the host that overflows", "raise net.ipv4.neigh.default.gc_thresh1, 2 and 3 together (net.ipv6.neigh likewise) above the number of peers; split the segment."}},
		Counters: []Counter{
			{"the host that overflows", "/proc/net/stat/arp_cache table_fulls", "hex, a row per CPU; absent from old kernels such as 3.10's"},
			{"the host that overflows", "dmesg: neighbor table overflow", "rate-limited"},
		},
		Unmade: "the table and its limits are one for all namespaces: it would be this machine's own that overflows",
	}
}

func staleNeighborAfterFailover() Entry {
	return Entry{
		Verdict: diagnose.StaleNeighborAfterFailover, Group: Neighbour, Title: "the VIP moved, and this host still sends to the old MAC",
		Symptoms: []string{
			"After a failover some hosts reach the VIP at once, others only after 5 to 30 s, then all is well.",
			"SYNs leave and nothing comes back; no ARP is seen until just before it heals.",
		},
		Mechanism: []Fact{
			{"An entry that was confirmed is used without asking; a stale one is used too, for delay_first_probe_time (5 s) and three unicast probes a second apart, before anybody else is asked: about 8 s of sending to a MAC that is gone.",
				"RFC 4861 §7.3.3; net/core/neighbour.c neigh_timer_handler, Linux 6.18"},
			{"Whoever takes an address over should announce it, so that nobody has to find out.", "RFC 5227 §3; RFC 4861 §7.2.6; RFC 9568 §6.4.1"},
		},
		Proof:      []Proof{{plan.KindResolve, diagnose.Confirmed, "SYNs to the old MAC are all silent, another MAC answers for the address when asked, SYNs to it are served, and no announcement was seen before"}},
		LookAlikes: []LookAlike{{diagnose.DuplicateAddress, "two MACs answer one and the same request"}, {diagnose.NeighborFlapping, "the owner changes again and again"}, {diagnose.ACLDrop, "never heals"}},
		Remedies: []Remedy{
			{"keepalived", "vrrp_garp_master_delay, vrrp_garp_master_repeat and vrrp_garp_master_refresh: announce at takeover and again later; vrrp_gna_interval for IPv6."},
			{"F5 BIG-IP", "a MAC masquerade address on the traffic group: the MAC moves with the address and nobody needs to learn."},
			{"switch", "let gratuitous ARP pass dynamic ARP inspection and storm control."},
			{"clouds", "gratuitous ARP does nothing there: move the address by the provider's API."},
		},
		Counters: []Counter{
			{"this host", "ip -s neigh show ADDRESS", "STALE, DELAY or PROBE with the old MAC"},
			{"switch or router", "MAC and ARP table of the VIP", "still on the old port"},
		},
		Scenario: "vip-moved",
	}
}

func duplicateAddress() Entry {
	return Entry{
		Verdict: diagnose.DuplicateAddress, Group: Neighbour, Title: "two hosts claim one address",
		Symptoms: []string{
			"Connections break or are refused in phases of minutes, differently on each client; an SSH host key changes.",
			"On LVS direct routing: some clients reach one real server past the director.",
		},
		Mechanism: []Fact{{"The last answer to an ARP request wins; with two owners each client's entry depends on whose answer came last.", "RFC 826; RFC 5227 §2.4"}},
		Proof:     []Proof{{plan.KindConnect, diagnose.Confirmed, "one request of ours drew replies from two MACs within a second"}},
		LookAlikes: []LookAlike{
			{diagnose.StaleNeighborAfterFailover, "one owner at a time, and it heals"},
			{diagnose.NeighborFlapping, "both announce themselves unasked"},
			{diagnose.BackendHeterogeneity, "several members behind one MAC"},
		},
		Remedies: []Remedy{
			{"the two hosts", "take the address off one of them; find it by its MAC on the switch."},
			{"LVS direct routing", "on the real servers net.ipv4.conf.all.arp_ignore=1 and arp_announce=2, and the VIP on lo."},
			{"VRRP", "two masters: let the advertisements through (IP protocol 112), or use unicast_peer."},
		},
		Counters: []Counter{
			{"any host of the segment", "arping -D -I <dev> ADDRESS", "a reply from each owner"},
			{"switch", "MAC address table of both MACs", "the ports where they are"},
		},
		Scenario: "duplicate-ip",
	}
}

func neighborFlapping() Entry {
	return Entry{
		Verdict: diagnose.NeighborFlapping, Group: Neighbour, Title: "the address changes its owner again and again",
		Symptoms:  []string{"Established connections reset in turn, the VIP alternates between two machines, VRRP logs show MASTER and BACKUP transitions."},
		Mechanism: []Fact{{"Two nodes that do not hear each other's advertisements are both master, and each announces the address.", "RFC 9568 §6.4; RFC 5227 §2.4"}},
		Proof:     []Proof{{plan.KindConnect, diagnose.Confirmed, "announcements of one address from two MACs in turn, or SYNs of one burst that left for either"}},
		LookAlikes: []LookAlike{
			{diagnose.DuplicateAddress, "both answer requests; neither announces"},
			{diagnose.StaleNeighborAfterFailover, "moves once"},
		},
		Remedies: []Remedy{
			{"keepalived", "let VRRP pass between the nodes (IP protocol 112, 224.0.0.18 or unicast_peer, IGMP snooping), equal virtual_router_id and authentication on both, distinct from other groups; nopreempt."},
			{"switch", "look for a loop: MAC moves are logged there."},
		},
		Counters: []Counter{
			{"any host of the segment", "ip monitor neigh", "the entry's MAC changing"},
			{"the nodes", "keepalived log; show mac move on the switch", "transitions and their times"},
		},
		Scenario: "flapping",
	}
}
