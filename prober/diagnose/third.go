package diagnose

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ThirdAgain names the arm of a burst of bare ACKs that asks flows of earlier connections once more: each with the third segment of its handshake, and with
// the same one whose acknowledgment number is off by ThirdOff.
const ThirdAgain = "the handshake's ACK again"

// ThirdOff is so far off that no SYN cookie's sum agrees: the low 24 bits of what is left when a cookie is opened must be a place in a table of few sizes
// (net/ipv4/syncookies.c check_tcp_syn_cookie, __cookie_v4_check, 2.6.32 … 6.18).
const ThirdOff = 1 << 20

// Third is the third segment of a handshake of ours that was answered: its flow, the number of its first octet and what it acknowledges.
type Third struct {
	Flow     wire.Flow
	Seq, Ack wire.Seq
}

// cookieLife is how long a listener takes back a SYN cookie, at the least, in Linux since 3.13 (MAX_SYNCOOKIE_AGE 2, TCP_SYNCOOKIE_PERIOD 60 s,
// include/net/tcp.h: up to 120 s). Older ones take none 3 s after the last flood (tcp_synq_no_recent_overflow, 2.6.32 and 3.10), and then answer with an RST.
const cookieLife = time.Minute

// Thirds lists the third segments of the handshakes of the last kernel burst that was answered, where nothing was since, in the order of their SYNs.
func Thirds(seen []observe.Observation) []Third {
	var out []Third
	for i := range seen {
		o := &seen[i]
		switch {
		case o.Kind == plan.KindConnect && trusted(o):
			if list := thirds(o); len(list) > 0 {
				out = list
			}
		case !aside(o.Kind) && slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return len(a.Answers) > 0 }):
			return nil
		}
		if len(out) > 0 && seen[len(seen)-1].Finished.Sub(o.Finished) > cookieLife && o.Kind == plan.KindConnect {
			return nil
		}
	}
	return out
}

func thirds(o *observe.Observation) []Third {
	var out []Third
	for _, a := range firstSYNOrder(o) {
		if x := firstSYNACK(a); x != nil && a.Outcome == observe.Accepted {
			out = append(out, Third{a.Flow, a.ISS + 1, x.Seq + 1})
		}
	}
	return out
}

// swallowedACKs is what the third segments of earlier handshakes drew once more. A listener that has room takes one with a valid SYN cookie for the end of a
// handshake, and acknowledges its data; one whose accept queue is full drops it without a word (net/ipv4/syncookies.c cookie_v4_check,
// tcp_get_cookie_sock; tcp_ipv4.c tcp_v4_syn_recv_sock, 2.6.32 … 6.18); to any other ACK it answers with an RST. So of one flow the right number is
// swallowed and a wrong one is not. What drops SYNs on the way knows nothing of these numbers.
type swallowedACKs struct {
	// flows drew an RST with the wrong number and nothing with the right one, right times asked; gone drew an RST with both, live something else.
	flows, right, gone, live int
	// answered counts bare ACKs beside these, on such flows with the wrong number and on fresh flows.
	answered silences
	p        float64
}

func readSwallowed(in *Input) swallowedACKs {
	acks, counted := map[wire.Flow]wire.Seq{}, map[wire.Flow]bool{}
	var s swallowedACKs
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindConnect {
			for _, t := range thirds(o) {
				acks[t.Flow] = t.Ack
			}
		}
		if o.Kind != plan.KindStray || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			switch ack, known := acks[a.Flow]; {
			case a.Arm == o.Arms[strayFresh].Name:
				s.answered.add(len(a.Answers) == 0)
			case a.Arm == ThirdAgain && known:
				s.add(a, ack, counted)
			}
		}
	}
	s.p = fisher(silences{s.right, s.right}, s.answered)
	return s
}

// add takes the answers of one flow, which may have been counted before.
func (s *swallowedACKs) add(a *observe.Attempt, ack wire.Seq, counted map[wire.Flow]bool) {
	var right, wrong, other bool
	for k := range a.Answers {
		switch ans := &a.Answers[k]; {
		case ans.Kind == observe.RST && ans.Seq == ack:
			right = true
		case ans.Kind == observe.RST && ans.Seq == ack+ThirdOff:
			wrong = true
		default:
			other = true
		}
	}
	switch n := (len(a.SYNs) + 1) / 2; {
	case other:
		s.live++
	case right:
		s.gone++
	case wrong:
		if s.right += n; !counted[a.Flow] {
			s.flows, counted[a.Flow] = s.flows+1, true
		}
		s.answered.add(false)
	default:
		s.answered.add(true)
	}
}

// level is how firmly this says that the queue is full.
func (s *swallowedACKs) level() Level {
	switch {
	case s.flows == 0 || s.live > 0:
		return Inconclusive
	case s.p < 1e-4:
		return Confirmed
	case s.p < 1e-2:
		return Suspected
	}
	return Inconclusive
}

// fullListener names the queue.
func (s *swallowedACKs) fullListener(f Finding, in *Input, accepted int) Finding {
	f.Level, f.P = s.level(), s.p
	f = tellFull(f, in, accepted)
	if f.Summary = fmt.Sprintf("of the first %d connections, which all looked accepted, %d never were: the listener drops the ACKs that end their handshakes, and every SYN since; its accept queue is full",
		accepted, s.flows); accepted == s.flows {
		f.Summary = fmt.Sprintf("the first %d connections looked accepted and never were: the listener drops the ACKs that end their handshakes, and every SYN since; its accept queue is full", accepted)
	}
	f.Evidence = append(f.Evidence, fmt.Sprintf("the ACK that ended the handshake, sent again, is swallowed on %d connections (%d of %d times), and with another number it draws an RST: the number brings a "+
		"SYN cookie back, and a listener drops that without a word only where its accept queue is full; lost by chance with p = %.2g (Fisher, one-sided)", s.flows, s.right, s.right, s.p))
	f.Disproof = "an ACK of data on one of these connections; a SYN answered while nothing was accepted"
	return f
}
