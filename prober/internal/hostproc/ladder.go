package hostproc

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// Kernel is this machine's kernel: its release as it calls itself, and the three numbers that release begins with. A number
// that is not there is 0.
func Kernel() (release string, version [3]int) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", version // uname(2) has no error but a bad pointer
	}
	release = unix.ByteSliceToString(u.Release[:])
	return release, ParseRelease(release)
}

// ParseRelease takes the version from a release: "3.10.0-1160.el7.x86_64" is 3, 10, 0.
func ParseRelease(release string) (version [3]int) {
	rest := release
	for i := range version {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(rest)
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil {
			return version
		}
		version[i] = n
		if end == len(rest) || rest[end] != '.' {
			return version
		}
		rest = rest[end+1:]
	}
	return version
}

// before compares by major and minor number.
func before(v [3]int, major, minor int) bool {
	return v[0] < major || v[0] == major && v[1] < minor
}

// Defaults of the kernel where a sysctl is not known.
const (
	synRetries    = 6                 // TCP_SYN_RETRIES, include/net/tcp.h, Linux ≥ 3.7
	synRetriesOld = 5                 // the same before
	rtoMax        = 120 * time.Second // TCP_RTO_MAX, include/net/tcp.h
)

// Ladder is when the SYNs of a connect of this machine's kernel leave when nothing answers.
//
// The initial RTO is 1 s since Linux 3.1 (commit 9ad7c049f0f7, RFC 6298 §2.1) and 3 s before; Red Hat's 2.6.32 of RHEL 6
// carries the 1 s as well, which the version alone cannot tell: the name of such a ladder says so. Since 6.5 the first
// tcp_syn_linear_timeouts+1 waits are equal and as many repeats are added to tcp_syn_retries (commit ccce324dabfe). The sum is
// a ceiling: the kernel also gives up once the exponential ladder of tcp_syn_retries alone would have ended, so that 6
// and 4 make 10 repeats (0 1 2 3 4 5 7 11 19 35 67, over at 131 s), but 2 and 4 make 5 and not 6, and 1 and 4 make 2
// (net/ipv4/tcp_timer.c tcp_write_timeout, retransmits_timed_out, tcp_model_timeout; the last case seen on 6.18).
func Ladder(s Sysctls, version [3]int) plan.Ladder {
	k := clientTimer(s, version)
	at, _ := k.run()
	return plan.Ladder{Name: k.name, At: at}
}

// GivesUp is how long after the first SYN such a connect fails with ETIMEDOUT.
func GivesUp(s Sysctls, version [3]int) time.Duration {
	_, end := clientTimer(s, version).run()
	return end
}

// timer is what the retransmission timer of a socket in SYN_SENT goes by.
type timer struct {
	name            string
	rto, max        time.Duration
	linear, retries int
}

func clientTimer(s Sysctls, version [3]int) timer {
	t := timer{name: "exponential", rto: time.Second, max: rtoMax, retries: int(s.SynRetries.Or(synRetries))}
	if before(version, 3, 7) {
		t.retries = int(s.SynRetries.Or(synRetriesOld))
	}
	if before(version, 3, 1) {
		t.rto, t.name = 3*time.Second, "exponential from 3 s (1 s where the kernel is RHEL 6's)"
	}
	if !before(version, 6, 5) && s.SynLinearTimeouts.Value > 0 {
		t.linear, t.name = int(s.SynLinearTimeouts.Value), "linear"
	}
	if s.RTOMax.Known {
		t.max = max(t.rto, time.Duration(s.RTOMax.Value)*time.Millisecond)
	}
	return t
}

// run lets the timer expire until the kernel gives up: at is when SYNs left, end when it did.
//
// At the n-th expiry tcp_write_timeout ends the connect if n > retries+linear, or if the time since the first SYN is at least
// the model's; else the SYN is repeated and, from the (linear+1)-th repeat on, the wait doubled.
func (t timer) run() (at []time.Duration, end time.Duration) {
	at = append(at, 0)
	wait, model := t.rto, t.model()
	for n := 1; ; n++ {
		end += wait
		// retransmits_timed_out is false before the first repeat; timers are never early, so "at least" holds at equality
		if n > t.retries+t.linear || n > 1 && end >= model {
			return at, end
		}
		at = append(at, end)
		if n > t.linear {
			wait = min(2*wait, t.max)
		}
	}
}

// model is tcp_model_timeout: how long the exponential ladder of t.retries repeats lasts.
func (t timer) model() time.Duration {
	thresh := bits.Len(uint(t.max/t.rto)) - 1
	if t.retries <= thresh {
		return (2<<t.retries - 1) * t.rto
	}
	return (2<<thresh-1)*t.rto + time.Duration(t.retries-thresh)*t.max
}
