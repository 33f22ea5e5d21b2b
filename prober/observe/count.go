package observe

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// count finds which SYN was answered and how many were lost, and says what that rests on.
func (c *Correlator) count(a *Attempt, st *flowState) {
	st.before = len(a.SYNs)
	if st.first >= 0 {
		st.before = leftBefore(a.SYNs, a.Answers[st.first].At)
	}
	a.Retransmissions = max(st.before-1, 0)
	if c.obs.Captured {
		a.LostBy = ByCapture
	}
	if a.Via == plan.Kernel {
		c.countKernel(a)
	} else {
		c.countRaw(a, st.before)
	}
	a.Lost = a.Retransmissions
	if st.first < 0 || a.Answers[st.first].Kind == ICMP {
		if a.Outcome == TimedOut || a.Outcome == LocalDrop {
			a.Lost++
		}
		return
	}
	c.echoed(a, st)
}

// leftBefore counts the SYNs that had left by t.
func leftBefore(syns []SYN, t time.Time) int {
	n := 0
	for k := range syns {
		at := syns[k].At
		if at.IsZero() {
			at = syns[k].Handed
		}
		if at.Before(t) {
			n++
		}
	}
	return n
}

// countKernel sets the kernel's count against the tap's. The kernel counts a repeat when its timer fires, whether or not the
// segment leaves the host: what it counts beyond the tap was lost inside.
func (c *Correlator) countKernel(a *Attempt) {
	if a.Kernel == nil || !a.Kernel.HasInfo {
		return
	}
	counted := int(a.Kernel.Info.TotalRetrans)
	switch {
	case !c.whole():
		a.LostBy = ByTCPInfo
	case counted == a.Retransmissions && len(a.SYNs) > counted:
		a.LostBy = ByBoth
	default:
		a.LostBy = ByTCPInfo
		a.Unseen = max(counted+1-len(a.SYNs), 0)
	}
	a.Retransmissions = max(counted, a.Retransmissions)
}

// countRaw counts what we handed over and the tap did not see.
func (c *Correlator) countRaw(a *Attempt, before int) {
	if !c.whole() {
		return
	}
	for k := range a.SYNs[:before] {
		if a.SYNs[k].At.IsZero() {
			a.Unseen++
		}
	}
}

// echoed finds the SYN whose TSval the answer echoes (RFC 7323 §3.2). With equal TSvals on several SYNs, or an echo that is
// none of ours, nothing follows from it.
func (c *Correlator) echoed(a *Attempt, st *flowState) {
	if st.before == 1 && a.Unseen == 0 && a.Retransmissions == 0 {
		a.Answered = 0
	}
	ans := &a.Answers[st.first]
	if !ans.HasTS {
		return
	}
	match, n := -1, 0
	for k := range a.SYNs[:st.before] {
		if a.SYNs[k].HasTS && a.SYNs[k].TSval == ans.TSecr {
			match, n = k, n+1
		}
	}
	if n != 1 {
		return
	}
	a.Answered = match
	a.Lost = match
	if a.Via == plan.Kernel {
		a.Lost += c.unseenBefore(a, match)
	}
	if a.Retransmissions > 0 {
		a.LostBy = ByTSecr
	}
}

// promptly is how soon after connect(2) the first SYN leaves, if it leaves: well before any repeat. The soonest repeat comes half a second
// after a SYN that the host's own queue refused (TCP_RESOURCE_PROBE_INTERVAL, net/ipv4/tcp_timer.c tcp_retransmit_timer, 6.18; seen).
const promptly = 250 * time.Millisecond

// unseenBefore is how many of the SYNs that a kernel attempt lost inside this host came before SYN k on the tap: none where k is
// the first of all, else all of them as far as can be known.
func (c *Correlator) unseenBefore(a *Attempt, k int) int {
	if a.Unseen == 0 {
		return 0
	}
	if k == 0 && !a.Kernel.Started.IsZero() && a.SYNs[0].At.Sub(a.Kernel.Started) < promptly {
		return 0
	}
	return a.Unseen
}
