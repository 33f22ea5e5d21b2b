package observe

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// times derives RTT and handshake duration, from the tap where both ends are on it.
func times(a *Attempt, st *flowState) {
	if st.first < 0 || (a.Answers[st.first].Kind != SYNACK && a.Answers[st.first].Kind != RST) {
		a.userTimes()
		return
	}
	ans := &a.Answers[st.first]
	if k := a.Answered; k >= 0 && k == st.before-1 && !a.SYNs[k].At.IsZero() {
		a.RTT = max(ans.At.Sub(a.SYNs[k].At), 0) // a wall clock set back must not make a round trip
	}
	switch {
	case a.Kernel != nil && (a.Unseen > 0 || len(a.SYNs) == 0):
		// The first SYN never left, or was not seen to: the wait counts from connect(2).
		a.userTimes()
	case len(a.SYNs) == 0:
	case a.SYNs[0].At.IsZero():
		a.Clock, a.Handshake = UserClock, max(ans.At.Sub(a.SYNs[0].Handed), 0)
	default:
		a.Clock, a.Handshake = TapClock, max(ans.At.Sub(a.SYNs[0].At), 0)
	}
}

// userTimes takes the kernel connect's own duration, and its round trip where the tap has none.
func (a *Attempt) userTimes() {
	if a.Kernel == nil || a.Kernel.Completed.IsZero() || a.Kernel.Started.IsZero() {
		return
	}
	a.Clock = UserClock
	a.Handshake = max(a.Kernel.Completed.Sub(a.Kernel.Started), 0)
	if a.RTT == 0 && a.Outcome == Accepted && a.Kernel.HasInfo {
		a.RTT = a.Kernel.Info.RTT
	}
}

// plain is the spread of the round trips to one destination that no retransmission blurs; fastest 0: there are none.
type plain struct{ fastest, slowest time.Duration }

// plains are the plain round trips of the burst, by destination.
func (c *Correlator) plains() map[netip.AddrPort]plain {
	base := map[netip.AddrPort]plain{}
	for i := range c.obs.Attempts {
		a := &c.obs.Attempts[i]
		if a.RTT <= 0 || a.Retransmissions > 0 {
			continue
		}
		b, ok := base[a.Flow.Dst]
		if !ok || a.RTT < b.fastest {
			b.fastest = a.RTT
		}
		b.slowest = max(b.slowest, a.RTT)
		base[a.Flow.Dst] = b
	}
	return base
}

// judgeLateness compares late answers with the plain round trips to the same destination in the burst.
func (c *Correlator) judgeLateness() {
	base, held := c.plains(), c.letGo()
	for i := range c.obs.Attempts {
		a, st := &c.obs.Attempts[i], &c.state[i]
		c.judgeAlone(a, st, base[a.Flow.Dst])
		last := st.before - 1
		if st.first < 0 || a.Answered < 0 || a.Answered >= last || a.SYNs[last].At.IsZero() {
			continue
		}
		c.judgeRepeated(a, st, base[a.Flow.Dst], held[i])
	}
}

// judgeRepeated looks at an answer that echoes a SYN which had been repeated when it came; held: it came together with others that were held back.
func (c *Correlator) judgeRepeated(a *Attempt, st *flowState, b plain, held bool) {
	last, came := st.before-1, a.Answers[st.first].At
	since := came.Sub(a.SYNs[last].At)
	var gap time.Duration
	if before := a.SYNs[last-1].At; !before.IsZero() {
		gap = a.SYNs[last].At.Sub(before)
	}
	if len(c.obs.Neighbor) > 0 && since <= gap/50 {
		// Somebody was being asked for: the plain round trips may hold that wait, and say nothing of the path.
		b = plain{}
	}
	a.Late = lateness(since, gap, b)
	switch listener := c.repeatOfListener(came.Sub(a.SYNs[a.Answered].At), b.fastest); {
	case listener && a.Late == LateSlow:
		a.Late = LateAnswerLost
	case !listener && held:
		a.Late = LateSlow
	case !listener && (a.Late == LateAnswerLost || a.Late == LateAmbiguous && a.Answered == last-1):
		a.Late = c.eachAnswered(a, st.first, b.fastest)
	}
}

// eachAnswered judges an answer that may be the one to a repeat, off the listener's own ladder, by what followed it: another of the same echo is the
// repeat's, since a listener sends one for each (and no more at once: tcp_oow_rate_limited, net/ipv4/tcp_input.c, 6.18), and then the first one was not
// lost but held back, as by a host that was not given a processor. Where their TSvals are equal as well, a path that doubles packets looks the same.
func (c *Correlator) eachAnswered(a *Attempt, first int, fastest time.Duration) Lateness {
	was := &a.Answers[first]
	for i := first + 1; i < len(a.Answers); i++ {
		next := &a.Answers[i]
		same := next.Kind == SYNACK && next.Ack == was.Ack && next.HasTS && next.TSecr == was.TSecr
		if !same || c.repeatOfListener(next.At.Sub(a.SYNs[a.Answered].At), fastest) {
			continue
		}
		if was.TSval.Before(next.TSval) {
			return LateSlow
		}
		return LateAmbiguous
	}
	return a.Late
}

// farAbove is how much longer than the fastest round trip an answer to an only SYN must take to be held against a listener's ladder.
const farAbove = 500 * time.Millisecond

// judgeAlone looks at an answer to a SYN that had not been repeated when it came: where others had theirs long before, and it came when a listener
// repeats, the listener's own repeat was faster than ours, and its first answer was lost. Its wait is then no round trip.
func (c *Correlator) judgeAlone(a *Attempt, st *flowState, b plain) {
	if st.first < 0 || a.Answers[st.first].Kind != SYNACK || a.Retransmissions > 0 || a.RTT < b.fastest+farAbove || b.fastest == 0 {
		return
	}
	if c.repeatOfListener(a.RTT, b.fastest) {
		a.Late, a.RTT = LateAnswerLost, 0
	}
}

// repeatOfListener reports whether an answer that came so long after its SYN is likely the listener's own repeat, where the fastest plain round trip
// is known. Where somebody was being asked for, that may hold the wait for him, which the repeat did not have.
func (c *Correlator) repeatOfListener(total, fastest time.Duration) bool {
	for _, rto := range plan.ListenerRTOs() {
		if plan.OnListenerRung(total-fastest, rto) || len(c.obs.Neighbor) > 0 && plan.OnListenerRung(total, rto) {
			return true
		}
	}
	return false
}

// atOnce is the part of the time between two repeats within which a merely slow answer seldom falls behind the second.
const atOnce = 50

// uneven reports whether round trips differ so much that the fastest of them is no bound on what others may take.
func (b plain) uneven() bool { return b.slowest > 2*b.fastest }

// lateness judges an answer that came since after a repeat, and gap after that the one before it. No answer can come faster than
// the fastest round trip seen, less a tenth for its jitter, unless those seen differ much; one that comes within twice of it and 10 ms is the answer to the
// repeat. Between that and the slowest round trip seen it may be either. With no round trip to compare with, only an
// answer within a tenth of the gap is taken for the repeat's: a merely slow one falls there once in ten times.
func lateness(since, gap time.Duration, b plain) Lateness {
	switch {
	case b.fastest == 0 && since <= gap/10:
		return LateAnswerLost
	case b.fastest == 0:
		return LateAmbiguous
	case since < b.fastest-b.fastest/10 && b.uneven() && since <= gap/atOnce:
		return LateAmbiguous
	case since < b.fastest-b.fastest/10:
		return LateSlow
	case since <= 2*b.fastest+10*time.Millisecond:
		return LateAnswerLost
	case since <= b.slowest:
		return LateAmbiguous
	}
	return LateSlow
}
