package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

func loss() []Counter {
	return []Counter{
		{Name: "Tcp.RetransSegs", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.PathReordering, d.ForwardSYNLoss, d.SYNACKLoss, d.MTUBlackhole, d.SpuriousRetransTLP),
			Means:  "segments sent again, all reasons together",
			Source: "net/ipv4/tcp_output.c __tcp_retransmit_skb, Linux 6.18; net/ipv4/tcp_output.c tcp_rtx_synack, Linux 6.18"},
		{Name: "TcpExt.TCPSynRetrans", Topic: Loss, Scope: Namespace, Since: Kernel{3, 15}, Claims: fits(d.ForwardSYNLoss, d.SYNACKLoss, d.AcceptQueueOverflow, d.RemoteARPQueueOverflow, d.IPVSPortReuseDrop),
			Means:  "of these SYNs, and SYN-ACKs: a handshake waited for a repeat",
			Source: "net/ipv4/tcp_output.c __tcp_retransmit_skb, Linux 6.18; net/ipv4/tcp_output.c tcp_rtx_synack, Linux 6.18"},
		{Name: "TcpExt.TCPTimeouts", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.MTUBlackhole, d.BlackholeBackend, d.ForwardSYNLoss),
			Means:  "retransmission timers that ran out, those of SYNs among them",
			Source: "net/ipv4/tcp_timer.c tcp_retransmit_timer, Linux 6.18"},
		{Name: "TcpExt.TCPFastRetrans", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.PathReordering),
			Means:  "segments sent again in fast recovery: later ones had been acknowledged",
			Source: "net/ipv4/tcp_output.c tcp_xmit_retransmit_queue, Linux 6.18"},
		{Name: "TcpExt.TCPSlowStartRetrans", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss),
			Means:  "segments sent again after a timeout, the first of each timeout not counted",
			Source: "net/ipv4/tcp_output.c tcp_xmit_retransmit_queue, Linux 6.18"},
		{Name: "TcpExt.TCPSackRecovery", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.PathReordering),
			Means:  "times a connection entered fast recovery by SACK",
			Source: "net/ipv4/tcp_input.c tcp_enter_recovery, Linux 6.18"},
		{Name: "TcpExt.TCPRenoRecovery", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.PathReordering),
			Means:  "times a connection without SACK entered fast recovery",
			Source: "net/ipv4/tcp_input.c tcp_enter_recovery, Linux 6.18"},
		{Name: "TcpExt.TCPLostRetransmit", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss),
			Means:  "segments lost again when repeated",
			Source: "net/ipv4/tcp_input.c tcp_mark_skb_lost, Linux 6.18"},
		{Name: "TcpExt.TCPLossProbes", Topic: Loss, Scope: Namespace, Since: Kernel{3, 10}, Claims: aside(d.SpuriousRetransTLP, d.PathLoss),
			Means:  "tail loss probes: the last segment of a flight sent early, or new data; no alarm by itself",
			Source: "net/ipv4/tcp_output.c tcp_send_loss_probe, Linux 6.18; RFC 8985 §7"},
		{Name: "TcpExt.TCPLossProbeRecovery", Topic: Loss, Scope: Namespace, Since: Kernel{3, 10}, Claims: fits(d.PathLoss),
			Means:  "tail loss probes that did repair a loss",
			Source: "net/ipv4/tcp_input.c tcp_process_tlp_ack, Linux 6.18"},
		{Name: "TcpExt.TCPAbortOnTimeout", Topic: Loss, Scope: Namespace, Claims: fits(d.PathLoss, d.MTUBlackhole, d.BlackholeBackend),
			Means:  "connections given up, the peer silent through all repeats or keepalives",
			Source: "net/ipv4/tcp_timer.c tcp_write_err, Linux 6.18"},
		{Name: "TcpExt.TcpTimeoutRehash", Topic: Loss, Scope: Namespace, Since: Kernel{5, 6}, Claims: aside(d.ECMPPathLoss),
			Means:  "flow labels and path hashes drawn anew after a timeout",
			Source: "net/ipv4/tcp_timer.c tcp_write_timeout, Linux 6.18"},
	}
}

func spurious() []Counter {
	dsack := fits(d.SpuriousRetransTLP, d.PathReordering, d.SlowPathNotStall)
	return []Counter{
		{Name: "TcpExt.TCPDSACKRecv", Topic: Spurious, Scope: Namespace, Claims: dsack,
			Means:  "DSACKs received: the peer had the segment already, so it was sent again without need",
			Also:   "packets copied by the network; ACKs lost on their way back",
			Source: "net/ipv4/tcp_input.c tcp_check_dsack, Linux 6.18; RFC 2883 §4"},
		{Name: "TcpExt.TCPDSACKOfoRecv", Topic: Spurious, Scope: Namespace, Claims: dsack,
			Means:  "such DSACKs for segments beyond a hole",
			Source: "net/ipv4/tcp_input.c tcp_check_dsack, Linux 6.18; RFC 2883 §4"},
		{Name: "TcpExt.TCPDSACKUndo", Topic: Spurious, Scope: Namespace, Claims: fits(d.PathReordering, d.SpuriousRetransTLP),
			Means:  "slow-downs taken back, all repeats had been needless by DSACK",
			Source: "net/ipv4/tcp_input.c tcp_try_undo_dsack, Linux 6.18"},
		{Name: "TcpExt.TCPFullUndo", Topic: Spurious, Scope: Namespace, Claims: fits(d.PathReordering),
			Means:  "fast recoveries taken back, the timestamps show that nothing was lost",
			Source: "net/ipv4/tcp_input.c tcp_try_undo_recovery, Linux 6.18; RFC 3522"},
		{Name: "TcpExt.TCPPartialUndo", Topic: Spurious, Scope: Namespace, Claims: fits(d.PathReordering),
			Means:  "fast recoveries that a late original cut short",
			Source: "net/ipv4/tcp_input.c tcp_try_undo_partial, Linux 6.18"},
		{Name: "TcpExt.TCPLossUndo", Topic: Spurious, Scope: Namespace, Claims: fits(d.SlowPathNotStall, d.PathReordering),
			Means:  "timeouts taken back, the original had only been late",
			Source: "net/ipv4/tcp_input.c tcp_try_undo_loss, Linux 6.18"},
		{Name: "TcpExt.TCPSpuriousRTOs", Topic: Spurious, Scope: Namespace, Claims: fits(d.SlowPathNotStall),
			Means:  "timeouts found needless by F-RTO: the path paused, and lost nothing",
			Source: "net/ipv4/tcp_input.c tcp_try_undo_loss, Linux 6.18; RFC 5682 §2"},
	}
}

func reordering() []Counter {
	return []Counter{
		{Name: "TcpExt.TCPSACKReorder", Topic: Reordering, Scope: Namespace, Claims: names(d.PathReordering),
			Means:  "times SACK showed that segments of ours arrived out of order",
			Source: "net/ipv4/tcp_input.c tcp_check_sack_reordering, Linux 6.18"},
		{Name: "TcpExt.TCPTSReorder", Topic: Reordering, Scope: Namespace, Claims: names(d.PathReordering),
			Means:  "times a timestamp showed it, after a needless repeat",
			Source: "net/ipv4/tcp_input.c tcp_check_sack_reordering, Linux 6.18"},
		{Name: "TcpExt.TCPRenoReorder", Topic: Reordering, Scope: Namespace, Claims: fits(d.PathReordering),
			Means:  "times duplicate ACKs of a peer without SACK showed it",
			Source: "net/ipv4/tcp_input.c tcp_check_reno_reordering, Linux 6.18"},
		{Name: "TcpExt.TCPFACKReorder", Topic: Reordering, Scope: Namespace, Until: Kernel{4, 14}, Claims: names(d.PathReordering),
			Means:  "times forward acknowledgement showed it",
			Source: "net/ipv4/tcp_input.c tcp_update_reordering, Linux 3.10"},
		{Name: "TcpExt.TCPOFOQueue", Topic: Reordering, Scope: Namespace, Since: Kernel{3, 5}, Claims: fits(d.PathReordering, d.PathLoss),
			Means:  "segments received ahead of a hole: reordered on their way here, or the one before was lost",
			Source: "net/ipv4/tcp_input.c tcp_data_queue_ofo, Linux 6.18"},
		{Name: "TcpExt.TCPDSACKOldSent", Topic: Reordering, Scope: Namespace, Claims: fits(d.PathReordering, d.SYNACKLoss),
			Means:  "duplicates received of what was acknowledged: the peer repeats without need, or our ACKs are lost",
			Source: "net/ipv4/tcp_input.c tcp_dsack_set, Linux 6.18"},
		{Name: "TcpExt.TCPDSACKOfoSent", Topic: Reordering, Scope: Namespace, Claims: fits(d.PathReordering),
			Means:  "duplicates received of what waits beyond a hole",
			Source: "net/ipv4/tcp_input.c tcp_dsack_set, Linux 6.18"},
	}
}

func sizes() []Counter {
	return []Counter{
		{Name: "TcpExt.TCPMTUPFail", Topic: Sizes, Scope: Namespace, Since: Kernel{4, 2}, Claims: fits(d.MTUBlackhole),
			Means:  "MTU probes that were lost (tcp_mtu_probing)",
			Source: "net/ipv4/tcp_input.c tcp_mtup_probe_failed, Linux 6.18"},
		{Name: "Ip.FragFails", Topic: Sizes, Scope: Namespace, Claims: fits(d.MTUBlackhole),
			Means:  "packets too big for the next link and not to be fragmented",
			Source: "net/ipv4/ip_output.c ip_fragment, Linux 6.18"},
		{Name: "Ip6.InTooBigErrors", Topic: Sizes, Scope: Namespace, Claims: fits(d.MTUBlackhole),
			Means:  "packets to be forwarded that were too big for the next link",
			Source: "net/ipv6/ip6_output.c ip6_forward, Linux 6.18"},
		{Name: "Icmp6.InPktTooBigs", Topic: Sizes, Scope: Namespace, Claims: aside(d.MTUBlackhole),
			Means:  "ICMPv6 Packet Too Big received: path MTU discovery at work",
			Source: "net/ipv6/proc.c snmp6_icmp6_list, Linux 6.18; RFC 4443 §3.2"},
		{Name: "Ip.ReasmFails", Topic: Sizes, Scope: Namespace, Claims: aside(d.MTUBlackhole),
			Means:  "fragments that could not be put together",
			Source: "net/ipv4/ip_fragment.c ip_expire, Linux 6.18"},
	}
}
