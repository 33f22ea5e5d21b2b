package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

func backlogRemedies() []Remedy {
	return []Remedy{
		{"application", "let it accept: it is stuck, out of file descriptors or threads, or pauses longer than its backlog lasts (ss -ltn: Recv-Q at Send-Q)."},
		{"server", "raise the application's listen backlog and net.core.somaxconn together, then restart it: the smaller of the two holds (somaxconn is 128 by default up to 5.3, 4,096 from 5.4)."},
		{"nginx", "listen … backlog=N (511 on Linux unless told otherwise), reuseport for a queue per worker."},
		{"HAProxy", "backlog N on the frontend; its maxconn also stops it from accepting: the rest waits in the kernel's queue."},
		{"Envoy", "tcp_backlog_size of the listener (somaxconn on Linux unless told otherwise)."},
	}
}

func backlogCounters() []Counter {
	return []Counter{
		{"server", "TcpExt ListenOverflows", "+1 for each SYN or last ACK dropped because the accept queue is full"},
		{"server", "TcpExt ListenDrops", "rises with it, and for other reasons too"},
		{"server", "ss -ltn", "Recv-Q above Send-Q on the listener: the queue is full now"},
	}
}

func acceptQueueOverflow() Entry {
	return Entry{
		Verdict: diagnose.AcceptQueueOverflow, Group: Listener, Title: "the listener's accept queue is full",
		Symptoms: []string{
			"Connects to one port time out or stall while other ports of the machine are fine; a restart of the service helps for a while.",
			"Clients believe to be connected and get no answer; the server sees no connection.",
			"Under load, in bursts, or for ever when the process is stuck.",
		},
		Mechanism: []Fact{
			{"Completed handshakes wait for accept(2) in a queue of min(backlog, somaxconn)+1. When it is full a new SYN is dropped.", "net/ipv4/tcp_input.c tcp_conn_request, Linux 6.18; measured on Linux 6.18"},
			{"A handshake's last ACK that finds it full is dropped as well, and the listener goes on repeating its SYN-ACK at 1, 3, 7 s, while the client is already connected.",
				"net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock, Linux 6.18; net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18; measured on Linux 6.18"},
			{"So is an ACK that brings a SYN cookie back, though its number is right; any other ACK draws an RST.", "net/ipv4/syncookies.c cookie_v4_check, Linux 6.18; net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock, Linux 6.18; measured on Linux 6.18"},
			{"Older kernels let a few more SYNs in while the queue is full.", "net/ipv4/tcp_ipv4.c tcp_v4_conn_request, Linux 3.10"},
		},
		Proof: []Proof{
			{plan.KindServed, diagnose.Confirmed, "handshakes that we complete are ignored: the SYN-ACK is repeated although it was acknowledged, and data is not acknowledged"},
			{plan.KindStray, diagnose.Confirmed, "the first connections were accepted and every SYN since is silent, while the listener's own stack answers bare ACKs with RST from as many hops away"},
			{plan.KindStray, diagnose.Confirmed, "the ACK that ended a handshake of ours, sent again, is swallowed, and with another number it draws an RST: a SYN cookie comes back to a listener that has no place for it"},
		},
		LookAlikes: []LookAlike{
			{diagnose.SYNQueueFullDrop, "half-open connections fill another queue; seen apart only by the server's counters"},
			{diagnose.ACLDrop, "a filter never let the first ones in, and eats bare ACKs too"},
			{diagnose.SYNRateLimited, "SYNs pass again at a steady rate"},
			{diagnose.RemoteARPQueueOverflow, "the last ones succeed, not the first"},
			{diagnose.LocalARPQueueOverflow, "likewise, and the SYNs of the rest never leave"},
			{diagnose.DeferAcceptBenign, "data wakes it"},
			{diagnose.LBFullProxyMasks, "the SYN-ACK is not repeated"},
		},
		Remedies: backlogRemedies(), Counters: backlogCounters(), Scenario: "accept-full-3rd-ack",
	}
}

func abortOnOverflow() Entry {
	return Entry{
		Verdict: diagnose.AbortOnOverflow, Group: Listener, Title: "the accept queue is full, and the server resets instead of waiting",
		Symptoms: []string{"\"Connection reset by peer\" right after connect, now and then, under load; the application's log has nothing."},
		Mechanism: []Fact{{"With net.ipv4.tcp_abort_on_overflow=1 a last ACK that finds the accept queue full is answered with an RST; it carries no ACK, since it answers a segment of no connection.",
			"net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18; RFC 9293 §3.10.7.1"}},
		Proof:      []Proof{{plan.KindServed, diagnose.Confirmed, "RSTs without ACK flag within a second of our ACK; an application's own RST carries ACK"}},
		LookAlikes: []LookAlike{{diagnose.PortClosed, "resets the SYN, not the ACK"}, {diagnose.AcceptQueueOverflow, "is silent: the same queue without the sysctl"}},
		Remedies:   append([]Remedy{{"server", "net.ipv4.tcp_abort_on_overflow=0 lets short peaks pass unseen; the queue is the fault, though."}}, backlogRemedies()...),
		Counters:   append([]Counter{{"server", "TcpExt EmbryonicRsts", "RSTs in SYN_RECV, these among them"}}, backlogCounters()...),
		Scenario:   "abort-on-overflow",
	}
}

func portClosed() Entry {
	return Entry{
		Verdict: diagnose.PortClosed, Group: Listener, Title: "nobody listens there, or a member of the pool refuses",
		Symptoms:  []string{"\"Connection refused\" at once; always, or for a share of the connects to a VIP."},
		Mechanism: []Fact{{"A host without a listener answers a SYN with RST and ACK of ISS+1; filters that reject do the same.", "RFC 9293 §3.10.7.1"}},
		Proof:     []Proof{{plan.KindConnect, diagnose.Confirmed, "an RST that acknowledges our ISS+1 answers the SYN"}},
		LookAlikes: []LookAlike{
			{diagnose.VIPPoolEmpty, "everybody is refused for a while, then everybody served"},
			{diagnose.AbortOnOverflow, "the RST comes after our ACK"},
			{diagnose.ACLDrop, "is silent, or answers with ICMP"},
		},
		Remedies: []Remedy{
			{"server", "start the service; check the address that it binds to (127.0.0.1 only? IPv6 only?)."},
			{"balancer", "take the member that refuses out; let the health check test the service port itself."},
			{"F5 BIG-IP", "a virtual server without an available member resets: look at the pool's status first."},
		},
		Counters: []Counter{
			{"server", "Tcp OutRsts", "+1 for each refusal"},
			{"server", "ss -ltn", "whether anybody listens"},
		},
		Scenario: "refuse-1of3",
	}
}

func synQueueFullDrop() Entry {
	return Entry{
		Verdict: diagnose.SYNQueueFullDrop, Group: Listener, Title: "the queue of half-open connections is full, and SYN cookies are off",
		Symptoms: []string{"New connections to one server fail under a SYN flood, or behind a path that loses SYN-ACKs; established ones go on.", "\"Possible SYN flooding on port … Dropping request\" in the server's log."},
		Mechanism: []Fact{
			{"With tcp_syncookies=0 a SYN is dropped once the request queue is full, and, from three quarters of tcp_max_syn_backlog on, when its source is not known to be alive.",
				"net/ipv4/tcp_input.c tcp_conn_request, Linux 6.18; RFC 4987 §2"},
		},
		Proof: []Proof{{plan.KindConnect, diagnose.NotApplicable, "not separated from a full accept queue or a filter from outside: the server's counters decide (TCPReqQFullDrop against ListenOverflows)"}},
		LookAlikes: []LookAlike{
			{diagnose.AcceptQueueOverflow, "ListenOverflows rises, not TCPReqQFullDrop"},
			{diagnose.SYNRateLimited, "passes a steady rate; the filter's own counter rises"},
			{diagnose.ForwardSYNLoss, "other ports lose as much"},
		},
		Remedies: []Remedy{
			{"server", "net.ipv4.tcp_syncookies=1 (the default of most distributions); raise net.ipv4.tcp_max_syn_backlog and somaxconn; then find who floods."},
			{"F5 BIG-IP", "SYN cookie protection on the virtual server."},
			{"Linux balancer", "nft synproxy or iptables SYNPROXY before the server."},
		},
		Counters: []Counter{
			{"server", "TcpExt TCPReqQFullDrop", "+1 for each SYN dropped so"},
			{"server", "TcpExt ListenDrops", "rises with it"},
			{"server", "ss -tan state syn-recv | wc -l", "how many half-open connections there are"},
		},
		Scenario: "told-synq-full",
	}
}

func synCookiesActive() Entry {
	return Entry{
		Verdict: diagnose.SYNCookiesActive, Group: Listener, Benign: true, Title: "the server answers with SYN cookies",
		Symptoms: []string{"None by itself. A lost last ACK then leaves a client connected to nobody, since no SYN-ACK is repeated.", "\"Possible SYN flooding … Sending cookies\" in the server's log."},
		Mechanism: []Fact{
			{"A listener under cookies keeps no state: the SYN-ACK's number encodes what it needs, and it is sent once and never repeated.", "RFC 4987 §3.6; net/ipv4/syncookies.c cookie_v4_check, Linux 6.18; measured on Linux 6.18"},
			{"Per-host PAWS is not asked while cookies are in force, so an overloaded server with tcp_tw_recycle looks healthy.", "net/ipv4/tcp_ipv4.c tcp_v4_conn_request, Linux 3.10"},
		},
		Proof: []Proof{{plan.KindReuse, diagnose.Confirmed, "the SYN-ACKs of one flow keep the last six bits of their TSval while the clock moves on: cookies keep the client's options there"},
			{plan.KindStateful, diagnose.Suspected, "SYN-ACKs that are left unanswered are not repeated within 1.5 s: cookies or a SYN proxy; which of them is not told from outside"}},
		LookAlikes: []LookAlike{
			{diagnose.LBFullProxyMasks, "a SYN proxy never repeats either, and may stand before dead servers"},
			{diagnose.SYNACKLoss, "some repeats come through"},
		},
		Remedies: []Remedy{
			{"server", "none needed; if it happens in ordinary load, raise tcp_max_syn_backlog, the backlog and somaxconn. tcp_syncookies=2 forces them always and is for tests."},
		},
		Counters: []Counter{
			{"server", "TcpExt SyncookiesSent, SyncookiesRecv, SyncookiesFailed", "sent, and completed or refused ACKs"},
			{"server", "TcpExt TCPReqQFullDoCookies", "+1 for each SYN that found the queue full"},
		},
		Scenario: "syncookies",
	}
}

func deferAcceptBenign() Entry {
	return Entry{
		Verdict: diagnose.DeferAcceptBenign, Group: Listener, Benign: true, Title: "the listener waits for data before it wakes (TCP_DEFER_ACCEPT)",
		Symptoms: []string{"A monitor that connects and says nothing is told so late or never; the SYN-ACK is seen again seconds later; clients that speak first see nothing."},
		Mechanism: []Fact{{"With TCP_DEFER_ACCEPT the bare ACK of a handshake is dropped until data comes or the time is over; then the SYN-ACK is repeated once to ask for it.",
			"net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18; measured on Linux 6.18"}},
		Proof:      []Proof{{plan.KindIdle, diagnose.Confirmed, "a silent connection draws one SYN-ACK more after seconds, and its data are acknowledged at once; a full queue repeats from the first second on and ignores data (diagnose --backlog)"}},
		LookAlikes: []LookAlike{{diagnose.AcceptQueueOverflow, "data does not help, and the SYN-ACK comes again at 1 s"}},
		Remedies: []Remedy{
			{"monitor", "let the check send a request, or only complete the handshake and close."},
			{"nginx", "listen … deferred sets it; Apache's AcceptFilter and HAProxy's defer-accept as well."},
		},
		Counters: []Counter{{"server", "TcpExt TCPDeferAcceptDrop", "+1 for each bare ACK dropped so: harmless"}},
		Scenario: "defer-accept",
	}
}
