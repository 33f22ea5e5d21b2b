package diagnose

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// fate is what became of one flow's SYNs.
type fate struct {
	a    *observe.Attempt
	obs  int // index of its observation
	kind plan.Kind
	// answered: a SYN-ACK to ISS+1, or an RST that acknowledges it, came.
	answered bool
	// sent counts the SYNs that left before the answer, or in all.
	sent int
	// forward and back count the SYNs before the answered one, and the answers lost after it, where the echo tells them apart;
	// unknown counts those it does not.
	forward, back, unknown int
}

// lost counts the SYNs that had no effect in time.
func (f *fate) lost() int { return f.forward + f.back + f.unknown }

// fates reads the flows of trusted bursts that no finding has explained yet, of the given kinds (all, if none is given). Attempts that
// were not sent, or that an ICMP error ended, are left out: they are other rules'.
func fates(in *Input, kinds ...plan.Kind) []fate {
	out := make([]fate, 0, in.size())
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) || in.explained[i] || (len(kinds) > 0 && !slices.Contains(kinds, o.Kind)) || o.Kind == plan.KindParity {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if f, ok := readFate(a); ok {
				f.obs, f.kind = i, o.Kind
				out = append(out, f)
			}
		}
	}
	return out
}

func readFate(a *observe.Attempt) (fate, bool) {
	f := fate{a: a}
	switch a.Outcome {
	case observe.Accepted, observe.Reset, observe.Refused:
		f.answered = true
		f.sent = a.Retransmissions + 1
	case observe.TimedOut:
		f.sent = len(a.SYNs)
		f.unknown = f.sent
		return f, f.sent > 0 && a.Unseen == 0 && !answeredOddly(a)
	case observe.OutcomeUnknown, observe.Unreachable, observe.NotSent, observe.LocalDrop:
		return f, false
	}
	if a.Late == observe.LateSlow || a.Late == observe.LateAmbiguous || a.Unseen > 0 {
		return f, a.Late == observe.LateSlow && a.Unseen == 0
	}
	if a.Answered < 0 {
		f.unknown = a.Retransmissions
		return f, true
	}
	f.forward = a.Answered
	f.back = answersLost(a)
	return f, true
}

// invalidRateLimit is how often Linux answers repeats of a SYN that it has a request for: once in 500 ms, the first repeat at once
// (net.ipv4.tcp_invalid_ratelimit, tcp_oow_rate_limited in net/ipv4/tcp_input.c, since 4.0).
const invalidRateLimit = 500 * time.Millisecond

// answersLost counts the answers that must have been sent and did not come before the one that did: one for the SYN that made the request and one
// for each repeat that a listener answers.
func answersLost(a *observe.Attempt) int {
	if a.Late == observe.LateAnswerLost && a.Retransmissions == 0 {
		return 1 // the listener repeated it by itself
	}
	n := 0
	var last time.Time
	for k := a.Answered + 1; k <= a.Retransmissions && k < len(a.SYNs); k++ {
		if at := a.SYNs[k].At; last.IsZero() || at.Sub(last) >= invalidRateLimit {
			last = at
			n++
		}
	}
	return n
}

// answeredOddly: something did come back, though nothing that settles a SYN.
func answeredOddly(a *observe.Attempt) bool { return len(a.Answers) > 0 }

// tally sums fates.
type tally struct {
	flows, dead, whole  int // flows; never answered; answered without any loss
	syns, forward, back int
	unknown             int // lost, either way
}

func sum(fs []fate) tally {
	var t tally
	for i := range fs {
		f := &fs[i]
		t.flows++
		t.syns += f.sent
		t.forward += f.forward
		t.back += f.back
		t.unknown += f.unknown
		switch {
		case !f.answered:
			t.dead++
		case f.lost() == 0:
			t.whole++
		}
	}
	return t
}

func (t tally) lost() int { return t.forward + t.back + t.unknown }

// rate is the share of SYNs that had no effect.
func (t tally) rate() float64 {
	if t.syns == 0 {
		return 0
	}
	return float64(t.lost()) / float64(t.syns)
}

// has reports whether the round holds a burst of that kind which no finding explains.
func (in *Input) has(k plan.Kind) bool { return in.bursts(k) > 0 }

// bursts counts the bursts of a kind.
func (in *Input) bursts(k plan.Kind) int {
	n := 0
	for i := range in.Observations {
		if in.Observations[i].Kind == k {
			n++
		}
	}
	return n
}
