package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func middleboxTSStripped() Entry {
	return Entry{
		Verdict: diagnose.MiddleboxTSStripped, Group: Middlebox, Title: "a device takes the timestamps option out",
		Symptoms: []string{"Mostly none: no PAWS, coarser RTT, and where 3.10 servers with tcp_tw_recycle drop SYNs without timestamps, refusals."},
		Mechanism: []Fact{
			{"Timestamps are used only if both SYN and SYN-ACK carry them; a device that overwrites the option with NOPs switches them off.", "RFC 7323 §3.2; RFC 9293 §3.1"},
		},
		Proof: []Proof{
			{plan.KindQuadrants, diagnose.Confirmed, "SYN-ACKs hold a run of eight NOPs and more where the option stood, or later segments of the connection carry it"},
			{plan.KindSYN, diagnose.Inconclusive, "timestamps merely missing: the server's tcp_timestamps=0 looks the same"},
		},
		LookAlikes: []LookAlike{{diagnose.BackendHeterogeneity, "only some members lack them"}, {diagnose.LBFullProxyMasks, "a proxy that never had them"}},
		Remedies: []Remedy{
			{"firewall or balancer", "let TCP options pass: many normalisers clear option 8 by default."},
			{"F5 BIG-IP", "FastL4 TCP timestamp mode preserve in place of strip; in the TCP profile, timestamps enabled."},
		},
		Counters: []Counter{
			{"server", "tcpdump of the SYN as it arrives", "whether it still has TS"},
			{"server", "sysctl net.ipv4.tcp_timestamps", "0: then nobody stripped anything"},
		},
		Scenario: "ts-stripped",
	}
}

func middleboxTSecrCorrupt() Entry {
	return Entry{
		Verdict: diagnose.MiddleboxTSecrCorrupt, Group: Middlebox, Title: "a device rewrites timestamps one way only",
		Symptoms:   []string{"SYN-ACKs arrive and connects time out all the same; with the client's timestamps off everything works."},
		Mechanism:  []Fact{{"TSecr must be a copy of a TSval that was sent. Linux throws away a SYN-ACK with any other.", "RFC 7323 §3.2; net/ipv4/tcp_input.c tcp_rcv_synsent_state_process, Linux 6.18"}},
		Proof:      []Proof{{plan.KindConnect, diagnose.Confirmed, "two SYN-ACKs and more echo a TSval that we never sent"}},
		LookAlikes: []LookAlike{{diagnose.ClientPAWSReject, "the echo looks right to us and the kernel refuses all the same"}, {diagnose.SYNACKLoss, "the SYN-ACK never arrives"}},
		Remedies: []Remedy{
			{"balancer or firewall", "switch timestamp rewriting off, or let it translate TSval and TSecr both; asymmetric routing past it has the same effect."},
			{"clients, for a time", "net.ipv4.tcp_timestamps=0."},
		},
		Counters: []Counter{{"client", "TcpExt PAWSActive", "+1 for each SYN-ACK thrown away"}},
		Scenario: "ts-rewritten",
	}
}

func timestampNormalizedPossible() Entry {
	return Entry{
		Verdict: diagnose.TimestampNormalizedPossible, Group: Middlebox, Benign: true, Title: "timestamps may be rewritten on the way, both ways and rightly",
		Symptoms:   []string{"None: a balancer that gives all clients one clock even protects servers with tcp_tw_recycle."},
		Mechanism:  []Fact{{"A device that translates TSval and TSecr both is invisible in every single segment.", "RFC 7323 §3.2"}},
		Proof:      []Proof{{plan.KindQuadrants, diagnose.NotApplicable, "cannot be seen from outside; only that servers known to have tcp_tw_recycle do not ask for our TSval hints at it"}},
		LookAlikes: []LookAlike{{diagnose.Healthy, "looks the same, and is"}, {diagnose.MiddleboxTSecrCorrupt, "translates one way only"}},
		Remedies:   []Remedy{{"nobody", "nothing to mend; know it before the rewriting is switched off."}},
		Counters:   []Counter{{"server", "tcpdump of SYNs from several clients", "one clock line for all of them"}},
		Scenario:   "ts-normalized",
	}
}

func pathLoss() Entry {
	return Entry{
		Verdict: diagnose.PathLoss, Group: Data, Title: "data segments are lost",
		Symptoms:  []string{"Connects are well, transfers are slow or have pauses of 200 ms and more; retransmissions on the sender."},
		Mechanism: []Fact{{"SACK and RACK repeat a lost segment within about a round trip, a lost tail costs a probe or an RTO.", "RFC 6675 §5; RFC 8985 §6; RFC 6298 §2.4"}},
		Proof: []Proof{
			{plan.KindTransfer, diagnose.Inconclusive, "diagnose --transfer: copies that fill holes, and that no duplicate SACK or late original proves needless"},
			{plan.KindGentle, diagnose.Confirmed, "as many with little in flight, where no queue can be full of ours, as a path that loses one segment in 10,000 shows once in 50,000 " +
				"times; where losses keep to some connections it is ecmp_path_loss"},
			{plan.KindHoled, diagnose.Inconclusive, "which way: raw data whose first segment never leaves is SACKed segment by segment (RFC 2018 §4); what no SACK names was lost on the way there, and " +
				"acknowledgments that do not come on the way back. The application is given nothing"},
		},
		LookAlikes: []LookAlike{
			{diagnose.PathReordering, "repeats turn out needless: DSACKs come back"},
			{diagnose.SpuriousRetransTLP, "one tail segment, needlessly"},
			{diagnose.MTUBlackhole, "one size never passes"},
		},
		Remedies: pathRemedies(),
		Counters: []Counter{
			{"sender", "TcpExt TCPSackRecovery, TCPTimeouts, TCPLostRetransmit", "rise without TCPDSACKRecv"},
			{"sender", "ss -ti: retrans, lost, reord_seen", "by connection, to find the peers concerned"},
		},
		Scenario: "data-loss",
	}
}

func pathReordering() Entry {
	return Entry{
		Verdict: diagnose.PathReordering, Group: Data, Title: "data segments overtake each other",
		Symptoms: []string{"Retransmissions without loss, throughput below what the link gives; the receiver's out-of-order count rises."},
		Mechanism: []Fact{
			{"Three segments SACKed past a hole look like loss; RACK waits a share of the round trip, and more once it has seen reordering.", "RFC 6675 §5; RFC 8985 §6"},
			{"tcp_reordering is the threshold to begin with; RACK made it matter less. GRO or a driver may reorder after the wire.", "Documentation/networking/ip-sysctl.rst tcp_reordering, Linux 6.18"},
			{"Linux counts the IPv4 identification of a connection up with every segment, so a receiver sees in which order they were sent.", "include/net/ip.h ip_select_ident_segs, Linux 6.18"},
		},
		Proof: []Proof{{plan.KindTransfer, diagnose.Confirmed, "diagnose --transfer: data that left once is SACKed or acknowledged behind later data, or comes with an older identification or " +
			"timestamp than what came before it, more often than one segment in 500"}},
		LookAlikes: []LookAlike{{diagnose.PathLoss, "no DSACK answers the repeats"}, {diagnose.SpuriousRetransTLP, "one tail segment only"}},
		Remedies: []Remedy{
			{"receiver", "find what reorders: per-packet balancing, a bond in round robin, a driver's receive offload (ethtool -K <dev> gro off, lro off to test)."},
			{"sender, old kernels", "net.ipv4.tcp_reordering up, in each network namespace and before the listener is made: helps where tcp_force_fast_retransmit still is (4.18 and 6.1 have it); 6.18 decides by RACK alone."},
		},
		Counters: []Counter{
			{"sender", "TcpExt TCPSACKReorder, TCPTSReorder, TCPDSACKRecv, TCPDSACKUndo", "reordering seen, needless repeats undone"},
			{"receiver", "TcpExt TCPOFOQueue, TCPDSACKOldSent", "segments that came early; duplicates got"},
		},
		Scenario: "slb-retransmit",
	}
}

func spuriousRetransTLP() Entry {
	return Entry{
		Verdict: diagnose.SpuriousRetransTLP, Group: Data, Benign: true, Title: "tail loss probes that were not needed",
		Symptoms:   []string{"A few retransmissions of last segments, nobody is slower for it."},
		Mechanism:  []Fact{{"When the last segment is not acknowledged for about two round trips it is sent again, in case it was lost; a late ACK makes that needless.", "RFC 8985 §7"}},
		Proof:      []Proof{{plan.KindTransfer, diagnose.Confirmed, "diagnose --transfer: the last segment in flight came twice, or a duplicate SACK says so, and nothing else was missing; always a note, never a cause"}},
		LookAlikes: []LookAlike{{diagnose.PathLoss, "TCPLossProbeRecovery rises too"}, {diagnose.PathReordering, "segments in the middle are concerned"}},
		Remedies:   []Remedy{{"monitoring", "no alarm on TLP alone; leave net.ipv4.tcp_early_retrans=3."}},
		Counters:   []Counter{{"sender", "TcpExt TCPLossProbes, TCPLossProbeRecovery", "the first rises, the second does not"}},
		Scenario:   "tlp-only",
	}
}

func healthy() Entry {
	return Entry{
		Verdict: diagnose.Healthy, Group: Self, Benign: true, Title: "every connection was accepted without a lost SYN",
		Symptoms:   []string{"None while it was probed. What comes and goes may have been away."},
		Mechanism:  []Fact{{"n attempts without a loss leave a loss rate of up to 3/n unseen once in twenty times.", "arithmetic"}},
		Proof:      []Proof{{plan.KindConnect, diagnose.Confirmed, "eight connections and more, all accepted at once; fewer make it suspected"}},
		LookAlikes: []LookAlike{{diagnose.LBFullProxyMasks, "a proxy in front is healthy whatever its servers do"}, {diagnose.SYNCookiesActive, "hides per-host PAWS"}},
		Remedies:   []Remedy{{"nobody", "none needed. If users complain all the same: probe at that time (a scheduled job), from where they are, and each real server directly."}},
		Counters:   []Counter{{"clients", "TcpExt TCPSynRetrans, TCPTimeouts", "whether SYNs are repeated elsewhere"}},
		Scenario:   "clean",
	}
}

func synStallUnclassified() Entry {
	return Entry{
		Verdict: diagnose.SYNStallUnclassified, Group: Self, Title: "connections stall or fail, and the cause is not separated",
		Symptoms:   []string{"Some connects take 1 s, 3 s or more, or fail; several causes would look so from here."},
		Mechanism:  []Fact{{"A stall is a repeated SYN; by itself it does not say who lost the first one.", "RFC 6298 §2.1"}},
		Proof:      []Proof{{plan.KindConnect, diagnose.Suspected, "SYNs were repeated and no rule explains them; a few are no verdict where one connect in 1,000 may stall, nor are those that a pause let go together"}},
		LookAlikes: []LookAlike{{diagnose.ForwardSYNLoss, "named once direction and another port are known"}, {diagnose.AcceptQueueOverflow, "named when the listener's stack is seen alive"}, {diagnose.ACLDrop, "named when somebody says so by ICMP"}},
		Remedies: []Remedy{
			{"you", "vipprobe diagnose TARGET; then the same on each real server, and from a second vantage point; then the counters below at both ends."},
		},
		Counters: []Counter{
			{"server", "TcpExt ListenOverflows, ListenDrops, TCPReqQFullDrop, PAWSPassive", "which of them moves while it is probed"},
			{"the path", "filter and NAT counters", "likewise"},
		},
		Unmade: "is no fault but the lack of a finding",
	}
}

func slowPathNotStall() Entry {
	return Entry{
		Verdict: diagnose.SlowPathNotStall, Group: Self, Title: "answers are late, none is lost",
		Symptoms:  []string{"Connects take a second and more, all alike, and captures show repeated SYNs whose first one was answered after all."},
		Mechanism: []Fact{{"When the round trip exceeds the first retransmission timeout (1 s) SYNs are repeated needlessly; the echo names the first one.", "RFC 6298 §2.1; RFC 7323 §3.2"}},
		Proof:     []Proof{{plan.KindSticky, diagnose.Confirmed, "single SYNs that are never repeated are answered late, in two bursts, most of them"}},
		LookAlikes: []LookAlike{
			{diagnose.SYNACKLoss, "answers come at the listener's own repeats (1, 3, 7 s), not whenever"},
			{diagnose.RemoteARPUnresolved, "several SYN-ACKs at one instant, while a question is open"},
		},
		Remedies: []Remedy{
			{"network", "look for queues, not for loss: a shaper or full uplink (bufferbloat), a satellite or VPN detour."},
			{"balancer", "an overloaded software balancer or SYN proxy answers late: its CPU, its queues."},
		},
		Counters: []Counter{
			{"this host", "TcpExt TCPSpuriousRTOs, TCPDSACKRecv", "needless repeats"},
			{"network", "queue depth, tc -s qdisc", "backlog where it waits"},
		},
		Scenario: "slow-synack",
	}
}

func proberLocalDrop() Entry {
	return Entry{
		Verdict: diagnose.ProberLocalDrop, Group: Self, Title: "this host itself drops what is probed",
		Symptoms: []string{"Connects from this host fail while others are fine; captures here show no SYN, or the capture ring lost frames."},
		Mechanism: []Fact{{"Filters, queues and policies of the host stand before its interface's tap; what they drop is never seen there. A full capture ring loses frames and counts them.", "packet(7) PACKET_STATISTICS"},
			{"What a device without a queue of its own receives (loopback, veth, tun, any under RPS) waits in the backlog of a CPU, which is the machine's and not the network namespace's: " +
				"over netdev_max_backlog it is dropped before any tap, and counted in softnet_stat.", "net/core/dev.c enqueue_to_backlog, Linux 6.18"},
			{"What a device has no room or buffer for it drops behind the tap on the way out, before it on the way in, and counts: tx_dropped (of a macvlan or VLAN: what the queue of the " +
				"device below refused), rx_missed_errors. rx_dropped says nothing: protocols that nobody here speaks count there.",
				"include/uapi/linux/if_link.h, Linux 6.18; net/core/dev.c __netif_receive_skb_core, Linux 6.18"}},
		Proof: []Proof{{plan.KindConnect, diagnose.Confirmed, "more segments came on the tap than Tcp InSegs counts, twice, and connects went on as if their SYN-ACK had not come: a filter or rp_filter stands between"},
			{plan.KindConnect, diagnose.Confirmed, "TCP_INFO counts SYNs that the tap never saw and no resolution was under way; or PACKET_STATISTICS counts drops where something is missing"},
			{plan.KindConnect, diagnose.Suspected, "softnet_stat, or the device that packets leave by or one below it, counts a quarter as many drops as a burst misses, or more, and only such bursts miss anything (Fisher, p < 0.01), or " +
				"five different numbers of missing packets or more are the device's to the packet (p ≤ 1/5!); otherwise it stays open"}},
		LookAlikes: []LookAlike{{diagnose.LocalARPQueueOverflow, "a resolution is under way, and the last ones survive"}, {diagnose.LocalARPUnresolved, "no MAC for the next hop"}},
		Remedies: []Remedy{
			{"this host", "nft list ruleset, tc -s qdisc and filters of the device; conntrack's table; give the prober a CPU of its own and fewer targets at a time when the ring overflows."},
			{"this host", "where IPReversePathFilter rises: net.ipv4.conf.<dev>.rp_filter=2 on the device by which answers come, or routes that leave by it."},
			{"this host", "where softnet_stat's second column rises: find who floods the machine, raise net.core.netdev_max_backlog (1,000 by default), spread the load over CPUs (RPS, RSS), or probe from another vantage."},
			{"this host", "where a device's counters rise: ethtool -S and -g (larger rings), tc -s qdisc of it and of the device below it, its cable and link."},
		},
		Counters: []Counter{
			{"this host", "tc -s qdisc show dev <dev>: dropped", "rises with each"},
			{"this host", "Ip OutDiscards, Ip OutNoRoutes", "likewise"},
			{"this host", "Tcp InSegs, TcpExt IPReversePathFilter", "the first does not rise with a SYN-ACK that is dropped before TCP, the second with each that rp_filter drops"},
			{"this host", "/proc/net/softnet_stat, second column", "rises with each that a CPU's backlog drops"},
			{"this host", "ip -s -s link show dev <dev>: TX dropped, carrier; RX missed, overrun", "rises with each that a device drops"},
		},
		Scenario: "local-drop",
	}
}

func proberClockStep() Entry {
	return Entry{
		Verdict: diagnose.ProberClockStep, Group: Self, Title: "this host's clock was set while it measured",
		Symptoms:   []string{"Round trips below zero, or of hours; a time daemon's log line at that moment."},
		Mechanism:  []Fact{{"Frames are stamped with CLOCK_REALTIME; when it is set, times before and after do not compare.", "packet(7) PACKET_TIMESTAMP; clock_gettime(2)"}},
		Proof:      []Proof{{plan.KindConnect, diagnose.Proven, "CLOCK_REALTIME moved against CLOCK_MONOTONIC by more than a millisecond and 500 ppm during a burst"}},
		LookAlikes: []LookAlike{{diagnose.SlowPathNotStall, "both clocks agree"}},
		Remedies:   []Remedy{{"this host", "let the time daemon slew in place of stepping (chrony: makestep only at start), then probe again."}},
		Counters:   []Counter{{"this host", "chronyc tracking, timedatectl", "the last step"}},
		Unmade:     "nobody but the machine's owner may set its wall clock",
	}
}

func insufficientSamples() Entry {
	return Entry{
		Verdict: diagnose.InsufficientSamples, Group: Self, Title: "too little was measured to say anything",
		Symptoms:   []string{"Attempts were never made: no route, no permission, out of source ports, or no time left."},
		Mechanism:  []Fact{{"Absence of loss in few attempts is no evidence of health: 3/n of them may fail unseen.", "arithmetic"}},
		Proof:      []Proof{{plan.KindConnect, diagnose.Inconclusive, "a tenth of the attempts and more were not sent"}},
		LookAlikes: []LookAlike{{diagnose.Healthy, "claims as many connections as were made"}},
		Remedies:   []Remedy{{"this host", "vipprobe doctor says what is missing; a larger --max-seconds or --max-syns if the budget ended it."}},
		Counters:   []Counter{{"this host", "the report's \"not measured\" lines", "why"}},
		Unmade:     "is no fault but the lack of a finding",
	}
}
