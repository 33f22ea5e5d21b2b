package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// fewIgnored is how many handshakes of one burst, all of them, must be ignored to say that the queue cannot have been full when their SYNs were answered.
const fewIgnored = 6

// everyAnswered reports whether every SYN of the round to the target was answered at once. A listener whose accept queue is full does not: it drops SYNs (net/ipv4/tcp_input.c
// tcp_conn_request, 4.4 to 6.18), all but two at a time before that (net/ipv4/tcp_ipv4.c tcp_v4_conn_request, 2.6.32 and 3.10).
func everyAnswered(in *Input) bool {
	n := 0
	for a := range trustedAttempts(in) {
		if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown {
			continue
		}
		if firstSYNACK(a) == nil || a.Retransmissions > 0 {
			return false
		}
		n++
	}
	return n >= fewAttempts
}

// unheardOf is what is left where every handshake is ignored, and every SYN is answered all the same: what follows the SYN does not reach the listener.
func unheardOf(f Finding, ignored, n int) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d completed handshakes were ignored, and every SYN is answered: what follows the SYN does not reach the listener", ignored, n)
	f.Evidence = []string{
		"the listener repeated its SYN-ACK although it had been acknowledged, and acknowledged no data",
		"a full accept queue would drop SYNs, and serve those whom it had room for; here none is dropped and none is served",
	}
	f.Disproof = "our ACK in a capture at the server"
	f.Remedy = "look for a stateful firewall or balancer on the way there that does not see the SYN-ACKs (asymmetric routing) and drops what follows the SYN as invalid; bring both ways through it, or let it pass such flows"
	f.Settle = "a capture at the server, whether our ACKs arrive"
	return f
}

// bare reports whether an RST carries no ACK and came from as far away as a SYN-ACK with that hop limit.
func bare(rst *observe.Answer, away uint8) bool {
	return rst.Flags&wire.ACK == 0 && rst.HopLimit == away
}
