package witness

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/testimony"
)

// proof is how a server's own counters prove a verdict, or refute it.
type proof struct {
	// verdicts that it speaks for; the first is named where the outside could not tell.
	verdicts []diagnose.Verdict
	// counters, the most telling first: the first that a server tells is asked.
	counters []telling
	// arrived: a SYN counts, too, that made a request and whose answer did not come.
	arrived bool
	// state judges the listener's own queues at a reading; nil: it has none to show.
	state func(*observe.Witness, observe.ListenQueue) queueState
	// gone is the kernel version from which on the fault cannot be, and why; zero: it can be with every kernel.
	gone testimony.Kernel
	why  string
	// summary, remedy and disproof are of a cause that is named by the counter alone; the summary takes the number of SYNs.
	summary, remedy, disproof string
}

// telling is a counter with what is taken off it.
type telling struct {
	name string
	// less are counters that count the same drops for another cause.
	less []string
	// from is the kernel version from which on every such drop counts, so that its standing still refutes; zero: never.
	from testimony.Kernel
	// alone: the counter is enough; else the listener's queues must say the same.
	alone bool
}

// proofs are all that counters are asked about. PAWSPassive counts what per-host PAWS refuses at the SYN, each once (seen on 2.6.32-431 and
// 3.10.0-1160). ListenOverflows counts a SYN that meets a full accept queue (net/ipv4/tcp_ipv4.c tcp_v4_conn_request, 3.10;
// net/ipv4/tcp_input.c tcp_conn_request, 6.18). TCPReqQFullDrop counts one that meets a full request queue with cookies off
// (tcp_syn_flood_action, 6.18); one that is dropped from three quarters of tcp_max_syn_backlog on counts as ListenDrops alone (tcp_conn_request,
// 6.18). unresolved_discards counts a packet that leaves a neighbour's queue unsent (net/core/neighbour.c __neigh_event_send, 6.18).
func proofs() []proof {
	return []proof{
		{
			verdicts: []diagnose.Verdict{diagnose.TWRecyclePAWSDrop, diagnose.TWRecyclePAWSDropSNAT, diagnose.TSClockDomainConflict, diagnose.ClientRandomTSVsRecycle},
			counters: []telling{{name: "TcpExt.PAWSPassive", from: testimony.Kernel{2, 6, 32}, alone: true}},
			gone:     testimony.Kernel{4, 12}, why: "tcp_tw_recycle went in Linux 4.12, and per-host PAWS with it",
			summary:  "%d SYNs had no answer, and per-host PAWS (net.ipv4.tcp_tw_recycle) counted each",
			remedy:   "net.ipv4.tcp_tw_recycle=0 on the server",
			disproof: "PAWSPassive standing still while SYNs go without an answer",
		},
		{
			verdicts: []diagnose.Verdict{diagnose.AcceptQueueOverflow},
			counters: []telling{{name: "TcpExt.ListenOverflows", from: testimony.Kernel{3, 10}, alone: true}},
			state:    acceptQueue,
			summary:  "%d SYNs had no answer, and the server counted each as met by a full accept queue",
			remedy: "the application does not accept: unblock it, or raise its listen backlog and net.core.somaxconn together. ListenOverflows on the server counts " +
				"each drop",
			disproof: "Recv-Q no greater than Send-Q (ss -ltn on the server) while SYNs go without an answer",
		},
		{
			verdicts: []diagnose.Verdict{diagnose.SYNQueueFullDrop},
			counters: []telling{
				{name: "TcpExt.TCPReqQFullDrop", alone: true},
				{name: "TcpExt.ListenDrops", less: []string{"TcpExt.ListenOverflows", "TcpExt.PAWSPassive", "TcpExt.TCPReqQFullDrop"}, from: testimony.Kernel{3, 10}},
			},
			state:    requestQueue,
			summary:  "%d SYNs had no answer: the queue of half-open connections is full, and SYN cookies are off",
			remedy:   "net.ipv4.tcp_syncookies=1; net.ipv4.tcp_max_syn_backlog and somaxconn higher; then find who leaves so many connections half-open",
			disproof: "few sockets in syn-recv (ss -tan state syn-recv on the server) while SYNs go without an answer",
		},
		{
			verdicts: []diagnose.Verdict{diagnose.RemoteARPQueueOverflow},
			counters: []telling{{name: "arp_cache.unresolved_discards", from: testimony.Kernel{3, 3}, alone: true}},
			arrived:  true,
			summary:  "%d SYN-ACKs did not come, and the server's neighbour queue counted each as dropped",
			remedy:   "net.ipv4.neigh.default.unres_qlen_bytes=212992 on the server (unres_qlen=256 before 3.3)",
			disproof: "unresolved_discards standing still while SYN-ACKs are missing",
		},
	}
}

// Counters are the names of all that a witness is asked for, sorted by nothing.
func Counters() []string {
	var out []string
	for _, p := range proofs() {
		for _, c := range p.counters {
			out = append(append(out, c.name, neighborTable(c.name, true)), c.less...)
		}
	}
	return out
}

// neighborTable is the counter of the family's own table: arp_cache, or ndisc_cache for IPv6.
func neighborTable(name string, v6 bool) string {
	if rest, ok := strings.CutPrefix(name, "arp_cache."); ok && v6 {
		return "ndisc_cache." + rest
	}
	return name
}

// queueState is what a listener's queue is at one reading.
type queueState struct {
	known, full bool
	text        string
}

// acceptQueue: a SYN is dropped where Queued > Backlog (sk_acceptq_is_full, include/net/sock.h, 6.18; 3.10 the same where two requests or more are young).
func acceptQueue(_ *observe.Witness, q observe.ListenQueue) queueState {
	return queueState{true, q.Queued > q.Backlog, fmt.Sprintf("accept queue of %s %d, backlog %d (Recv-Q, Send-Q)", q.Addr, q.Queued, q.Backlog)}
}

// requestQueue: with cookies off a SYN is dropped once the requests reach the backlog, or leave less than a quarter of max_syn_backlog
// (tcp_conn_request, net/ipv4/tcp_input.c, 6.18). What sock_diag counts may be a few behind: requests come and go while they are listed.
func requestQueue(w *observe.Witness, q observe.ListenQueue) queueState {
	cookies := w.Settings["net.ipv4.tcp_syncookies"]
	most, err := strconv.ParseUint(w.Settings["net.ipv4.tcp_max_syn_backlog"], 10, 31)
	if err != nil || !q.Counted || cookies == "" {
		return queueState{}
	}
	limit := min(uint32(most)-uint32(most)/4+1, max(q.Backlog, 1))
	return queueState{true, cookies == "0" && q.HalfOpen+2+limit/16 > limit,
		fmt.Sprintf("half-open at %s %d, dropped from %d on without cookies (backlog %d, tcp_max_syn_backlog %d, tcp_syncookies %s)", q.Addr, q.HalfOpen, limit, q.Backlog, most, cookies)}
}

// value is what one server says of a counter, less what others count of it.
func (c *telling) value(s *observe.Statement, name string) (int64, bool) {
	v, ok := s.Counters[name]
	for _, l := range c.less {
		v -= s.Counters[l]
	}
	return v, ok
}

// finding is the cause that the counter names where the outside could not tell.
func (p *proof) finding(t *diagnose.Testimony, r *hearing) diagnose.Finding {
	t.Effect = diagnose.EffectNamed
	if t.Verdict == diagnose.TWRecyclePAWSDrop && r.direct() == nil {
		t.Verdict = diagnose.TWRecyclePAWSDropSNAT
	}
	f := diagnose.Finding{Verdict: t.Verdict, Level: diagnose.Proven, Summary: fmt.Sprintf(p.summary, t.Expected), Disproof: p.disproof, Remedy: p.remedy,
		Evidence: counted(t)}
	if t.P < 1 {
		f.P = t.P
	}
	return f.Explaining(r.bursts())
}
