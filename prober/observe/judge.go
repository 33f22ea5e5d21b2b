package observe

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// judge derives an attempt's outcome and counts from what was recorded.
func (c *Correlator) judge(a *Attempt, st *flowState) {
	st.first = firstAnswer(a, st.script.First, c.burst.Shots[a.Index].Acks)
	switch {
	case st.notSent != "":
		a.Outcome, a.Reason = NotSent, st.notSent
		return
	case a.Via == plan.Kernel:
		a.Outcome = st.kernel
		c.crossCheck(a, st)
	default:
		a.Outcome, a.Reason = c.rawOutcome(a, st)
	}
	if a.Outcome == NotSent {
		return
	}
	c.count(a, st)
	c.localDrop(a, st)
	times(a, st)
}

// firstAnswer is the index of the answer that settled the attempt, or −1: a SYN-ACK to ISS+1, an RST to what was sent first (SYN where
// that is 0), or an ICMP error that ends a connect, whichever came first; a SYN-ACK wins over what came before it.
func firstAnswer(a *Attempt, sent wire.Flags, acks []wire.Seq) int {
	first := -1
	for k := range a.Answers {
		switch ans := &a.Answers[k]; {
		case ans.Kind == SYNACK:
			return k
		case first >= 0:
		case ans.Kind == RST && ans.refuses(a.ISS, sent, acks), ans.Kind == ICMP && ans.Ends():
			first = k
		}
	}
	return first
}

// refuses reports whether an RST is the answer to a SYN, which it acknowledges (RFC 9293 §3.10.7.3), or to an ACK sent first, whose
// acknowledgment number is its sequence number (§3.5.2).
func (ans *Answer) refuses(iss wire.Seq, sent wire.Flags, acks []wire.Seq) bool {
	if sent&wire.ACK != 0 && len(acks) > 0 {
		return ans.Flags&wire.ACK == 0 && slices.Contains(acks, ans.Seq)
	}
	if sent&wire.ACK != 0 {
		return ans.Flags&wire.ACK == 0 && ans.Seq == plan.FirstAck(iss)
	}
	return ans.Flags&wire.ACK != 0 && ans.Ack == iss+1
}

// TooBig reports whether an ICMP error names a smaller MTU: "fragmentation needed" (RFC 1191 §4), in IPv6 "packet too big" (RFC 4443 §3.2).
func (ans *Answer) TooBig() bool {
	if ans.Kind != ICMP {
		return false
	}
	if ans.From.Is6() {
		return ans.ICMPType == 2
	}
	return ans.ICMPType == 3 && ans.ICMPCode == 4
}

// Ends reports whether an ICMP error ends a connect whose SYN is unanswered, as Linux has it (net/ipv4/tcp_ipv4.c tcp_v4_err,
// net/ipv6/tcp_ipv6.c tcp_v6_err, 6.18): every destination-unreachable, time-exceeded and parameter problem does, but for
// "fragmentation needed" and "packet too big".
func (ans *Answer) Ends() bool {
	if ans.From.Is6() {
		return ans.ICMPType != 2
	}
	switch ans.ICMPType {
	case 3:
		return ans.ICMPCode != 4
	case 11, 12:
		return true
	}
	return false
}

func (c *Correlator) rawOutcome(a *Attempt, st *flowState) (Outcome, string) {
	if st.first < 0 {
		return c.unanswered(a, st)
	}
	ans := &a.Answers[st.first]
	switch ans.Kind {
	case RST:
		return Refused, ""
	case ICMP:
		return Unreachable, icmpReason(ans)
	case SYNACK, SYNACKStray, BareACK, Data, FIN, AnswerUnknown:
	}
	if st.script.OnSYNACK == plan.Acknowledge {
		if rst := laterReset(a, st.first); rst != nil {
			return Reset, fmt.Sprintf("RST %s after the SYN-ACK", rst.At.Sub(ans.At).Round(time.Microsecond))
		}
	}
	return Accepted, ""
}

// unanswered is the outcome of a raw attempt that nothing settled.
func (c *Correlator) unanswered(a *Attempt, st *flowState) (Outcome, string) {
	if len(a.SYNs) == 0 {
		return NotSent, "the burst ended before its SYN was due"
	}
	if why, all := refused(a); all {
		if st.dropped {
			return LocalDrop, why
		}
		return NotSent, why
	}
	switch {
	case c.cut == nil:
		return TimedOut, ""
	case c.cut.timedOut:
		return TimedOut, c.cut.why
	}
	return OutcomeUnknown, "interrupted before an answer: " + c.cut.why
}

// refused returns why the last SYN was not taken by the kernel, and whether that holds for all: none was taken or seen leaving.
func refused(a *Attempt) (why string, all bool) {
	for k := range a.SYNs {
		if a.SYNs[k].Refused == "" || !a.SYNs[k].At.IsZero() {
			return "", false
		}
		why = a.SYNs[k].Refused
	}
	return why, true
}

// resetWindow is how far past what we expect next an RST may stand to be the peer's: the largest window without scaling, which is
// what a SYN offers (RFC 9293 §3.10.7.4, RFC 7323 §2.2).
const resetWindow = 1 << 16

// laterReset is the first RST after the SYN-ACK that the peer itself can have sent, or nil. An RST after the peer has sent data or closed
// ends a connection that was served: it answers data that the peer no longer wants (RFC 9293 §3.10.7.4), or crossed our own abort.
func laterReset(a *Attempt, synAck int) *Answer {
	next := a.Answers[synAck].Seq + 1
	for k := synAck + 1; k < len(a.Answers); k++ {
		ans := &a.Answers[k]
		if ans.Kind == Data || ans.Flags&wire.FIN != 0 {
			return nil
		}
		if d := ans.Seq.Sub(next); ans.Kind == RST && d >= 0 && d < resetWindow {
			return ans
		}
	}
	return nil
}

func icmpReason(ans *Answer) string {
	return fmt.Sprintf("ICMP %s from %s", ans.ICMPName, ans.From)
}

// crossCheck holds the kernel's verdict against the tap's.
func (c *Correlator) crossCheck(a *Attempt, st *flowState) {
	seen := AnswerUnknown
	if st.first >= 0 {
		seen = a.Answers[st.first].Kind
	}
	switch a.Outcome {
	case Unreachable:
		if seen == ICMP {
			a.Reason += ": " + icmpReason(&a.Answers[st.first])
		}
	case TimedOut, LocalDrop:
		if seen == SYNACK || seen == RST {
			c.Stray("answer_not_taken")
			a.Reason += "; a " + seen.String() + " reached this host, but its TCP did not take it"
			if repeated(a, st.first) {
				st.first = -1 // nothing was answered as far as the connect goes
			}
		}
	case Accepted:
		c.taken(a, st)
	case OutcomeUnknown, Refused, Reset, NotSent:
	}
}

// taken finds the SYN-ACK that this host's TCP took: no SYN leaves after that, so one that a SYN followed was dropped between the tap
// and the socket (a filter here, rp_filter, a full conntrack table).
func (c *Correlator) taken(a *Attempt, st *flowState) {
	if st.first < 0 || a.Answers[st.first].Kind != SYNACK {
		if c.whole() {
			c.Stray("accepted_without_syn_ack")
		}
		return
	}
	for k := st.first; k < len(a.Answers); k++ {
		if a.Answers[k].Kind == SYNACK && !repeated(a, k) {
			if k != st.first {
				c.Stray("answer_not_taken")
			}
			st.first = k
			return
		}
	}
}

// repeated reports whether a SYN left after answer k had come.
func repeated(a *Attempt, k int) bool {
	n := len(a.SYNs)
	return n > 0 && a.SYNs[n-1].At.After(a.Answers[k].At)
}

// whole reports whether absence can be read from the capture.
func (c *Correlator) whole() bool { return c.obs.Whole() }

// localDrop turns a time-out whose SYNs never left this host into what it is, and a local drop with a SYN on the wire into what that
// is. Both need a tap that lost nothing.
func (c *Correlator) localDrop(a *Attempt, st *flowState) {
	if !c.whole() {
		return
	}
	left := 0
	for k := range a.SYNs {
		if !a.SYNs[k].At.IsZero() {
			left++
		}
	}
	handedOver := len(a.SYNs) > 0 || (a.Kernel != nil && !a.Kernel.Started.IsZero())
	switch {
	case a.Outcome == TimedOut && left == 0 && len(a.Answers) == 0 && handedOver:
		a.Outcome, a.Reason = LocalDrop, "no SYN of this attempt was seen leaving the host"
	case a.Outcome == LocalDrop && left > 0 && st.first < 0:
		a.Outcome = TimedOut
	case a.Outcome == LocalDrop && left > 0:
		a.Outcome = Unreachable
	}
}
