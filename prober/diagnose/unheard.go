package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// fewIgnored is how many handshakes of one burst, all of them, must be ignored to say that the queue cannot have been full when their SYNs were answered.
const fewIgnored = 6

// strayLoss is the share of SYNs that a path may lose besides, one in so many. Neither a full queue nor a stack behind it answers all but so few.
const strayLoss = 10

// answeredAllTheWhile reports whether the SYNs that left since the first handshake that was ignored are answered at once, but for few. A listener whose accept
// queue is full does not: it drops SYNs (net/ipv4/tcp_input.c tcp_conn_request, 4.4 to 6.18), all but two at a time before that (net/ipv4/tcp_ipv4.c
// tcp_v4_conn_request, 2.6.32 and 3.10). What was lost before, as at a neighbor that was not resolved yet, says nothing of that queue. SYNs of the same instant as
// those that were ignored may have met a queue with room; only those behind their ACKs count as answered.
func answeredAllTheWhile(in *Input) bool {
	from, acked := firstIgnored(in)
	answered, missed := 0, 0
	for a := range trustedAttempts(in) {
		if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown || len(a.SYNs) == 0 || a.SYNs[0].At.Before(from) {
			continue
		}
		switch {
		case firstSYNACK(a) == nil || a.Retransmissions > 0:
			missed++
		case a.SYNs[0].At.After(acked):
			answered++
		}
	}
	return answered >= fewAttempts && strayLoss*missed <= answered
}

// firstIgnored is when the SYN of the first handshake that was ignored left, and when its SYN-ACK came, which our ACK follows.
func firstIgnored(in *Input) (syn, synack time.Time) {
	ss := services(in, plan.KindServed)
	for k := range ss {
		s := &ss[k]
		if s.repeats == 0 || s.acked || len(s.a.SYNs) == 0 {
			continue
		}
		if at := s.a.SYNs[0].At; syn.IsZero() || at.Before(syn) {
			syn, synack = at, firstSYNACK(s.a).At
		}
	}
	return syn, synack
}

// unheardOf is what is left where every handshake is ignored, and SYNs are answered all the same: what follows the SYN does not reach the listener.
func unheardOf(f Finding, ignored, n int) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d completed handshakes were ignored, and SYNs are answered all the while: what follows the SYN does not reach the listener", ignored, n)
	f.Evidence = []string{
		"the listener repeated its SYN-ACK although it had been acknowledged, and acknowledged no data",
		"a full accept queue would drop SYNs, and serve those whom it had room for; here SYNs that left after the ignored ACKs are answered at once, and none is served",
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
