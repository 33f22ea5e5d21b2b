package testimony

import "slices"

// Setting is a sysctl whose difference between two network namespaces explains a difference of their counters.
type Setting struct {
	// Name is sysctl(8)'s, Means what the difference does.
	Name, Means string
	// Born is where a new namespace has its value from; Source is where that is written.
	Born   Birth
	Source string
}

// Birth is where a new network namespace has a setting from.
type Birth uint8

// The births. FromDefault: the kernel's own default, whatever the first namespace has. FromFirst: what the first namespace has at
// that moment. WholeMachine: there is one for all.
const (
	BirthUnknown Birth = iota
	FromDefault
	FromFirst
	WholeMachine
)

func (b Birth) String() string {
	switch b {
	case FromDefault:
		return "default"
	case FromFirst:
		return "first_namespace"
	case WholeMachine:
		return "machine"
	case BirthUnknown:
	}
	return "unknown"
}

// Settings lists what is known of settings.
func Settings() []Setting {
	const born = "net/ipv4/tcp_ipv4.c tcp_sk_init, Linux 6.18"
	t := func(name, means string) Setting { return Setting{"net.ipv4.tcp_" + name, means, FromDefault, born} }
	return []Setting{
		t("reordering", "how many segments may overtake one before it counts as lost: the lower side repeats more on a path that reorders. A listener hands the value it "+
			"was opened with to its connections; kernels that go by time alone (RACK, 6.18) hardly heed it"),
		t("max_reordering", "how far that may grow by itself"),
		{"net.ipv4.tcp_congestion_control", "how fast is sent, and so how much is lost: rates of segments sent again cannot be compared across it", FromFirst, born},
		t("recovery", "1: losses are found by time (RACK); 0: by counting, where reordering costs more"),
		t("early_retrans", "3 or 4: tail loss probes; 0: none, so a lost tail waits for a timeout"),
		t("sack", "0: no selective acknowledgement, each loss costs a round trip"),
		t("dsack", "0: needless repeats are not reported, so none can be counted"),
		t("frto", "0: needless timeouts are not recognised"),
		t("timestamps", "0: no timestamps, so no PAWS, and a server with per-host PAWS may treat its SYNs otherwise; 2: one clock for all connections"),
		t("tw_recycle", "1: SYNs are refused by the timestamp last remembered of their address (tw_recycle_paws_drop)"),
		t("tw_reuse", "1: connects take over TIME_WAITs by newer timestamps"),
		t("syncookies", "0: a full SYN queue drops; 1: it answers by cookies; 2: always"),
		t("max_syn_backlog", "half-open connections kept, with the backlog and somaxconn the smallest counts"),
		{"net.core.somaxconn", "bounds every listener's backlog: the lower side overflows first (accept_queue_overflow)", FromDefault, "net/core/net_namespace.c preinit_net, Linux 6.18"},
		t("abort_on_overflow", "1: a full accept queue answers with an RST in place of silence"),
		t("syn_retries", "how long a connect tries"),
		t("syn_linear_timeouts", "SYNs repeated each second before the waits double"),
		t("synack_retries", "how long a half-open connection is kept"),
		t("retries2", "how long a silent peer is put up with"),
		t("mtu_probing", "0: a path that swallows big packets stays closed to them (mtu_blackhole)"),
		t("fin_timeout", "how long FIN_WAIT_2 is kept"),
		{"net.ipv4.tcp_rmem", "the receive window's bounds", FromFirst, born},
		{"net.ipv4.tcp_wmem", "the send buffer's bounds", FromFirst, born},
		t("ecn", "whether congestion is told by marks in place of loss"),
		t("slow_start_after_idle", "1: an idle connection begins slowly again"),
		t("keepalive_time", "when idle peers are asked for"),
		t("invalid_ratelimit", "how often strays are answered: bare ACKs to a TIME_WAIT come once in this many milliseconds"),
		{"net.ipv4.ip_local_port_range", "how many connections one address can have to one server", FromDefault, "net/ipv4/af_inet.c inet_init_net, Linux 6.18"},
		{"net.netfilter.nf_conntrack_max", "how many connections are tracked before new ones are dropped (conntrack_table_full)", WholeMachine,
			"net/netfilter/nf_conntrack_standalone.c nf_conntrack_standalone_init_net, Linux 6.18"},
	}
}

// Difference is a setting that two namespaces have otherwise.
type Difference struct {
	Name string
	// A and B are the values; "" where that side's kernel or namespace does not show it.
	A, B string
	// Setting is what is known of it, if Known.
	Setting Setting
	Known   bool
}

// Differences lists the settings that differ, those with a meaning first in the order of Settings, the others by name.
func Differences(a, b map[string]string) []Difference {
	var out []Difference
	done := map[string]bool{}
	add := func(name string, s Setting, known bool) {
		if !done[name] && a[name] != b[name] {
			out = append(out, Difference{name, a[name], b[name], s, known})
		}
		done[name] = true
	}
	for _, s := range Settings() {
		add(s.Name, s, true)
	}
	var rest []string
	for _, side := range []map[string]string{a, b} {
		for name := range side {
			if !done[name] && !slices.Contains(rest, name) {
				rest = append(rest, name)
			}
		}
	}
	slices.Sort(rest)
	for _, name := range rest {
		add(name, Setting{Name: name}, false)
	}
	return out
}
