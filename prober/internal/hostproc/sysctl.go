package hostproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Setting is the value of one sysctl, if this kernel and namespace have it.
type Setting struct {
	Value int64
	Known bool
}

// Or is the value, or d where it is not known.
func (s Setting) Or(d int64) int64 {
	if s.Known {
		return s.Value
	}
	return d
}

// String is the number, or "absent".
func (s Setting) String() string {
	if !s.Known {
		return "absent"
	}
	return strconv.FormatInt(s.Value, 10)
}

// Sysctls are the settings that decide how a handshake of this namespace goes. Field comments give the file below
// /proc/sys.
type Sysctls struct {
	SynRetries        Setting    // net/ipv4/tcp_syn_retries
	SynLinearTimeouts Setting    // net/ipv4/tcp_syn_linear_timeouts, Linux ≥ 6.5
	RTOMax            Setting    // net/ipv4/tcp_rto_max_ms, ms, Linux ≥ 6.15
	SynAckRetries     Setting    // net/ipv4/tcp_synack_retries
	Retries1          Setting    // net/ipv4/tcp_retries1
	Retries2          Setting    // net/ipv4/tcp_retries2
	Timestamps        Setting    // net/ipv4/tcp_timestamps; 2: without random offsets (Linux ≥ 4.10)
	TWReuse           Setting    // net/ipv4/tcp_tw_reuse
	TWRecycle         Setting    // net/ipv4/tcp_tw_recycle, Linux ≤ 4.11
	AbortOnOverflow   Setting    // net/ipv4/tcp_abort_on_overflow
	SynCookies        Setting    // net/ipv4/tcp_syncookies
	MaxSynBacklog     Setting    // net/ipv4/tcp_max_syn_backlog
	Somaxconn         Setting    // net/core/somaxconn
	PortLow, PortHigh Setting    // net/ipv4/ip_local_port_range, both inclusive
	ReservedPorts     string     // net/ipv4/ip_local_reserved_ports, as it stands
	IPForward         Setting    // net/ipv4/ip_forward
	IPv6Forwarding    Setting    // net/ipv6/conf/all/forwarding
	ConntrackMax      Setting    // net/netfilter/nf_conntrack_max
	GCThresh          [3]Setting // net/ipv4/neigh/default/gc_thresh1 … 3, initial namespace only
	GCThresh6         [3]Setting // net/ipv6/neigh/default/gc_thresh1 … 3, initial namespace only
	// Interfaces by name, with "default" and "all" among them.
	Interfaces map[string]Interface
}

// Interface are the settings of one interface.
type Interface struct {
	Neigh4, Neigh6 Neighbor
	RPFilter       Setting // net/ipv4/conf/NAME/rp_filter; the larger of this and all's is in force (Documentation/networking/ip-sysctl.rst)
	ARPIgnore      Setting // net/ipv4/conf/NAME/arp_ignore; likewise
	ARPAnnounce    Setting // net/ipv4/conf/NAME/arp_announce; likewise
	ARPFilter      Setting // net/ipv4/conf/NAME/arp_filter
	ProxyARP       Setting // net/ipv4/conf/NAME/proxy_arp
	Forwarding     Setting // net/ipv4/conf/NAME/forwarding
}

// Neighbor are the ARP or ND settings of one interface.
type Neighbor struct {
	UnresQlenBytes  Setting // unres_qlen_bytes, octets of truesize, Linux ≥ 3.3
	UnresQlen       Setting // unres_qlen, packets; since 3.3 derived from the octets
	RetransTime     Setting // retrans_time_ms
	BaseReachable   Setting // base_reachable_time_ms
	GCStaleTime     Setting // gc_stale_time, s
	McastSolicit    Setting // mcast_solicit, requests before FAILED
	DelayFirstProbe Setting // delay_first_probe_time, s
}

// Queue is how many packets of the given truesize (octets, > 0) wait for an unresolved neighbour before the oldest is
// dropped; false where the kernel does not say. Since 3.3 the octets decide, and one packet always waits
// (net/core/neighbour.c __neigh_event_send, 6.18); before that the packets do.
func (n Neighbor) Queue(truesize int) (packets int, ok bool) {
	switch {
	case n.UnresQlenBytes.Known && truesize > 0:
		return max(1, int(n.UnresQlenBytes.Value)/truesize), true
	case n.UnresQlen.Known && !n.UnresQlenBytes.Known:
		return int(n.UnresQlen.Value), true
	}
	return 0, false
}

// ReadSysctls reads them all; what is not there is not Known.
func ReadSysctls() Sysctls { return proc.sysctls() }

func (r root) sysctls() Sysctls {
	s := Sysctls{
		SynRetries:        r.setting("net/ipv4/tcp_syn_retries"),
		SynLinearTimeouts: r.setting("net/ipv4/tcp_syn_linear_timeouts"),
		RTOMax:            r.setting("net/ipv4/tcp_rto_max_ms"),
		SynAckRetries:     r.setting("net/ipv4/tcp_synack_retries"),
		Retries1:          r.setting("net/ipv4/tcp_retries1"),
		Retries2:          r.setting("net/ipv4/tcp_retries2"),
		Timestamps:        r.setting("net/ipv4/tcp_timestamps"),
		TWReuse:           r.setting("net/ipv4/tcp_tw_reuse"),
		TWRecycle:         r.setting("net/ipv4/tcp_tw_recycle"),
		AbortOnOverflow:   r.setting("net/ipv4/tcp_abort_on_overflow"),
		SynCookies:        r.setting("net/ipv4/tcp_syncookies"),
		MaxSynBacklog:     r.setting("net/ipv4/tcp_max_syn_backlog"),
		Somaxconn:         r.setting("net/core/somaxconn"),
		IPForward:         r.setting("net/ipv4/ip_forward"),
		IPv6Forwarding:    r.setting("net/ipv6/conf/all/forwarding"),
		ConntrackMax:      r.setting("net/netfilter/nf_conntrack_max"),
		Interfaces:        make(map[string]Interface),
	}
	s.PortLow, s.PortHigh = r.pair("net/ipv4/ip_local_port_range")
	if b, err := r.readSys("net/ipv4/ip_local_reserved_ports"); err == nil {
		s.ReservedPorts = strings.TrimSpace(string(b))
	}
	for i := range s.GCThresh {
		s.GCThresh[i] = r.setting(fmt.Sprintf("net/ipv4/neigh/default/gc_thresh%d", i+1))
		s.GCThresh6[i] = r.setting(fmt.Sprintf("net/ipv6/neigh/default/gc_thresh%d", i+1))
	}
	for _, name := range r.interfaces() {
		s.Interfaces[name] = r.iface(name)
	}
	return s
}

// Forwards reports whether this host forwards packets of a family that come in by an interface (net/ipv4/conf/NAME/forwarding, net/ipv6/conf/
// NAME/forwarding), as it is now. Where the kernel does not say, it may: true.
func Forwards(ifname string, v6 bool) bool { return proc.forwards(ifname, v6) }

func (r root) forwards(ifname string, v6 bool) bool {
	family := "ipv4"
	if v6 {
		family = "ipv6"
	}
	return r.setting("net/"+family+"/conf/"+ifname+"/forwarding").Or(1) != 0
}

// interfaces are the directories of net/ipv4/conf, and of neigh where those differ.
func (r root) interfaces() []string {
	entries, err := os.ReadDir(filepath.Join(string(r), "sys/net/ipv4/conf"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (r root) iface(name string) Interface {
	conf := "net/ipv4/conf/" + name + "/"
	return Interface{
		Neigh4:      r.neighbor("net/ipv4/neigh/" + name + "/"),
		Neigh6:      r.neighbor("net/ipv6/neigh/" + name + "/"),
		RPFilter:    r.setting(conf + "rp_filter"),
		ARPIgnore:   r.setting(conf + "arp_ignore"),
		ARPAnnounce: r.setting(conf + "arp_announce"),
		ARPFilter:   r.setting(conf + "arp_filter"),
		ProxyARP:    r.setting(conf + "proxy_arp"),
		Forwarding:  r.setting(conf + "forwarding"),
	}
}

func (r root) neighbor(dir string) Neighbor {
	return Neighbor{
		UnresQlenBytes:  r.setting(dir + "unres_qlen_bytes"),
		UnresQlen:       r.setting(dir + "unres_qlen"),
		RetransTime:     r.setting(dir + "retrans_time_ms"),
		BaseReachable:   r.setting(dir + "base_reachable_time_ms"),
		GCStaleTime:     r.setting(dir + "gc_stale_time"),
		McastSolicit:    r.setting(dir + "mcast_solicit"),
		DelayFirstProbe: r.setting(dir + "delay_first_probe_time"),
	}
}

// setting reads a file of one number.
func (r root) setting(name string) Setting {
	b, err := r.readSys(name)
	if err != nil {
		return Setting{}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return Setting{n, err == nil}
}

// pair reads a file of two numbers.
func (r root) pair(name string) (low, high Setting) {
	b, err := r.readSys(name)
	if err != nil {
		return Setting{}, Setting{}
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return Setting{}, Setting{}
	}
	l, errL := strconv.ParseInt(f[0], 10, 64)
	h, errH := strconv.ParseInt(f[1], 10, 64)
	if errL != nil || errH != nil {
		return Setting{}, Setting{}
	}
	return Setting{l, true}, Setting{h, true}
}
