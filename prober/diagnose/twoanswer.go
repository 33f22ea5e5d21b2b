package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// answeredTwice reports whether the first SYN of an attempt drew SYN-ACKs of different sequence numbers before another left. A listener repeats its SYN-ACK with the number it chose
// (RFC 9293 §3.10.7.4; net/ipv4/tcp_output.c tcp_make_synack takes it from the request, 2.6.32 to 6.18), and a cookie to one SYN is one.
func answeredTwice(a *observe.Attempt) bool {
	first := firstSYNACK(a)
	if first == nil {
		return false
	}
	for k := range a.Answers {
		ans := &a.Answers[k]
		if len(a.SYNs) > 1 && !ans.At.Before(a.SYNs[1].At) {
			return false
		}
		if ans.Kind == observe.SYNACK && ans.Seq != first.Seq {
			return true
		}
	}
	return false
}

// twoAnswer says that one SYN has more than one answerer. Who they are is not seen from here: an address that two hosts have, a frame that a switch gives to two (a multicast MAC, a
// mirrored port), or a path that doubles SYNs before a balancer.
func twoAnswer(in *Input) Finding {
	n, twice := 0, 0
	for a := range trustedAttempts(in) {
		if firstSYNACK(a) == nil {
			continue
		}
		n++
		if answeredTwice(a) {
			twice++
		}
	}
	return Finding{
		Verdict: DuplicateAddress, Level: Inconclusive,
		Summary:  fmt.Sprintf("%d of %d SYNs that were answered drew two SYN-ACKs of different sequence numbers: two hosts answer one SYN, and each resets what was agreed with the other", twice, n),
		Disproof: "one sequence number in all SYN-ACKs to one SYN",
		Settle: "who they are: whether two hosts have the address, a switch gives each frame to two (a multicast MAC, a mirrored port), or the path doubles SYNs before a balancer; " +
			"hop limits and options of the SYN-ACKs in the capture tell the two apart",
	}
}
