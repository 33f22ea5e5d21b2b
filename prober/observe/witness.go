package observe

import (
	"net/netip"
	"time"
)

// Witness is a server whose own kernel counters were read again and again while it, or the VIP in front of it, was probed.
type Witness struct {
	// Server is what it was named by: the target itself, or a member of it.
	Server string
	// Direct: it is the target, so that every SYN which arrives, arrives there. A member of a VIP gets a part of them.
	Direct bool
	// Source is the kind of its endpoint: SourceVipprobe or SourceNodeExporter.
	Source string
	// Kernel is its release; empty: not said.
	Kernel string
	// Port is the one whose listeners were asked for.
	Port uint16
	// Settings are its sysctls by name, as far as it said them.
	Settings map[string]string
	// Statements in the order in which they were asked for.
	Statements []Statement
	// Missing are sentences about what it could not or would not say.
	Missing []string
}

// The kinds of endpoints that tell counters.
const (
	SourceVipprobe     = "vipprobe"
	SourceNodeExporter = "node_exporter"
)

// Statement is one reading of a server's counters. When exactly it was taken is not known on this host's clock: after Asked, before Answered.
type Statement struct {
	Asked, Answered time.Time
	// Counters by "Section.Name" as in Observation.Counters, but as they stand, not as they rose.
	Counters  map[string]int64
	Listeners []ListenQueue
}

// ListenQueue is a socket in LISTEN as sock_diag shows it (net/ipv4/tcp_diag.c tcp_diag_get_info, 6.18: idiag_rqueue is sk_ack_backlog,
// idiag_wqueue sk_max_ack_backlog).
type ListenQueue struct {
	Addr    netip.AddrPort
	Queued  uint32 // connections that wait for accept(2): Recv-Q
	Backlog uint32 // how many may, less one: Send-Q. A SYN is refused a place once Queued > Backlog (sk_acceptq_is_full, include/net/sock.h)
	// HalfOpen are requests in SYN_RECV on this port; valid where Counted. They are counted twice a second at most.
	HalfOpen uint32
	Counted  bool
}

// Listener is the socket that answers for an address and port, if the statement tells of it: one bound to that address, or to any. Of several that
// share one address (SO_REUSEPORT) it cannot be known which does: false.
func (s *Statement) Listener(at netip.AddrPort) (ListenQueue, bool) {
	for _, exact := range []bool{true, false} {
		i, n := 0, 0
		for k := range s.Listeners {
			a := s.Listeners[k].Addr
			if a.Port() == at.Port() && (exact && a.Addr().Unmap() == at.Addr().Unmap() || !exact && a.Addr().IsUnspecified()) {
				i, n = k, n+1
			}
		}
		if n > 0 {
			return s.Listeners[i], n == 1
		}
	}
	return ListenQueue{}, false
}
