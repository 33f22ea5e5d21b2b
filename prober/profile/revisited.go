package profile

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// What a SYN into TIME_WAIT met.
const (
	met        = "accepted"
	metACK     = "challenge ACK"
	metRST     = "rst"
	metSilence = "silent"
)

// ReadTimeWait makes the values of a Revisit's observations. stampless says why no connection with timestamps was made; empty: some were.
func ReadTimeWait(seen []observe.Observation, stampless string) []Value {
	r := reader{seen: seen}
	var out []Value
	for _, n := range []Name{TimeWaitISN, TimeWaitTimestamp, TimeWaitOldISN, TimeWaitOldStamp, TimeWaitRST} {
		t, _ := TraitOf(n)
		v := Value{Name: t.Name, Unit: t.Unit, How: t.Method}
		stamped := n == TimeWaitTimestamp || n == TimeWaitOldStamp
		switch gaps := r.gaps(); {
		case gaps != "":
			v.fail(gaps)
		case stamped && stampless != "":
			v.fail(stampless)
		default:
			r.revisited(&v)
		}
		out = append(out, v)
	}
	return out
}

// unclosed says why there was no TIME_WAIT to come back to.
func (r *reader) unclosed() string {
	made := 0
	for a := range r.arm(armClosed1st, armStamped) {
		if _, ok := closedFirst(a); ok {
			return "the connection that it was to come back to was not closed to its end"
		}
		if synACK(a) != nil {
			made++
		}
	}
	if made == 0 {
		return "no connection was made"
	}
	return "the server does not close first: give a request after which it does (--request)"
}

func (r *reader) revisited(v *Value) {
	arm := map[Name]string{TimeWaitISN: armHigher, TimeWaitTimestamp: armNewer, TimeWaitOldISN: armLower, TimeWaitOldStamp: armOlder, TimeWaitRST: armKilled}[v.Name]
	t, out := r.meets(arm)
	if t.n == 0 {
		v.fail(r.unclosed())
		return
	}
	if v.Name == TimeWaitRST {
		r.killed(v, &t)
		return
	}
	if t.settle(v); v.State == Measured && v.Text == metSilence && !r.spoke() {
		v.fail("nothing was answered any more")
	}
	if out > 0 && v.Text == met {
		v.How += "; the host's number followed that of the old connection, as Linux answers out of TIME_WAIT"
	}
}

// killed reads what a SYN met that only a connection without TIME_WAIT takes.
func (r *reader) killed(v *Value, t *tally) {
	held, _ := r.meets(armLower)
	switch v.Seen = t.n; {
	case len(held.count) != 1 || len(t.count) != 1:
		v.fail("flows disagree, or nothing was kept to compare with")
	case held.count[met] > 0:
		v.fail("the host keeps no TIME_WAIT that an RST could end: it accepts such SYNs anyway")
	case t.count[met] > 0:
		v.text("ends it")
	case held.count[metACK] > 0 && t.count[metACK] > 0:
		v.text("ignored")
	default:
		v.fail(fmt.Sprintf("what came back does not tell: %s", v.How))
	}
}

// spoke reports whether any SYN into TIME_WAIT was answered: silence to others is no loss of reach then.
func (r *reader) spoke() bool {
	for _, arm := range []string{armHigher, armLower, armNewer, armOlder} {
		if t, _ := r.meets(arm); t.n > t.count[metSilence] {
			return true
		}
	}
	return false
}

// linuxSkip is how far past the old connection's last number Linux begins one that it accepts out of TIME_WAIT (net/ipv4/tcp_minisocks.c
// tcp_timewait_state_process, 2.6.32 to 6.18).
const linuxSkip = 65535 + 2

// meets tallies what an arm's SYNs met, and how many of the host's numbers followed the old connection's.
func (r *reader) meets(arm string) (t tally, follows int) {
	old := map[string]kept{}
	for a := range r.arm(armClosed1st, armStamped) {
		if k, ok := closedFirst(a); ok {
			old[fmt.Sprint(k.flow)] = k
		}
	}
	for a := range r.arm(arm) {
		k, ok := old[fmt.Sprint(a.Flow)]
		if !ok || a.Outcome == observe.NotSent || a.Outcome == observe.LocalDrop || a.Outcome == observe.OutcomeUnknown {
			continue
		}
		text := metSilence
		for i := range a.Answers {
			x := &a.Answers[i]
			switch {
			case x.Kind == observe.SYNACK:
				text = met
				if x.Seq == k.peer.Add(linuxSkip) {
					follows++
				}
			case x.Kind == observe.RST:
				text = metRST
			case x.Kind == observe.BareACK && x.Ack == k.next && x.Seq == k.peer:
				text = metACK
			default:
				continue
			}
			break
		}
		t.add(text)
	}
	if lost := t.count[metSilence]; lost < t.n { // a loss, where other flows were answered
		delete(t.count, metSilence)
		t.n -= lost
	}
	return t, follows
}
