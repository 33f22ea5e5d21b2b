package profile

import (
	"fmt"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// cookieBits are the low bits of a TSval in which a SYN cookie keeps the options of the SYN, the same for all that offer the same
// (net/ipv4/syncookies.c cookie_init_timestamp, TSBITS, 2.6.32 to 6.18), unless an offset for each connection is added; cookieFlows of them agree by chance once in 64⁵.
const (
	cookieBits  = 63
	cookieFlows = 6
)

// synCookies: a request that is kept is repeated; that none is has several reasons. A cookie shows in the TSvals, or by what a late ACK meets.
func (r *reader) synCookies(v *Value) {
	list := r.rungs()
	if slices.ContainsFunc(list, func(g rung) bool { return g.repeats > 0 }) {
		v.text("no")
		v.Seen = len(list)
		return
	}
	yes, n := r.cookieBits()
	if v.Seen = n; yes {
		v.text("yes")
		v.How += " (they all end in the same six bits)"
		return
	}
	r.lateACKs(v)
}

// cookieBits reports whether all TSvals that answered the same options end alike, and how many flows that rests on.
func (r *reader) cookieBits() (yes bool, n int) {
	low := wire.TSval(0)
	for _, ans := range r.answers(armFull, armAlone) {
		if !ans.HasTS || n > 0 && ans.TSval&cookieBits != low {
			return false, 0
		}
		low = ans.TSval & cookieBits
		n++
	}
	return n >= cookieFlows, n
}

// lateEnd is what an ACK met that came long after a SYN-ACK which was not repeated before.
type lateEnd uint8

const (
	lateUnknown   lateEnd = iota
	lateTaken             // a connection stands: the ACK carried all that it is made of
	lateForgotten         // a bare RST, as from a listener that has no such request (RFC 9293 §3.10.7.2)
	lateKept              // the SYN-ACK was repeated before, after all
)

// lateACKs reads what late ACKs met. A request that is kept is repeated, or forgotten with its first timer (1 s, RFC 6298; 3 s before, RFC 1122
// §4.2.3.1), and its ACK meets an RST; only what the ACK itself carries is taken then.
func (r *reader) lateACKs(v *Value) {
	count, n := map[lateEnd]int{}, 0
	for a := range r.arm(armLate) {
		if x := readLate(a); x != lateUnknown {
			count[x]++
			n++
		}
	}
	const unrepeated = "no SYN-ACK was repeated: a SYN cookie, tcp_synack_retries=0 or a proxy in front"
	switch v.Seen = n; {
	case !r.has(armLate):
		v.fail(unrepeated)
	case count[lateKept] > 0:
		v.text("no")
	case n < 2:
		v.fail(unrepeated + "; late ACKs drew no answer")
	case count[lateTaken] == n:
		v.text("yes")
		v.How += fmt.Sprintf("; ACKs %s after the SYN-ACK were taken, when no request could be left", lateAfter)
	case count[lateForgotten] == n:
		v.text("no")
		v.How += fmt.Sprintf("; ACKs %s after the SYN-ACK met an RST: the request was forgotten without a repeat (tcp_synack_retries=0)", lateAfter)
	default:
		v.fail(unrepeated + "; late ACKs met a connection on one flow and an RST on another")
	}
}

func (r *reader) has(arm string) bool { return asked(r.seen, arm) }

// readLate reads one connection: where one stands it answers an empty segment of ours, sends data, or ends it with an RST that has the ACK bit.
func readLate(a *observe.Attempt) lateEnd {
	ans := synACK(a)
	if ans == nil || len(a.Sent) == 0 || a.Sent[0].Flags&wire.RST != 0 {
		return lateUnknown
	}
	acked := a.Sent[0].At
	for k := range a.Answers {
		switch x := &a.Answers[k]; {
		case x.Kind == observe.SYNACK && x != ans:
			return lateKept
		case x.At.Before(acked):
		case x.Kind == observe.RST && x.Flags&wire.ACK == 0:
			return lateForgotten
		case x.Kind == observe.RST, x.Kind == observe.Data, x.Kind == observe.FIN:
			return lateTaken
		case x.Kind == observe.BareACK && x.Ack == a.ISS+1 && x.Seq == ans.Seq+1:
			return lateTaken
		}
	}
	return lateUnknown
}
