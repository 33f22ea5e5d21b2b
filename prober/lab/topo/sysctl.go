package topo

import (
	"fmt"
	"os"
	"strings"
)

// sysctlPath maps a dotted name to its file. A slash in the name stands for a dot inside one of its parts, as in sysctl(8).
func sysctlPath(name string) string {
	return "/proc/sys/" + strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// writeSysctl sets a sysctl of the calling thread's network namespace: /proc/sys/net resolves by the opener's
// (fs/proc/proc_sysctl.c and net/sysctl_net.c net_ctl_header_lookup, 6.18).
func writeSysctl(name, value string) error {
	if err := os.WriteFile(sysctlPath(name), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// setting is one pinned sysctl.
type setting struct{ name, value string }

// pinned is what every host starts from, so that a scenario means the same on every machine: a new namespace inherits
// some values from the machine's own (net.core.devconf_inherit_init_net). The values are the defaults of 6.18, but for
// what would add frames or doubt: no DAD, no redirects, no router solicitation, no reverse-path filter.
func pinned() []setting {
	return []setting{
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		{"net.ipv4.conf.all.send_redirects", "0"},
		{"net.ipv4.conf.default.send_redirects", "0"},
		{"net.ipv4.conf.all.accept_redirects", "0"},
		{"net.ipv4.conf.all.arp_ignore", "0"},
		{"net.ipv4.conf.default.arp_ignore", "0"},
		{"net.ipv4.tcp_timestamps", "1"},
		{"net.ipv4.tcp_syncookies", "1"},
		{"net.ipv4.tcp_syn_retries", "6"},
		{"net.ipv4.tcp_synack_retries", "5"},
		{"net.ipv4.tcp_max_syn_backlog", "1024"},
		{"net.ipv4.tcp_abort_on_overflow", "0"},
		{"net.ipv4.tcp_tw_reuse", "2"},
		{"net.ipv4.ip_local_port_range", "32768\t60999"},
		{"net.core.somaxconn", "4096"},
		{"net.ipv4.icmp_ratelimit", "0"},
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.dad_transmits", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
		{"net.ipv6.conf.default.mldv2_unsolicited_report_interval", "0"},
	}
}

// optional settings are absent from older kernels.
func optional() []setting {
	return []setting{{"net.ipv4.tcp_syn_linear_timeouts", "4"}} // since 6.5
}

// pinnedNeighbor is the same for the neighbour settings of one device: net.ipv4.neigh.default and its IPv6 twin are one for
// all namespaces, and a new device copies them (net/core/neighbour.c neigh_parms_alloc, 6.18).
func pinnedNeighbor(dev string) []setting {
	var s []setting
	for _, family := range []string{"ipv4", "ipv6"} {
		p := "net." + family + ".neigh." + dev + "."
		s = append(s,
			setting{p + "unres_qlen_bytes", "212992"},
			setting{p + "retrans_time_ms", "1000"},
			setting{p + "mcast_solicit", "3"},
			setting{p + "ucast_solicit", "3"},
			setting{p + "base_reachable_time_ms", "30000"},
			setting{p + "delay_first_probe_time", "5"},
			setting{p + "gc_stale_time", "60"},
		)
	}
	return s
}
