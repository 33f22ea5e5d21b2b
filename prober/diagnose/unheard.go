package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// fewIgnored is how many handshakes must be ignored to say anything of the queue.
const fewIgnored = 3

// strayLoss is the share of SYNs that a path may lose besides, one in so many. Neither a full queue nor a stack behind it answers all but so few.
const strayLoss = 10

// answeredAllTheWhile reports whether the SYNs that left since the first handshake that was ignored are answered at once, but for few. A listener whose accept
// queue is full does not: it drops SYNs (net/ipv4/tcp_input.c tcp_conn_request, 4.4 to 6.18), all but two at a time before that (net/ipv4/tcp_ipv4.c
// tcp_v4_conn_request, 2.6.32 and 3.10). What was lost before, as at a neighbor that was not resolved yet, says nothing of that queue. SYNs of the same instant as
// those that were ignored may have met a queue with room; only those behind their ACKs count as answered, and where others are served, only those before the last
// that is known to have been ignored.
func answeredAllTheWhile(in *Input, all bool) bool {
	i := readIgnoredSpan(in)
	answered, missed := 0, 0
	for a := range trustedAttempts(in) {
		if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown || len(a.SYNs) == 0 || a.SYNs[0].At.Before(i.syn) {
			continue
		}
		switch at := a.SYNs[0].At; {
		case firstSYNACK(a) == nil || a.Retransmissions > 0:
			missed++
		case at.After(i.acked) && (all || at.Before(i.last)):
			answered++
		}
	}
	return answered >= fewAttempts && strayLoss*missed <= answered
}

// ignoredSpan is the time in which handshakes were ignored.
type ignoredSpan struct {
	// syn is when the first of their SYNs left, acked when its SYN-ACK came, which our ACK follows, and last when a SYN-ACK was repeated last.
	syn, acked, last time.Time
}

func readIgnoredSpan(in *Input) ignoredSpan {
	var i ignoredSpan
	ss := services(in, plan.KindServed)
	for k := range ss {
		s := &ss[k]
		if s.repeats == 0 || s.acked || s.reset || len(s.a.SYNs) == 0 {
			continue
		}
		if at := s.a.SYNs[0].At; i.syn.IsZero() || at.Before(i.syn) {
			i.syn, i.acked = at, firstSYNACK(s.a).At
		}
		for n := range s.a.Answers {
			if ans := &s.a.Answers[n]; ans.Kind == observe.SYNACK && ans.At.After(i.last) {
				i.last = ans.At
			}
		}
	}
	return i
}

// unheardOf is what is left where handshakes are ignored, every one or the same ones again and again, and SYNs are answered all the same: what follows the SYN does not reach the listener.
func unheardOf(f Finding, ignored, n int) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d completed handshakes were ignored, and SYNs are answered all the while: what follows the SYN does not reach the listener", ignored, n)
	served := "none is served"
	if ignored < n {
		f.Summary = fmt.Sprintf("%d of %d completed handshakes were ignored, and SYNs are answered all the while: of some connections what follows the SYN does not reach the listener", ignored, n)
		served = "the same handshakes are ignored all the while"
	}
	f.Evidence = []string{
		"the listener repeated its SYN-ACK although it had been acknowledged, and acknowledged no data",
		"a full accept queue would drop SYNs, and serve those whom it had room for; here SYNs that left after the ignored ACKs are answered at once, and " + served,
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
