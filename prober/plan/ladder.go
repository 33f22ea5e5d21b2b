package plan

import (
	"strconv"
	"strings"
	"time"
)

// Ladder is when the SYNs of one connect leave, counted from the first. At[0] is 0; a ladder of one rung never repeats.
type Ladder struct {
	Name string
	At   []time.Duration
}

// Last is the time of the last rung.
func (l Ladder) Last() time.Duration {
	if len(l.At) == 0 {
		return 0
	}
	return l.At[len(l.At)-1]
}

// Until cuts the ladder to the rungs that lie before d.
func (l Ladder) Until(d time.Duration) Ladder {
	n := 0
	for n < len(l.At) && (n == 0 || l.At[n] < d) {
		n++
	}
	return Ladder{l.Name, l.At[:n]}
}

// String lists the rungs in seconds: "linear: 0 1 2 3 4 5 7 11".
func (l Ladder) String() string {
	var b strings.Builder
	b.WriteString(l.Name)
	b.WriteByte(':')
	for _, t := range l.At {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatFloat(t.Seconds(), 'f', -1, 64))
	}
	return b.String()
}

// Single is one SYN, never repeated: what the direction experiment needs.
func Single() Ladder { return Ladder{"single", []time.Duration{0}} }

// Exponential doubles from the initial RTO: rto, then 2·rto later, and so on, for the given number of repeats.
// RFC 6298 §2.1 and §5.5–5.7: initial RTO 1 s, doubled at each expiry, capped (Linux: TCP_RTO_MAX 120 s, include/net/tcp.h).
func Exponential(rto time.Duration, repeats int) Ladder {
	return kernelLadder("exponential", rto, 0, repeats)
}

// Linear waits rto for each of the first linear+1 SYNs and doubles after that, as Linux ≥ 6.5 does with
// tcp_syn_linear_timeouts (net/ipv4/tcp_timer.c tcp_retransmit_timer): 0, 1, 2, 3, 4, 5, 7, 11, 19 … for linear = 4.
func Linear(rto time.Duration, linear, repeats int) Ladder {
	return kernelLadder("linear", rto, linear, repeats)
}

// Custom is a ladder of the caller's own rungs, which must begin with 0 and rise.
func Custom(at ...time.Duration) Ladder { return Ladder{"custom", at} }

// rtoMax caps every wait of a Linux ladder (TCP_RTO_MAX, include/net/tcp.h, 120 s).
const rtoMax = 120 * time.Second

func kernelLadder(name string, rto time.Duration, linear, repeats int) Ladder {
	l := Ladder{Name: name, At: make([]time.Duration, 1, repeats+1)}
	var t time.Duration
	wait := rto
	for i := range repeats {
		t += wait
		l.At = append(l.At, t)
		if i >= linear {
			wait = min(2*wait, rtoMax)
		}
	}
	return l
}

// ListenerRTOs are the waits before a listener's first SYN-ACK repeat, as Linux has them by default: 1 s, and 3 s up to 3.0 (TCP_TIMEOUT_INIT,
// include/net/tcp.h).
func ListenerRTOs() []time.Duration { return []time.Duration{time.Second, 3 * time.Second} }

// OnListenerRung reports whether a SYN-ACK that comes wait after a listener's first one may be its own repeat of it: rto·(2ᵏ−1) after, the wait
// doubling each time (net/ipv4/inet_connection_sock.c reqsk_timer_handler, 6.18), 10 ms early for the clocks that read both, and up to an eighth and
// 50 ms late, as kernel timers are (kernel/time/timer.c calc_wheel_index).
func OnListenerRung(wait, rto time.Duration) bool {
	const repeats = 5 // net.ipv4.tcp_synack_retries
	at := time.Duration(0)
	for k := range repeats {
		at += rto << k
		if wait >= at-10*time.Millisecond && wait <= at+at/8+50*time.Millisecond {
			return true
		}
	}
	return false
}
