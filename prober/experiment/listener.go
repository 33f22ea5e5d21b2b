package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Times of the bursts about the listener itself.
const (
	// backlogGap keeps the SYNs of a backlog burst in order on their way, and all of them within the first repeat of the first.
	backlogGap = 500 * time.Microsecond
	// backlogWait covers a listener's first repeat: 1 s after the SYN (TCP_TIMEOUT_INIT, include/net/tcp.h), up to 0.5 s later where one timer walks
	// through the table of requests (net/ipv4/inet_connection_sock.c inet_csk_reqsk_queue_prune, 3.10).
	backlogWait = 1700 * time.Millisecond
	// idleWait covers the one repeat of a listener with TCP_DEFER_ACCEPT of 5 s, at 7 s (net/ipv4/inet_connection_sock.c syn_ack_recalc, 6.18), with
	// room for its timer.
	idleWait = 7900 * time.Millisecond
)

// backlog leaves many SYN-ACKs unanswered, and resets them all at the end: requests that the listener keeps repeat their SYN-ACK, those
// beyond its queue are answered by cookie, once, or not at all.
func (v *Investigation) backlog(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: backlogWait + patience(seen), Linger: true}
	b.Arms = []plan.Arm{{Name: "left half-open", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Ignore)}}
	v.shots(&b, 0, v.Backlog, 0, backlogGap)
	return b
}

// idle completes a few handshakes and says nothing for seconds, then sends a line: a listener that sleeps until there are data asks
// once more with its SYN-ACK, and the data heal it.
func (v *Investigation) idle(seen []observe.Observation) plan.Burst {
	wait := patience(seen)
	s := v.script(v.clock(seen), plan.Custom(0, wait), plan.Acknowledge)
	s.Then = plan.Exchange{Data: []byte("\r\n"), DataDelay: idleWait, Close: plan.Abort, CloseDelay: 50 * time.Millisecond}
	b := plan.Burst{Listen: idleWait + 3*wait, Arms: []plan.Arm{{Name: "idle", Via: plan.Raw, Script: s}}}
	v.shots(&b, 0, v.flows(4), 0, 2*time.Millisecond)
	return b
}

// volley sends at one instant as many SYNs as may be half-open, on fresh flows.
func (v *Investigation) volley(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: patience(seen), Arms: []plan.Arm{{Name: "at once", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)}}}
	v.shots(&b, 0, v.flows(max(16, v.Burst)), 0, 0)
	return b
}
