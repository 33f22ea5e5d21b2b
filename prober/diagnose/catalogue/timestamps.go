package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// recycleFacts are how a server with tcp_tw_recycle treats SYNs, whoever they come from.
func recycleFacts() []Fact {
	return []Fact{
		{"With net.ipv4.tcp_tw_recycle=1 a server remembers, for each source address, the newest TSval of a connection that the server itself closed first. For 60 s " +
			"(TCP_PAWS_MSL) it drops every SYN from that address whose TSval is older by more than one tick (TCP_PAWS_WINDOW): two ticks older is silent, one is answered.",
			"net/ipv4/tcp_metrics.c tcp_peer_is_proven, Linux 3.10; measured on Linux 3.10; measured on Linux 2.6.32"},
		{"PAWS is meant for one connection, whose clock never runs backwards (RFC 7323 §5); between hosts that share an address there is no common clock.", "RFC 7323 §5"},
		{"The check is made before a request is queued, and is not made while SYN cookies are in force.", "net/ipv4/tcp_ipv4.c tcp_v4_conn_request, Linux 3.10"},
		{"CentOS 7's 3.10.0-1160, and mainline once it took commit a26552afe894, drop SYNs without timestamps from a remembered address as well; 2.6.32 answers them.",
			"measured on Linux 3.10; measured on Linux 2.6.32"},
		{"The sysctl was removed altogether.", "commit 4396e46187ca, Linux 4.12"},
	}
}

func recycleRemedies() []Remedy {
	return []Remedy{
		{"real server, Linux ≤ 4.11", "sysctl -w net.ipv4.tcp_tw_recycle=0, and take it out of /etc/sysctl*: it works at once. TIME_WAIT sockets are cheap; tcp_tw_reuse is the client's and harmless here."},
		{"real server, Linux ≥ 4.12", "nothing to set: the sysctl is gone, and so is the fault."},
		{"clients", "switching their timestamps off (net.ipv4.tcp_timestamps=0) helps against 2.6.32 servers only: CentOS 7's 3.10 then drops their SYNs for the same 60 s."},
	}
}

func recycleCounters() []Counter {
	return []Counter{
		{"real server", "TcpExt PAWSPassive (nstat -az TcpExtPAWSPassive)", "+1 for each SYN dropped so; Linux ≤ 4.11, gone with the sysctl"},
		{"real server", "TcpExt ListenDrops", "rises in step with PAWSPassive on 3.10, not on 2.6.32; it counts other drops too"},
		{"real server", "ip tcp_metrics show ADDRESS", "age, and tw_ts: the remembered TSval of that address; Linux 3.6 to 4.11"},
		{"real server", "sysctl net.ipv4.tcp_tw_recycle", "1, or no such file: then it is not this"},
	}
}

func twRecyclePAWSDrop() Entry {
	return Entry{
		Verdict: diagnose.TWRecyclePAWSDrop, Group: Timestamps, Title: "the server refuses older timestamps of this address (tcp_tw_recycle)",
		Symptoms: []string{
			"Connects time out or stall for seconds now and then, and always within a minute of an ordinary close by the server.",
			"Other hosts connect well at the same moment; the server's log has nothing.",
			"ping, and telnet from a host that was quiet for a minute, always work.",
		},
		Mechanism: recycleFacts(),
		Proof: []Proof{
			{plan.KindFlip, diagnose.Proven, "after a connection that the server closed first with TSval T0, T0−2 is silent and T0−1, T0, T0+1,000,000 are answered, on fresh ports, and of TSvals drawn by lot on both sides the older ones are silent and the newer ones answered; after 62 s T0−2 is answered again"},
			{plan.KindQuadrants, diagnose.Confirmed, "of TSvals a quarter of the circle apart exactly two adjacent ones are silent; half of the bursts suggest which, the other half tests it"},
			{plan.KindOracle, diagnose.Proven, "the remembered TSval to the tick, and it is this host's own clock"},
		},
		LookAlikes: []LookAlike{
			{diagnose.TWRecyclePAWSDropSNAT, "the remembered TSval is not this host's clock: others share the address"},
			{diagnose.ForwardSYNLoss, "random loss does not ask for the TSval"},
			{diagnose.TimeWaitCollision, "answers a bare ACK, and on one 4-tuple only; per-host PAWS is silent, on any port"},
			{diagnose.AcceptQueueOverflow, "drops whatever the TSval, and on one port only"},
		},
		Remedies: recycleRemedies(), Counters: recycleCounters(), Scenario: "recycle-direct",
	}
}

func twRecyclePAWSDropSNAT() Entry {
	return Entry{
		Verdict: diagnose.TWRecyclePAWSDropSNAT, Group: Timestamps, Title: "a NAT mixes clocks before a server with tcp_tw_recycle",
		Symptoms: []string{
			"Connects to the VIP time out at random; which client suffers changes, and the one whose uptime is longest never does.",
			"The same client connects to a real server directly without trouble.",
			"A full-speed test from one machine shows nothing; two machines together show it.",
			"A balancer may answer with an RST 15 s and more after the SYN, when its own attempt at the server has timed out.",
		},
		Mechanism: append([]Fact{{"A source NAT (the balancer's SNAT, LVS NAT with masquerade, a Kubernetes node) gives several clients one address towards the server; their timestamp clocks began at different times.",
			"RFC 7323 §5; RFC 6191 §2"}}, recycleFacts()...),
		Proof: []Proof{
			{plan.KindQuadrants, diagnose.Confirmed, "two adjacent quadrants of the circle silent, the others served, on held-out bursts; nothing is primed, since that would hurt the others behind the NAT"},
			{plan.KindOracle, diagnose.Proven, "the remembered TSval to the tick; it is far from this host's own clock"},
			{plan.KindCircle, diagnose.Confirmed, "where several clocks are mixed so that the memory leaps: at each instant one half of all TSvals refused, and another half the next time"},
			{plan.KindSurvey, diagnose.Confirmed, "this host itself sends no other clock from the address, so another host does"},
		},
		LookAlikes: []LookAlike{
			{diagnose.TSClockDomainConflict, "the other clock leaves from this very host: a monitor beside business traffic"},
			{diagnose.BlackholeBackend, "a dead member swallows every TSval alike"},
			{diagnose.ClientRandomTSVsRecycle, "without NAT: one client whose ports have clocks of their own"},
			{diagnose.SYNRateLimited, "the first SYNs of a burst pass, whatever their TSval"},
		},
		Remedies: append(recycleRemedies(),
			Remedy{"F5 BIG-IP", "FastL4 profile: set the TCP timestamp mode to rewrite, so that all clients share the balancer's clock; or a standard (full proxy) virtual server."},
			Remedy{"LVS, keepalived", "use direct routing or tunnelling in place of NAT with masquerade, so that servers see each client's own address."},
			Remedy{"HAProxy, nginx, Envoy", "as full proxies they send their own host's clock from their own address: the fault needs several proxy hosts behind one NAT."},
			Remedy{"Kubernetes", "externalTrafficPolicy: Local keeps client addresses; otherwise every node masquerades many pods behind one."}),
		Counters: recycleCounters(), Scenario: "recycle-vip",
	}
}

func tsClockDomainConflict() Entry {
	return Entry{
		Verdict: diagnose.TSClockDomainConflict, Group: Timestamps, Title: "health monitor and business share an address, not a clock",
		Symptoms: []string{
			"The balancer marks a healthy server down and up again, or the business fails while the monitor is green, never both for the same reason.",
			"It began when business was moved to the address that the monitor uses, or after a restart of the balancer.",
		},
		Mechanism: append([]Fact{{"A balancer that is both monitor and SNAT sends its own connections with its system's clock, and those of clients with theirs or with a rewritten one, from one address. " +
			"Whichever clock is behind is refused after the server has closed a connection of the other.", "RFC 7323 §5"}}, recycleFacts()...),
		Proof: []Proof{
			{plan.KindQuadrants, diagnose.Confirmed, "the server drops by TSval, tested on held-out bursts"},
			{plan.KindSurvey, diagnose.Confirmed, "SYNs of others leave this host from the probing address on another clock than its kernel's; both series are shown"},
		},
		LookAlikes: []LookAlike{
			{diagnose.TWRecyclePAWSDropSNAT, "the other clock comes from another host behind the same NAT"},
			{diagnose.VIPPoolEmpty, "is what the eviction looks like from outside; this is its cause"},
		},
		Remedies: append([]Remedy{
			{"balancer", "give the monitor a source address of its own (a separate SNAT pool); or let business and monitor both be rewritten to one clock."},
			{"F5 BIG-IP", "a SNAT pool without the self address that monitors use; FastL4 TCP timestamp mode rewrite."},
			{"keepalived", "bindto ADDRESS in TCP_CHECK, an address that is not the masquerading one."}}, recycleRemedies()...),
		Counters: recycleCounters(), Scenario: "monitor-own-clock",
	}
}

func clientRandomTSVsRecycle() Entry {
	return Entry{
		Verdict: diagnose.ClientRandomTSVsRecycle, Group: Timestamps, Title: "a client whose ports have clocks of their own meets tcp_tw_recycle",
		Symptoms: []string{
			"About half of the new connections of one modern client to one old server time out for a minute, without any NAT between.",
			"It began with the client's kernel upgrade; older clients are fine.",
		},
		Mechanism: append([]Fact{
			{"Clients randomise where their timestamps begin: per connection in 4.10 and 4.11, per pair of hosts from 4.12.", "commit 8a5bd45f6616, Linux 4.10; net/core/secure_seq.c secure_tcp_ts_off, Linux 4.12"},
			{"From about 6.18.19 the offset is per port again, so a fresh port has an unrelated TSval, and half of all TSvals lie behind any remembered one.", "measured on Linux 6.18; unverified"},
		}, recycleFacts()...),
		Proof: []Proof{
			{plan.KindConnect, diagnose.Confirmed, "this host's own SYNs lie on no common clock"},
			{plan.KindQuadrants, diagnose.Confirmed, "the server drops by TSval, tested on held-out bursts"},
		},
		LookAlikes: []LookAlike{
			{diagnose.TWRecyclePAWSDropSNAT, "needs other hosts behind the address; here one is enough"},
			{diagnose.ForwardSYNLoss, "loss does not ask for the TSval"},
		},
		Remedies: append([]Remedy{{"client, Linux ≥ 4.10", "net.ipv4.tcp_timestamps=2 sends timestamps without a random offset: one clock again. It is a crutch until the server is mended."}}, recycleRemedies()...),
		Counters: recycleCounters(), Scenario: "random-ts-client",
	}
}

func timeWaitCollision() Entry {
	return Entry{
		Verdict: diagnose.TimeWaitCollision, Group: Timestamps, Title: "a NAT reuses a port that the server still holds in TIME_WAIT",
		Symptoms: []string{
			"Some connects take 15 ms or a second more, a few fail; a capture shows the SYN answered by a plain ACK, then an RST from the client.",
			"More often under load, from clients behind a SNAT with few ports.",
		},
		Mechanism: []Fact{
			{"A SYN that meets a TIME_WAIT socket of the same 4-tuple is taken as new only if its sequence number or TSval is newer; otherwise the old connection's last ACK is sent again.",
				"RFC 6191 §2; RFC 9293 §3.10.7.4; net/ipv4/tcp_minisocks.c tcp_timewait_state_process, Linux 6.18"},
			{"The client answers that ACK with an RST (RFC 9293 §3.10.7.3), which may end the TIME_WAIT, and repeats its SYN a second later.", "RFC 9293 §3.10.7.3; RFC 1337"},
			{"The server keeps TIME_WAIT for 60 s; a balancer that forgets closed flows sooner hands out their ports while the server still holds them.", "include/net/tcp.h TCP_TIMEWAIT_LEN, Linux 6.18"},
		},
		Proof: []Proof{{plan.KindSticky, diagnose.Confirmed, "SYNs from ports that we had not used draw bare ACKs with another connection's numbers"}},
		LookAlikes: []LookAlike{
			{diagnose.TWRecyclePAWSDrop, "is silent, and on every port"},
			{diagnose.IPVSPortReuseDrop, "is silent, loses exactly the first SYN of a reused port, and the balancer does it"},
		},
		Remedies: []Remedy{
			{"balancer or NAT", "more SNAT addresses or ports; keep closed flows at least 60 s (nf_conntrack_tcp_timeout_time_wait defaults to 120 s: do not lower it)."},
			{"F5 BIG-IP", "a larger SNAT pool; source-port preserve-strict off, so that ports are not reused at once."},
			{"Linux NAT", "nft masquerade fully-random, iptables --random-fully: ports are picked anew and not in turn."},
			{"clients", "keep-alive and pooled connections: fewer closes, fewer collisions."},
		},
		Counters: []Counter{
			{"server", "TcpExt TCPACKSkippedTimeWait, TCPTimeWaitOverflow", "the first: repeated bare ACKs held back by the 500 ms limit (net.ipv4.tcp_invalid_ratelimit); Linux ≥ 4.0, unverified"},
			{"server", "ss -tan state time-wait", "many of them to the NAT's address"},
			{"server", "TcpExt PAWSTimewait", "SYNs whose TSval was older than the TIME_WAIT's; recent kernels, present in 6.18"},
		},
		Scenario: "timewait-snat-reuse",
	}
}

func clientPAWSReject() Entry {
	return Entry{
		Verdict: diagnose.ClientPAWSReject, Group: Timestamps, Title: "this host's own kernel throws the SYN-ACK away",
		Symptoms: []string{
			"A capture on the client shows the SYN-ACK arriving, and yet the SYN is repeated or an RST is sent.",
			"Only some members, or some clients, are concerned.",
		},
		Mechanism: []Fact{
			{"In SYN-SENT a client discards a SYN-ACK whose TSecr lies outside of what its SYNs carried, counts PAWSActive and resets.", "net/ipv4/tcp_input.c tcp_rcv_synsent_state_process, Linux 6.18; RFC 7323 §3.2"},
			{"A device that mixes up whose echo is whose, or that translates TSvals one way only, makes such SYN-ACKs; a host firewall that drops them has the same face.", "RFC 7323 §3.2"},
		},
		Proof:      []Proof{{plan.KindConnect, diagnose.Proven, "the tap sees a SYN-ACK to our ISS+1, another SYN follows, and PAWSActive rises by as many"}},
		LookAlikes: []LookAlike{{diagnose.SYNACKLoss, "the SYN-ACK never reaches the tap"}, {diagnose.MiddleboxTSecrCorrupt, "the echo itself is seen to be foreign: that is named instead"}},
		Remedies: []Remedy{
			{"this host", "look at its packet filter's input chain and at conntrack's idea of the flow (invalid, out of window)."},
			{"balancer or firewall", "switch its timestamp rewriting off, or let it translate TSval and TSecr both."},
		},
		Counters: []Counter{
			{"client", "TcpExt PAWSActive", "+1 for each SYN-ACK thrown away by its echo"},
			{"server", "TcpExt TSEcrRejected", "the same check by a listener, on the handshake's last ACK; in 6.18, not in 6.12 (unverified)"},
		},
		Scenario: "client-paws",
	}
}

func ipvsPortReuseDrop() Entry {
	return Entry{
		Verdict: diagnose.IPVSPortReuseDrop, Group: Timestamps, Title: "IPVS drops the first SYN of a reused source port",
		Symptoms: []string{
			"Short connections from one busy client to a Kubernetes service or LVS VIP take exactly 1 s now and then; more often the more there are.",
			"Nothing is lost, everything succeeds at the second SYN.",
		},
		Mechanism: []Fact{
			{"With net.ipv4.vs.conntrack=1 and conn_reuse_mode set, a director that meets a SYN on a connection it still holds in TIME_WAIT must drop the old conntrack first: it drops the SYN with it, and the repeat finds the way free.",
				"net/netfilter/ipvs/ip_vs_core.c is_new_conn_expected, Linux 5.8; Documentation/networking/ipvs-sysctl.rst, Linux 5.8"},
			{"Since then the new connection is let in at once.", "commit f0a5e4d7a594, Linux 5.9"},
		},
		Proof: []Proof{{plan.KindReuse, diagnose.Confirmed, "of three uses of one flow exactly the second is lost, on every flow and in two bursts; fresh ports at the same moment are served"}},
		LookAlikes: []LookAlike{
			{diagnose.ForwardSYNLoss, "hits fresh ports as well"},
			{diagnose.SNATPortRace, "hits connects of one instant, and needs no reuse"},
			{diagnose.TimeWaitCollision, "answers with a bare ACK"},
		},
		Remedies: []Remedy{
			{"IPVS director", "Linux 5.9, or a stable kernel that took the fix (5.7.x did). Before: net.ipv4.vs.conntrack=0, or conn_reuse_mode=0, which sends reused ports to the old real server even when it has left."},
			{"Kubernetes", "kube-proxy in ipvs mode on such a kernel: upgrade the nodes' kernel, or use another mode."},
			{"clients", "connection pools, more source addresses, a wider ip_local_port_range."},
		},
		Counters: []Counter{
			{"director", "ipvsadm -lnc | grep TIME_WAIT", "the flow is listed while its SYN is dropped"},
			{"client", "TcpExt TCPSynRetrans", "one per stalled connect (it counts SYN-ACKs as well)"},
		},
		Scenario: "port-reuse",
	}
}
