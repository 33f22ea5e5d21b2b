package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

func timestamps() []Counter {
	recycle := []d.Verdict{d.TWRecyclePAWSDrop, d.TWRecyclePAWSDropSNAT, d.TSClockDomainConflict, d.ClientRandomTSVsRecycle}
	return []Counter{
		{Name: "TcpExt.PAWSPassive", Topic: Timestamps, Scope: Namespace, Until: Kernel{4, 11}, Claims: names(recycle...),
			Means:  "SYNs dropped because tcp_tw_recycle remembers a newer timestamp of their address",
			Source: "net/ipv4/tcp_ipv4.c tcp_v4_conn_request, Linux 3.10; commit 4396e46187ca, Linux 4.12"},
		{Name: "TcpExt.TWKilled", Topic: Timestamps, Scope: Namespace, Claims: aside(recycle...),
			Means:  "TIME_WAITs let go within seconds: up to 4.11 tcp_tw_recycle is on and remembers timestamps",
			Also:   "since 4.12, and with a tcp_fin_timeout of 4 s or less, ordinary TIME_WAITs",
			Source: "net/ipv4/inet_timewait_sock.c inet_twdr_twcal_tick, Linux 3.10; net/ipv4/inet_timewait_sock.c __inet_twsk_schedule, Linux 6.18"},
	}
}

func timeWait() []Counter {
	return []Counter{
		{Name: "TcpExt.PAWSTimewait", Topic: TimeWait, Scope: Namespace, Since: Kernel{6, 16}, Claims: fits(d.TimeWaitCollision, d.ClientRandomTSVsRecycle),
			Means:  "segments to a TIME_WAIT with an older timestamp than its last: a SYN is answered with a bare ACK",
			Also:   "old duplicates of the closed connection",
			Source: "commit c449d5f3a3d7, Linux 6.16; net/ipv4/tcp_minisocks.c tcp_timewait_state_process, Linux 6.18"},
		{Name: "TcpExt.TCPACKSkippedTimeWait", Topic: TimeWait, Scope: Namespace, Since: Kernel{4, 0}, Claims: fits(d.TimeWaitCollision),
			Means:  "bare ACKs to segments in TIME_WAIT held back by tcp_invalid_ratelimit (500 ms): repeated SYNs that stay silent",
			Also:   "old duplicates of the closed connection",
			Source: "net/ipv4/tcp_minisocks.c tcp_timewait_check_oow_rate_limit, Linux 6.18"},
		{Name: "TcpExt.TCPSYNChallenge", Topic: TimeWait, Scope: Namespace, Since: Kernel{3, 6}, Claims: fits(d.SNATPortRace, d.IPVSPortReuseDrop),
			Means:  "SYNs on a connection that lives, answered with a challenge ACK: two flows share a port, or the peer lost its half",
			Also:   "a peer that crashed and comes back; blind attacks (RFC 5961)",
			Source: "net/ipv4/tcp_input.c tcp_validate_incoming, Linux 6.18; RFC 5961 §4.2"},
		{Name: "TcpExt.TCPTimeWaitOverflow", Topic: TimeWait, Scope: Namespace, Since: Kernel{2, 6, 37}, Claims: aside(d.TimeWaitCollision),
			Means:  "TIME_WAITs not kept, tcp_max_tw_buckets reached",
			Source: "net/ipv4/tcp_minisocks.c tcp_time_wait, Linux 6.18"},
		{Name: "TcpExt.TWRecycled", Topic: TimeWait, Scope: Namespace, Claims: aside(d.ClientPAWSReject),
			Means:  "TIME_WAITs given up so that a connect could reuse their port (tcp_tw_reuse)",
			Source: "net/ipv4/inet_hashtables.c __inet_check_established, Linux 6.18"},
		{Name: "TcpExt.TW", Topic: TimeWait, Scope: Namespace, Claims: nil,
			Means:  "TIME_WAITs of ordinary length: sockets that closed first (older kernels count them at their end)",
			Source: "net/ipv4/inet_timewait_sock.c __inet_twsk_schedule, Linux 6.18; net/ipv4/inet_timewait_sock.c inet_twdr_do_twkill_work, Linux 3.10"},
	}
}

func echoes() []Counter {
	return []Counter{
		{Name: "TcpExt.PAWSActive", Topic: Echoes, Scope: Namespace, Claims: fits(d.ClientPAWSReject, d.MiddleboxTSecrCorrupt),
			Means:  "SYN-ACKs to this host thrown away, and reset, because they echo a timestamp that was not sent",
			Also:   "a SYN-ACK of an earlier connection that comes late",
			Source: "net/ipv4/tcp_input.c tcp_rcv_synsent_state_process, Linux 6.18"},
		{Name: "TcpExt.TSEcrRejected", Topic: Echoes, Scope: Namespace, Since: Kernel{6, 15}, Claims: fits(d.MiddleboxTSecrCorrupt),
			Means:  "last ACKs of a handshake thrown away because they echo a timestamp that was not sent",
			Also:   "stray segments of another connection on the port",
			Source: "net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18"},
		{Name: "TcpExt.PAWSEstab", Topic: Echoes, Scope: Namespace, Claims: fits(d.TimeWaitCollision, d.PathReordering),
			Means:  "segments of known connections dropped for an older timestamp (up to 6.15 those to a TIME_WAIT too)",
			Also:   "late duplicates; a NAT that gives two hosts one port",
			Source: "net/ipv4/tcp_input.c tcp_validate_incoming, Linux 6.18; net/ipv4/tcp_minisocks.c tcp_timewait_state_process, Linux 3.10"},
		{Name: "TcpExt.PAWSOldAck", Topic: Echoes, Scope: Namespace, Since: Kernel{6, 14}, Claims: aside(d.PathReordering),
			Means:  "pure ACKs that came late, after newer ones: reordering towards this host",
			Source: "net/ipv4/tcp_input.c tcp_validate_incoming, Linux 6.18"},
		{Name: "TcpExt.TCPACKSkippedPAWS", Topic: Echoes, Scope: Namespace, Since: Kernel{4, 0}, Claims: aside(d.TimeWaitCollision),
			Means:  "answers to segments with an older timestamp held back by tcp_invalid_ratelimit",
			Source: "net/ipv4/tcp_input.c tcp_validate_incoming, Linux 6.18"},
		{Name: "TcpExt.TCPACKSkippedSynRecv", Topic: Echoes, Scope: Namespace, Since: Kernel{4, 0}, Claims: aside(d.SYNACKLoss),
			Means:  "answers to segments for half-open connections held back by tcp_invalid_ratelimit: the SYN comes again and again",
			Source: "net/ipv4/tcp_minisocks.c tcp_check_req, Linux 6.18"},
		{Name: "TcpExt.TCPChallengeACK", Topic: Echoes, Scope: Namespace, Since: Kernel{3, 6}, Claims: aside(d.SNATPortRace),
			Means:  "challenge ACKs sent for an RST, a SYN or an ACK with numbers that do not fit",
			Also:   "blind attacks (RFC 5961)",
			Source: "net/ipv4/tcp_input.c tcp_send_challenge_ack, Linux 6.18; RFC 5961 §3.2"},
	}
}
