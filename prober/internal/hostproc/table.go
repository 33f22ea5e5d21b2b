package hostproc

import "strconv"

// Table is the settings by their names, as sysctl(8) spells them, with those of the interfaces named; what this kernel or namespace lacks is
// not in it.
func (s *Sysctls) Table(interfaces ...string) map[string]string {
	t := map[string]string{}
	put := func(name string, v Setting) {
		if v.Known {
			t[name] = v.String()
		}
	}
	for name, v := range map[string]Setting{
		"tcp_syn_retries": s.SynRetries, "tcp_syn_linear_timeouts": s.SynLinearTimeouts, "tcp_rto_max_ms": s.RTOMax,
		"tcp_synack_retries": s.SynAckRetries, "tcp_retries1": s.Retries1, "tcp_retries2": s.Retries2, "tcp_timestamps": s.Timestamps,
		"tcp_tw_reuse": s.TWReuse, "tcp_tw_recycle": s.TWRecycle, "tcp_abort_on_overflow": s.AbortOnOverflow, "tcp_syncookies": s.SynCookies,
		"tcp_max_syn_backlog": s.MaxSynBacklog, "ip_forward": s.IPForward,
	} {
		put("net.ipv4."+name, v)
	}
	put("net.core.somaxconn", s.Somaxconn)
	put("net.ipv6.conf.all.forwarding", s.IPv6Forwarding)
	put("net.netfilter.nf_conntrack_max", s.ConntrackMax)
	for i := range s.GCThresh {
		put("net.ipv4.neigh.default.gc_thresh"+strconv.Itoa(i+1), s.GCThresh[i])
		put("net.ipv6.neigh.default.gc_thresh"+strconv.Itoa(i+1), s.GCThresh6[i])
	}
	if s.PortLow.Known {
		t["net.ipv4.ip_local_port_range"] = s.PortLow.String() + " " + s.PortHigh.String()
	}
	if s.ReservedPorts != "" {
		t["net.ipv4.ip_local_reserved_ports"] = s.ReservedPorts
	}
	for _, name := range interfaces {
		if i, ok := s.Interfaces[name]; ok {
			i.table(name, put)
		}
	}
	return t
}

func (i *Interface) table(name string, put func(string, Setting)) {
	for setting, v := range map[string]Setting{"rp_filter": i.RPFilter, "arp_ignore": i.ARPIgnore, "arp_announce": i.ARPAnnounce,
		"arp_filter": i.ARPFilter, "proxy_arp": i.ProxyARP, "forwarding": i.Forwarding} {
		put("net.ipv4.conf."+name+"."+setting, v)
	}
	for family, n := range map[string]*Neighbor{"ipv4": &i.Neigh4, "ipv6": &i.Neigh6} {
		for setting, v := range map[string]Setting{"unres_qlen_bytes": n.UnresQlenBytes, "unres_qlen": n.UnresQlen, "retrans_time_ms": n.RetransTime,
			"base_reachable_time_ms": n.BaseReachable, "gc_stale_time": n.GCStaleTime, "mcast_solicit": n.McastSolicit,
			"delay_first_probe_time": n.DelayFirstProbe} {
			put("net."+family+".neigh."+name+"."+setting, v)
		}
	}
}
