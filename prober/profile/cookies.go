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

// lateACKs reads what ACKs met that came long after a SYN-ACK which was never repeated. A request that is kept is repeated, or forgotten with its
// first timer (1 s, RFC 6298; 3 s before, RFC 1122 §4.2.3.1), and its ACK meets an RST; only what the ACK itself carries is taken then.
func (r *reader) lateACKs(v *Value) {
	var t tally
	for a := range r.arm(armLate) {
		switch stood, known := lateACK(a); {
		case !known:
		case stood:
			t.add("yes")
		default:
			t.add("no")
		}
	}
	const unrepeated = "no SYN-ACK was repeated: a SYN cookie, tcp_synack_retries=0 or a proxy in front"
	switch v.Seen = t.n; {
	case len(t.count) == 1 && t.n > 1:
		t.settle(v)
		v.How += fmt.Sprintf("; then ACKs %s after the SYN-ACK: ", lateAfter)
		if v.Text == "yes" {
			v.How += "they were taken, when no request could be left"
			return
		}
		v.How += "they met an RST, so the request was forgotten without a repeat (tcp_synack_retries=0)"
	case len(t.count) > 1:
		v.fail(unrepeated + "; late ACKs met a connection on one flow and an RST on another")
	case r.has(armLate):
		v.fail(unrepeated + "; late ACKs drew no answer")
	default:
		v.fail(unrepeated)
	}
}

func (r *reader) has(arm string) bool { return asked(r.seen, arm) }

// lateACK is whether a connection stood once its late ACK had come: it answers an empty segment of ours. known is false where neither that nor an RST
// came, or the SYN-ACK was repeated before.
func lateACK(a *observe.Attempt) (stood, known bool) {
	ans := synACK(a)
	if ans == nil || len(a.Sent) == 0 || a.Sent[0].Flags&wire.RST != 0 {
		return false, false
	}
	acked := a.Sent[0].At
	for k := range a.Answers {
		switch x := &a.Answers[k]; {
		case x.Kind == observe.SYNACK && x != ans:
			return false, false
		case x.At.Before(acked):
		case x.Kind == observe.RST:
			return false, true
		case x.Kind == observe.BareACK && x.Ack == a.ISS+1 && x.Seq == ans.Seq+1, x.Kind == observe.Data:
			return true, true
		}
	}
	return false, false
}
