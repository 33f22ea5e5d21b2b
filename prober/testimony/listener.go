package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

func listeners() []Counter {
	return []Counter{
		{Name: "TcpExt.ListenDrops", Topic: Listeners, Scope: Namespace,
			Claims: fits(d.AcceptQueueOverflow, d.SYNQueueFullDrop, d.TWRecyclePAWSDrop, d.TWRecyclePAWSDropSNAT, d.TSClockDomainConflict,
				d.ClientRandomTSVsRecycle, d.RemoteARPUnresolved, d.RemoteARPQueueOverflow),
			Means: "SYNs and last ACKs dropped at a listener, for any of the reasons below",
			Also:  "no route back; no memory; an ICMP error for a half-open connection, unresolved ARP among them; 2.6.32 leaves out what is dropped by timestamp",
			Source: "net/ipv4/tcp_input.c tcp_conn_request, Linux 6.18; net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock, Linux 6.18; " +
				"net/ipv4/tcp_ipv4.c tcp_req_err, Linux 6.18; measured on Linux 2.6.32"},
		{Name: "TcpExt.EmbryonicRsts", Topic: Listeners, Scope: Namespace, Claims: fits(d.AbortOnOverflow),
			Means:  "half-open connections ended by an RST, ours or the peer's",
			Also:   "probes and scanners that reset what a listener answers",
			Source: "net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18"},
		{Name: "TcpExt.TCPDeferAcceptDrop", Topic: Listeners, Scope: Namespace, Since: Kernel{2, 6, 34}, Claims: names(d.DeferAcceptBenign),
			Means:  "bare last ACKs ignored until data comes (TCP_DEFER_ACCEPT): harmless",
			Source: "net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18"},
		{Name: "TcpExt.TCPFastOpenListenOverflow", Topic: Listeners, Scope: Namespace, Since: Kernel{3, 7}, Claims: nil,
			Means:  "fast-open SYNs over the listener's limit, served without fast open",
			Source: "net/ipv4/tcp_fastopen.c tcp_fastopen_queue_check, Linux 6.18"},
	}
}

func acceptQueue() []Counter {
	return []Counter{
		{Name: "TcpExt.ListenOverflows", Topic: AcceptQueue, Scope: Namespace, Claims: names(d.AcceptQueueOverflow, d.AbortOnOverflow),
			Means:  "SYNs and last ACKs dropped because the accept queue is full",
			Also:   "2.6.32 counts last ACKs only, not SYNs (unverified)",
			Source: "net/ipv4/tcp_input.c tcp_conn_request, Linux 6.18; net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock, Linux 6.18"},
	}
}

func synQueue() []Counter {
	return []Counter{
		{Name: "TcpExt.TCPReqQFullDrop", Topic: SYNQueue, Scope: Namespace, Since: Kernel{3, 2}, Claims: names(d.SYNQueueFullDrop),
			Means:  "SYNs dropped because the SYN queue is full and SYN cookies are off",
			Source: "net/ipv4/tcp_input.c tcp_syn_flood_action, Linux 6.18"},
		{Name: "TcpExt.TCPReqQFullDoCookies", Topic: SYNQueue, Scope: Namespace, Since: Kernel{3, 2}, Claims: names(d.SYNCookiesActive),
			Means:  "SYNs answered by a cookie because the SYN queue is full, or tcp_syncookies is 2",
			Source: "net/ipv4/tcp_input.c tcp_syn_flood_action, Linux 6.18"},
		{Name: "TcpExt.SyncookiesSent", Topic: SYNQueue, Scope: Namespace, Claims: names(d.SYNCookiesActive),
			Means:  "SYN-ACKs that carry a cookie: never repeated, and without the check of timestamps",
			Source: "net/ipv4/syncookies.c cookie_v4_init_sequence, Linux 6.18; net/ipv4/tcp_ipv4.c tcp_v4_conn_request, Linux 3.10"},
		{Name: "TcpExt.SyncookiesRecv", Topic: SYNQueue, Scope: Namespace, Claims: fits(d.SYNCookiesActive),
			Means:  "connections opened by a good cookie",
			Source: "net/ipv4/syncookies.c cookie_v4_check, Linux 6.18"},
		{Name: "TcpExt.SyncookiesFailed", Topic: SYNQueue, Scope: Namespace, Claims: aside(d.SYNCookiesActive),
			Means:  "ACKs to a listener that fit neither a half-open connection nor a cookie",
			Also:   "last ACKs of connections that a full accept queue made the server forget; scanners",
			Source: "net/ipv4/syncookies.c cookie_v4_check, Linux 6.18"},
	}
}
