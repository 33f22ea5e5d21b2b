package testimony

import d "github.com/vipprobe/vipprobe/prober/diagnose"

// neighborRows are what /proc/net/stat/arp_cache and ndisc_cache have alike: one neighbour table for all namespaces, and only the first
// namespace shows it.
func neighborRows(section, what string) []Counter {
	queue := []d.Verdict{d.LocalARPQueueOverflow, d.RemoteARPQueueOverflow}
	return []Counter{
		{Name: section + ".unresolved_discards", Topic: Neighbors, Scope: Machine, Claims: names(queue...),
			Means:  "packets pushed out of a queue that waits for " + what + " (unres_qlen_bytes)",
			Also:   "any destination of any namespace of the machine; absent from some 2.6.32 kernels",
			Source: "net/core/neighbour.c __neigh_event_send, Linux 6.18"},
		{Name: section + ".table_fulls", Topic: Neighbors, Scope: Machine, Since: Kernel{4, 3}, Claims: names(d.NeighTableOverflow),
			Means:  "new neighbours refused, the table holds gc_thresh3 entries",
			Source: "net/core/neighbour.c neigh_alloc, Linux 6.18"},
		{Name: section + ".res_failed", Topic: Neighbors, Scope: Machine, Claims: fits(d.LocalARPUnresolved, d.RemoteARPUnresolved, d.StaleNeighborAfterFailover),
			Means:  what + " given up after the last question",
			Also:   "any address that is asked for and does not exist",
			Source: "net/core/neighbour.c neigh_invalidate, Linux 6.18"},
		{Name: section + ".forced_gc_runs", Topic: Neighbors, Scope: Machine, Claims: fits(d.NeighTableOverflow),
			Means:  "times entries had to be thrown out early, the table is over gc_thresh2 or gc_thresh3",
			Source: "net/core/neighbour.c neigh_forced_gc, Linux 6.18"},
	}
}

func neighbors() []Counter {
	return append(neighborRows("arp_cache", "ARP"),
		Counter{Name: "TcpExt.ArpFilter", Topic: Neighbors, Scope: Namespace, Claims: fits(d.RemoteARPUnresolved),
			Means:  "ARP requests left unanswered by arp_filter: the route back leads elsewhere",
			Source: "net/ipv4/arp.c arp_filter, Linux 6.18"})
}

func neighborsV6() []Counter { return neighborRows("ndisc_cache", "neighbour discovery") }
