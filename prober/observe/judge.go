package observe

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// judge derives an attempt's outcome and counts from what was recorded.
func (c *Correlator) judge(a *Attempt, st *flowState) {
	first := firstAnswer(a)
	switch {
	case st.notSent != "":
		a.Outcome, a.Reason = NotSent, st.notSent
		return
	case a.Via == plan.Kernel:
		a.Outcome = st.kernel
		c.judgeKernel(a, first)
	default:
		a.Outcome, a.Reason = rawOutcome(a, st, first)
	}
	c.count(a, first)
	c.localDrop(a)
	c.times(a, first)
}

// firstAnswer is the index of the answer that settled the attempt, or −1: a SYN-ACK to ISS+1, an RST that acknowledges the
// SYN, or an ICMP error, whichever came first; a SYN-ACK wins over an ICMP error before it.
func firstAnswer(a *Attempt) int {
	first := -1
	for k := range a.Answers {
		ans := &a.Answers[k]
		switch {
		case ans.Kind == SYNACK:
			return k
		case ans.Kind == RST && ans.Flags&wire.ACK != 0 && ans.Ack == a.ISS+1 && first < 0:
			return k
		case ans.Kind == ICMP && first < 0:
			first = k
		}
	}
	return first
}

func rawOutcome(a *Attempt, st *flowState, first int) (Outcome, string) {
	if first < 0 {
		if len(a.SYNs) == 0 {
			return NotSent, "the burst ended before its SYN was due"
		}
		return TimedOut, ""
	}
	ans := &a.Answers[first]
	switch ans.Kind {
	case RST:
		return Refused, ""
	case ICMP:
		return Unreachable, icmpReason(ans)
	case SYNACK, SYNACKStray, BareACK, Data, FIN, AnswerUnknown:
	}
	if st.reaction == plan.Acknowledge {
		for k := first + 1; k < len(a.Answers); k++ {
			if a.Answers[k].Kind == RST {
				return Reset, fmt.Sprintf("RST %s after the SYN-ACK", a.Answers[k].At.Sub(ans.At).Round(time.Microsecond))
			}
		}
	}
	return Accepted, ""
}

func icmpReason(ans *Answer) string {
	return fmt.Sprintf("ICMP %s from %s", ans.ICMPName, ans.From)
}

// judgeKernel adds to the kernel's verdict what the tap knows of it.
func (c *Correlator) judgeKernel(a *Attempt, first int) {
	if a.Outcome == Unreachable && first >= 0 && a.Answers[first].Kind == ICMP {
		a.Reason += ": " + icmpReason(&a.Answers[first])
	}
}

// count finds which SYN was answered and how many were lost, and says what that rests on.
func (c *Correlator) count(a *Attempt, first int) {
	seen, handed := len(a.SYNs), 0
	for k := range a.SYNs {
		if !a.SYNs[k].Handed.IsZero() {
			handed++
		}
	}
	before := seen
	if first >= 0 {
		before = 0
		for k := range a.SYNs {
			if leftBefore(&a.SYNs[k], a.Answers[first].At) {
				before++
			}
		}
	}
	a.Retransmissions = max(before-1, 0)
	a.LostBy = ByCapture
	if a.Kernel != nil {
		c.countKernel(a, before)
	}
	if !c.obs.Captured && a.Kernel == nil {
		a.LostBy = ProofUnknown
	}
	a.Lost = a.Retransmissions
	if first < 0 || a.Answers[first].Kind == ICMP {
		if a.Outcome == TimedOut || a.Outcome == LocalDrop {
			a.Lost = a.Retransmissions + 1
		}
		return
	}
	c.echoed(a, &a.Answers[first], before)
}

func leftBefore(s *SYN, t time.Time) bool {
	at := s.At
	if at.IsZero() {
		at = s.Handed
	}
	return at.Before(t)
}

// countKernel sets the kernel's count against the tap's. The kernel counts a repeat when its timer fires, whether or not the
// segment leaves the host: what it counts beyond the tap was lost inside.
func (c *Correlator) countKernel(a *Attempt, before int) {
	if !a.Kernel.HasInfo {
		return
	}
	kernel := int(a.Kernel.Info.TotalRetrans)
	a.LostBy = ByTCPInfo
	if c.obs.Captured {
		a.Unseen = max(kernel+1-before, 0)
		if a.Unseen == 0 && kernel == a.Retransmissions {
			a.LostBy = ByBoth
		}
	}
	a.Retransmissions = max(kernel, a.Retransmissions)
}

// echoed finds the SYN whose TSval the answer echoes (RFC 7323 §3.2). With equal TSvals on several SYNs, or an echo that is
// none of ours, nothing follows from it.
func (c *Correlator) echoed(a *Attempt, ans *Answer, before int) {
	if before == 1 && a.Unseen == 0 {
		a.Answered = 0
	}
	if !ans.HasTS {
		return
	}
	match, n := -1, 0
	for k := range a.SYNs[:before] {
		if a.SYNs[k].HasTS && a.SYNs[k].TSval == ans.TSecr {
			match, n = k, n+1
		}
	}
	if n != 1 {
		return
	}
	a.Answered = match
	a.Lost = match + a.Unseen
	if a.Retransmissions > 0 {
		a.LostBy = ByTSecr
	}
}

// localDrop turns a time-out whose SYNs never left this host into what it is. It needs a tap that lost nothing.
func (c *Correlator) localDrop(a *Attempt) {
	if !c.obs.Captured || c.obs.CaptureDrops > 0 || (a.Outcome != TimedOut && a.Outcome != Unreachable) {
		return
	}
	for k := range a.SYNs {
		if !a.SYNs[k].At.IsZero() {
			return
		}
	}
	if len(a.Answers) == 0 && (len(a.SYNs) > 0 || a.Kernel != nil) && a.Outcome == TimedOut {
		a.Outcome = LocalDrop
		a.Reason = "no SYN of this attempt was seen leaving the host"
	}
}

// times derives RTT and handshake duration, from the tap where both ends are on it.
func (c *Correlator) times(a *Attempt, first int) {
	if first < 0 || (a.Answers[first].Kind != SYNACK && a.Answers[first].Kind != RST) {
		a.userTimes()
		return
	}
	ans := &a.Answers[first]
	if len(a.SYNs) > 0 && !a.SYNs[0].At.IsZero() {
		a.Clock = TapClock
		a.Handshake = ans.At.Sub(a.SYNs[0].At)
		last := a.Retransmissions - a.Unseen
		if a.Answered >= 0 && a.Answered == last && last < len(a.SYNs) && !a.SYNs[a.Answered].At.IsZero() {
			a.RTT = ans.At.Sub(a.SYNs[a.Answered].At)
		}
	}
	if a.Unseen > 0 && a.Kernel != nil {
		// The first SYN never left: the wait counts from connect(2).
		a.Clock = UserClock
		a.Handshake = a.Kernel.Completed.Sub(a.Kernel.Started)
	}
	if a.Clock == ClockUnknown {
		a.userTimes()
	}
}

func (a *Attempt) userTimes() {
	if a.Kernel == nil || a.Kernel.Completed.IsZero() {
		return
	}
	a.Clock = UserClock
	a.Handshake = a.Kernel.Completed.Sub(a.Kernel.Started)
	if a.Outcome == Accepted && a.Kernel.HasInfo {
		a.RTT = a.Kernel.Info.RTT
	}
}

// judgeLateness compares late answers with the fastest plain round trip to the same destination in the burst.
func judgeLateness(attempts []Attempt) {
	base := map[netip.AddrPort]time.Duration{}
	for i := range attempts {
		a := &attempts[i]
		if a.RTT <= 0 || a.Retransmissions > 0 {
			continue
		}
		if r, ok := base[a.Flow.Dst]; !ok || a.RTT < r {
			base[a.Flow.Dst] = a.RTT
		}
	}
	for i := range attempts {
		a := &attempts[i]
		first := firstAnswer(a)
		last := a.Retransmissions - a.Unseen
		if first < 0 || a.Answered < 0 || a.Answered >= last || last >= len(a.SYNs) {
			continue
		}
		since := a.Answers[first].At.Sub(a.SYNs[last].At)
		a.Late = lateness(since, base[a.Flow.Dst])
	}
}

// lateness: no answer can come faster than the fastest round trip seen, less a tenth for its jitter; one that comes within twice
// of it and 10 ms is the answer to the repeat.
func lateness(since, base time.Duration) Lateness {
	switch {
	case base == 0:
		return LateAmbiguous
	case since < base-base/10:
		return LateSlow
	case since <= 2*base+10*time.Millisecond:
		return LateAnswerLost
	}
	return LateSlow
}
