package profile

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

const (
	// fillAfter is when requests are completed: once all of them are half-open, and before the first SYN-ACK is repeated.
	fillAfter = 600 * time.Millisecond
	// fillWait covers a SYN-ACK that is repeated because its ACK was dropped.
	fillWait = 1500 * time.Millisecond
)

// fill makes as many requests as were kept half-open, and completes them all at once. The queue of requests and that of connections have one bound
// (include/net/inet_connection_sock.h inet_csk_reqsk_queue_is_full, include/net/sock.h sk_acceptq_is_full, 6.18): whoever already waits to be accepted makes
// the last ones too many. A server that accepts in time shows nothing.
func (s *Survey) fill(seen []observe.Observation) plan.Burst {
	r := reader{seen: seen}
	script := s.script(wire.LinuxSYN(s.MSS, wire.TSval(s.Rand.Uint32()), scale), wire.TSval(s.Rand.Uint32()))
	script.OnSYNACK, script.Ladder = plan.Acknowledge, plan.Single()
	script.Then = plan.Exchange{AckDelay: fillAfter, Withhold: true, Close: plan.Abort, CloseDelay: fillWait}
	b := plan.Burst{Label: "overflow", Kind: plan.KindProfile, Listen: fillAfter + fillWait + 200*time.Millisecond,
		Arms: []plan.Arm{{Name: armFill, Via: plan.Raw, Script: script}}}
	for i := range r.held() {
		s.shot(&b, 0, time.Duration(i)*backlogGap)
	}
	return b
}

// held is how many requests of the backlog burst were kept: their SYN-ACKs were repeated.
func (r *reader) held() (n int) {
	for a := range r.arm(armHalf) {
		count := 0
		for k := range a.Answers {
			if a.Answers[k].Kind == observe.SYNACK {
				count++
			}
		}
		if count > 1 {
			n++
		}
	}
	return n
}

// full is what an ACK met where the accept queue was full.
type full uint8

const (
	fullNot    full = iota // taken
	fullReset              // a bare RST at once (net/ipv4/tcp_minisocks.c tcp_check_req, with tcp_abort_on_overflow, 6.18)
	fullRepeat             // nothing, and later the SYN-ACK again
)

// readFull reads one connection. An RST of the application's own close has the ACK bit, and is none.
func readFull(a *observe.Attempt, ans *observe.Answer) full {
	acked := a.Sent[0].At
	for k := range a.Answers {
		x := &a.Answers[k]
		switch soon := x.At.Sub(acked) < a.RTT+late; {
		case x.At.Before(acked):
		case x.Kind == observe.RST && x.Flags&wire.ACK == 0 && x.Seq == ans.Seq+1 && soon:
			return fullReset
		case x.Kind == observe.SYNACK && !soon:
			return fullRepeat
		}
	}
	return fullNot
}

// abortOnOverflow reads what ACKs met that found the accept queue full.
func (r *reader) abortOnOverflow(v *Value) {
	count, made := map[full]int{}, 0
	for a := range r.arm(armFill) {
		if ans := synACK(a); ans != nil && len(a.Sent) > 0 {
			made++
			count[readFull(a, ans)]++
		}
	}
	defers := Value{}
	r.deferAccept(&defers)
	switch v.Seen = made - count[fullNot]; {
	case !r.has(armFill):
		v.fail(NotAsked)
	case made == 0:
		v.fail("no connection was made")
	case v.Seen == 0:
		v.fail(fmt.Sprintf("the accept queue did not overflow: the server took all of %d connections", made))
	case defers.State != Measured || defers.Text != "no":
		v.fail("the listener may wait for data: its SYN-ACKs are repeated to completed connections, full or not")
	case count[fullReset] > 0 && count[fullRepeat] > 0:
		v.fail(fmt.Sprintf("of %d connections %d were reset and %d had their SYN-ACK repeated", made, count[fullReset], count[fullRepeat]))
	case count[fullReset] == made:
		v.fail("every connection was reset: that is no full queue")
	case count[fullReset] > 0:
		v.text("on")
	default:
		v.text("off")
	}
	if v.Known() {
		v.How += fmt.Sprintf("; it had no room for %d of %d", v.Seen, made)
	}
}
