package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

func receiver() []Counter {
	return []Counter{
		{Name: "TcpExt.TCPBacklogDrop", Topic: Receiver, Scope: Namespace, Since: Kernel{2, 6, 34}, Claims: fits(d.ProberLocalDrop),
			Means:  "segments dropped because a socket in use had too many waiting",
			Source: "net/ipv4/tcp_ipv4.c tcp_add_backlog, Linux 6.18"},
		{Name: "TcpExt.TCPRcvQDrop", Topic: Receiver, Scope: Namespace, Since: Kernel{5, 0}, Claims: fits(d.ProberLocalDrop),
			Means:  "segments dropped because the receive queue was full",
			Source: "net/ipv4/tcp_input.c tcp_data_queue, Linux 6.18"},
		{Name: "TcpExt.TCPZeroWindowDrop", Topic: Receiver, Scope: Namespace, Since: Kernel{5, 0}, Claims: nil,
			Means:  "segments dropped because the window was closed: the program here does not read",
			Source: "net/ipv4/tcp_input.c tcp_data_queue, Linux 6.18"},
		{Name: "TcpExt.TCPOFODrop", Topic: Receiver, Scope: Namespace, Since: Kernel{3, 5}, Claims: fits(d.ProberLocalDrop),
			Means:  "segments beyond a hole dropped for want of room",
			Source: "net/ipv4/tcp_input.c tcp_data_queue_ofo, Linux 6.18"},
		{Name: "TcpExt.RcvPruned", Topic: Receiver, Scope: Namespace, Claims: fits(d.ProberLocalDrop),
			Means:  "times data had to be refused, the receive buffer over its limit",
			Source: "net/ipv4/tcp_input.c tcp_prune_queue, Linux 6.18"},
		{Name: "TcpExt.PruneCalled", Topic: Receiver, Scope: Namespace, Claims: aside(d.ProberLocalDrop),
			Means:  "times a receive buffer over its limit was tidied",
			Source: "net/ipv4/tcp_input.c tcp_prune_queue, Linux 6.18"},
		{Name: "TcpExt.OfoPruned", Topic: Receiver, Scope: Namespace, Claims: aside(d.ProberLocalDrop),
			Means:  "times segments beyond a hole were thrown out again",
			Source: "net/ipv4/tcp_input.c tcp_prune_ofo_queue, Linux 6.18"},
		{Name: "TcpExt.TCPAbortOnMemory", Topic: Receiver, Scope: Namespace, Claims: nil,
			Means:  "connections reset for want of memory (tcp_mem, tcp_max_orphans)",
			Source: "net/ipv4/tcp_timer.c tcp_out_of_resources, Linux 6.18"},
		{Name: "TcpExt.TCPMemoryPressures", Topic: Receiver, Scope: Machine, Claims: nil,
			Means:  "times TCP's memory went over tcp_mem's middle value",
			Source: "net/ipv4/tcp.c tcp_enter_memory_pressure, Linux 6.18"},
		{Name: "TcpExt.PFMemallocDrop", Topic: Receiver, Scope: Namespace, Since: Kernel{4, 19}, Claims: fits(d.ProberLocalDrop),
			Means:  "packets dropped because they stood in the memory reserve",
			Source: "net/core/filter.c sk_filter_trim_cap, Linux 6.18"},
	}
}

func local() []Counter {
	return []Counter{
		{Name: "softnet.dropped", Topic: Local, Scope: Machine, Claims: fits(d.ProberLocalDrop, d.ForwardSYNLoss, d.SYNACKLoss, d.PathLoss),
			Means:  "packets dropped before the stack, the backlog of a CPU full (netdev_max_backlog)",
			Also:   "packets of any namespace of the machine",
			Source: "net/core/dev.c enqueue_to_backlog, Linux 6.18; net/core/net-procfs.c softnet_seq_show, Linux 6.18"},
		{Name: "softnet.time_squeeze", Topic: Local, Scope: Machine, Claims: aside(d.ProberLocalDrop, d.SlowPathNotStall),
			Means:  "times a CPU left packets waiting, its turn over (netdev_budget)",
			Source: "net/core/dev.c net_rx_action, Linux 6.18"},
		{Name: "Ip.OutDiscards", Topic: Local, Scope: Namespace, Claims: fits(d.ProberLocalDrop),
			Means:  "packets dropped on their way out",
			Source: "net/ipv4/ip_output.c ip_finish_output2, Linux 6.18"},
		{Name: "Ip6.OutDiscards", Topic: Local, Scope: Namespace, Claims: fits(d.ProberLocalDrop),
			Means:  "IPv6 packets dropped on their way out",
			Source: "net/ipv6/ip6_output.c ip6_finish_output2, Linux 6.18"},
		{Name: "Ip.InDiscards", Topic: Local, Scope: Namespace, Claims: fits(d.ForwardSYNLoss, d.PathLoss),
			Means:  "packets dropped on their way in",
			Source: "net/ipv4/ip_input.c ip_rcv_core, Linux 6.18"},
		{Name: "Ip6.InDiscards", Topic: Local, Scope: Namespace, Claims: fits(d.ForwardSYNLoss, d.PathLoss),
			Means:  "IPv6 packets dropped on their way in",
			Source: "net/ipv6/ip6_input.c ip6_rcv_core, Linux 6.18"},
		{Name: "TcpExt.TCPRetransFail", Topic: Local, Scope: Namespace, Since: Kernel{3, 5}, Claims: fits(d.ProberLocalDrop),
			Means:  "repeats that this host itself could not send",
			Source: "net/ipv4/tcp_output.c __tcp_retransmit_skb, Linux 6.18"},
		{Name: "TcpExt.TCPSpuriousRtxHostQueues", Topic: Local, Scope: Namespace, Since: Kernel{3, 10}, Claims: fits(d.ProberLocalDrop, d.SlowPathNotStall),
			Means:  "repeats left out because the original still waits in this host's own queue",
			Source: "net/ipv4/tcp_output.c skb_still_in_host_queue, Linux 6.18"},
		{Name: "Tcp.InErrs", Topic: Local, Scope: Namespace, Claims: aside(d.PathLoss),
			Means:  "segments received that were damaged",
			Source: "net/ipv4/tcp_ipv4.c tcp_v4_rcv, Linux 6.18"},
		{Name: "Tcp.InCsumErrors", Topic: Local, Scope: Namespace, Since: Kernel{3, 10}, Claims: aside(d.PathLoss),
			Means:  "of these by checksum",
			Source: "net/ipv4/tcp_ipv4.c tcp_v4_rcv, Linux 6.18"},
	}
}

func traffic() []Counter {
	row := func(name, means string) Counter {
		return Counter{Name: name, Topic: Traffic, Scope: Namespace, Means: means, Source: "RFC 4022"}
	}
	original := row("TcpExt.TCPOrigDataSent", "segments with data sent for the first time")
	original.Since, original.Source = Kernel{3, 15}, "net/ipv4/tcp_output.c tcp_event_new_data_sent, Linux 6.18"
	return []Counter{
		row("Tcp.ActiveOpens", "connections opened from here"),
		row("Tcp.PassiveOpens", "connections opened to here"),
		row("Tcp.EstabResets", "connections that ended by an RST or an error"),
		row("Tcp.InSegs", "segments received"),
		row("Tcp.OutSegs", "segments sent, repeats not counted"),
		original,
	}
}
