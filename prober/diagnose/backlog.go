package diagnose

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// kept is what one burst of SYN-ACKs that were left unanswered showed, in order of the SYNs.
type kept struct {
	n int
	// held repeated their SYN-ACK, single were answered once, silent not at all, refused with RST or an ICMP error.
	held, single, silent, refused int
	// head is the number of the last that was held; holes are those before it that were not: answered once, or silent.
	head, singleHoles, silentHoles int
	// mute are those after it that were silent.
	mute int
	// spread is by how much repeats differ in when they came.
	spread time.Duration
	prints map[look]bool
}

// cut: after some number of requests no more were kept.
func (k *kept) cut() bool { return k.held > 0 && k.n-k.head >= minTail }

// minTail is how many requests must follow the last that was kept, so that lost repeats are no likely reason.
const minTail = 4

func readBacklogs(in *Input) []kept {
	var out []kept
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindBacklog && trusted(o) && len(o.Attempts) > 0 {
			out = append(out, readBacklog(o))
		}
	}
	return out
}

// BacklogFull reports whether a burst of half-open connections met the end of a listener's queue.
func BacklogFull(seen []observe.Observation) bool {
	list := readBacklogs(&Input{Observations: seen})
	return slices.ContainsFunc(list, func(k kept) bool { return k.cut() })
}

func readBacklog(o *observe.Observation) kept {
	k := kept{prints: map[look]bool{}}
	order := firstSYNOrder(o)
	fastest := fastestAnswer(order)
	var soonest, latest time.Duration
	singles, silents := 0, 0
	for _, a := range order {
		k.n++
		first := firstSYNACK(a)
		wait, repeated := repeatedAfter(a, fastest)
		switch {
		case repeated:
			k.held, k.head = k.held+1, k.n
			k.singleHoles, k.silentHoles = singles, silents
			k.prints[fingerprint(first)] = true
			if soonest == 0 || wait < soonest {
				soonest = wait
			}
			latest = max(latest, wait)
		case first != nil:
			singles++
		case len(a.Answers) > 0:
			k.refused++
		default:
			silents++
		}
	}
	k.single, k.silent, k.mute, k.spread = singles, silents, silents-k.silentHoles, latest-soonest
	return k
}

func fastestAnswer(order []*observe.Attempt) time.Duration {
	var fastest time.Duration
	for _, a := range order {
		if ans := firstSYNACK(a); ans != nil {
			if d := ans.At.Sub(a.SYNs[0].At); fastest == 0 || d < fastest {
				fastest = d
			}
		}
	}
	return fastest
}

// repeatedAfter is how long after its only SYN an attempt's listener repeated the SYN-ACK. Where the first was lost, the repeat is what came.
func repeatedAfter(a *observe.Attempt, fastest time.Duration) (time.Duration, bool) {
	for x := range a.Answers {
		if ans := &a.Answers[x]; ans.Kind == observe.SYNACK {
			if d := ans.At.Sub(a.SYNs[0].At); d >= fastest+repeatAfter {
				return d, true
			}
		}
	}
	return 0, false
}

// Facts about Linux's queue of requests. It is full where more are in it than the backlog, which net.core.somaxconn caps
// (include/net/inet_connection_sock.h inet_csk_reqsk_queue_is_full, 6.18: `>`; from 4.4 to 6.13 `>=`, until the change of January 2025 for a backlog of
// 0, which stable kernels took over). Before 4.4 it was full at the power of two above the backlog, 16 at least, and before 4.1 one timer walked
// through all requests every 200 ms, so that repeats come up to half a second late (net/core/request_sock.c reqsk_queue_alloc,
// net/ipv4/inet_connection_sock.c inet_csk_reqsk_queue_prune, 3.10). What follows is answered by cookie, or dropped where these are off
// (net/ipv4/tcp_input.c tcp_conn_request, 6.18); then the last quarter of tcp_max_syn_backlog is kept back too.
const (
	oldTable  = 16
	oldSpread = 150 * time.Millisecond
)

// measureBacklog is how many requests the listener keeps, as one number.
func measureBacklog(in *Input) (Measurement, bool) {
	list := readBacklogs(in)
	if len(list) == 0 {
		return Measurement{}, false
	}
	most := slices.MaxFunc(list, func(a, b kept) int { return a.held - b.held })
	m := Measurement{Name: ListenerBacklog, Unit: "connections"}
	m.Missing = most.unmeasurable()
	m.How = fmt.Sprintf("%d SYN-ACKs were left unanswered: %d were repeated, so these requests were kept, %d came once, %d SYNs had no answer", most.n, most.held, most.single, most.silent)
	if m.Missing != "" {
		return m, true
	}
	m.Value = most.held - 1
	switch {
	case !most.cut():
		m.How += "; the queue did not end within that number"
	case most.silentHoles > 0:
		m.How += "; what was lost on the way took no place, so there may be more"
	case most.mute > 0:
		m.How += "; no cookies beyond: the backlog or three quarters of net.ipv4.tcp_max_syn_backlog ends it, whichever is less"
	case most.held >= oldTable && bits.OnesCount(uint(most.held)) == 1 && most.spread > oldSpread:
		m.Value = most.held / 2
		m.How += fmt.Sprintf("; the rest were cookies. Repeats came at times up to %s apart, as Linux before 4.1 sends them, whose queue ends at the power of two above the backlog", most.spread.Round(time.Millisecond))
	default:
		m.Most = most.held
		m.How += fmt.Sprintf("; the rest were cookies. That is a backlog of %d on Linux since 6.14 (and stable kernels with its change), of %d on 4.4 to 6.13", most.held-1, most.held)
	}
	if low := slices.MinFunc(list, func(a, b kept) int { return a.held - b.held }); low.held < most.held {
		m.Most = 0
		m.How += fmt.Sprintf("; at another time only %d were kept: others hold places too", low.held)
	}
	m.How += ". net.core.somaxconn caps it; connections half-open with others at that moment come on top, and listeners that share the port count together"
	return m, true
}

// unmeasurable says why a burst gives no number; empty: it gives one.
func (k *kept) unmeasurable() string {
	switch {
	case k.refused > 0:
		return fmt.Sprintf("%d of %d SYNs were refused", k.refused, k.n)
	case k.held == 0 && k.single > 0:
		return "no SYN-ACK was ever repeated: SYN cookies always, a SYN proxy in front, or a stack that repeats later than 2 s"
	case k.held == 0:
		return "nothing was answered"
	case len(k.prints) > 1:
		return "several stacks answer at this address: ask each member by itself"
	case k.singleHoles > 0 && (k.silentHoles == 0 || 20*(k.singleHoles+k.silentHoles) > k.head):
		return fmt.Sprintf("%d requests were kept, but %d before the last of them were not: several listeners or members keep them, or repeats are lost on the way", k.held, k.singleHoles+k.silentHoles)
	}
	return ""
}
