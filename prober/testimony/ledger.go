package testimony

// Ledger is a total beside the counters that count parts of it.
type Ledger struct {
	Total Moved
	Parts []Moved
	// Rest is what no part accounts for, never below zero.
	Rest int64
	// Over is by how much the parts exceed the total: this kernel leaves one of them out of it, or the readings were not taken
	// at one instant.
	Over int64
}

// ListenDrops splits the SYNs and last ACKs that listeners dropped by what is known to have dropped them. Each part is counted
// once there and once in TcpExt.ListenDrops (net/ipv4/tcp_input.c tcp_conn_request, net/ipv4/tcp_ipv4.c tcp_v4_syn_recv_sock,
// Linux 6.18; tcp_v4_conn_request, Linux 3.10), but that 2.6.32 leaves out PAWSPassive. The rest had no route or memory, met the
// last quarter of a SYN queue without cookies, or ended with an ICMP error, unresolved ARP among them (tcp_req_err, Linux 6.18).
// Nothing dropped, or nothing known of it: false.
func ListenDrops(delta map[string]int64) (Ledger, bool) {
	return split(delta, "TcpExt.ListenDrops", "TcpExt.PAWSPassive", "TcpExt.ListenOverflows", "TcpExt.TCPReqQFullDrop")
}

// Retransmissions splits what was sent again by class. The rest is the first segment of each timeout and what tail loss probes
// repeated (net/ipv4/tcp_output.c tcp_xmit_retransmit_queue, tcp_send_loss_probe, net/ipv4/tcp_timer.c tcp_retransmit_timer,
// Linux 6.18); TcpExt.TCPTimeouts and TCPLossProbes bound the two from above. Kernels that lack one of the classes leave it in
// the rest. Nothing sent again: false.
func Retransmissions(delta map[string]int64) (Ledger, bool) {
	return split(delta, "Tcp.RetransSegs", "TcpExt.TCPSynRetrans", "TcpExt.TCPFastRetrans", "TcpExt.TCPSlowStartRetrans")
}

func split(delta map[string]int64, total string, parts ...string) (Ledger, bool) {
	n := max(0, delta[total])
	l := Ledger{Rest: n}
	for _, name := range parts {
		if by := delta[name]; by > 0 {
			c, _ := Find(name)
			l.Parts = append(l.Parts, Moved{c, by})
			l.Rest -= by
		}
	}
	c, _ := Find(total)
	l.Total = Moved{c, n}
	if l.Rest < 0 {
		l.Over, l.Rest = -l.Rest, 0
	}
	return l, n > 0 || len(l.Parts) > 0
}
