package diagnose

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// service is what a connection that we completed ourselves showed after our ACK.
type service struct {
	a *observe.Attempt
	// repeats counts SYN-ACKs that came again a listener's RTO or more after the first, although each was acknowledged.
	repeats int
	// acked: the peer acknowledged our data, or sent data or FIN of its own.
	acked bool
	// silent: nothing at all came after the handshake but repeats.
	silent bool
	// reset: an RST came; plain: from as far away as the SYN-ACK and without ACK flag, as a stack answers a segment that fits no connection (RFC 9293 §3.10.7.1),
	// and after is how long after the SYN-ACK.
	reset, plain bool
	after        time.Duration
	// told: an ICMP error named a smaller MTU.
	told bool
	// twice: one SYN drew SYN-ACKs of different sequence numbers, as two hosts send that both get it. Whoever of them we did not acknowledge goes on and resets what
	// he does not know.
	twice bool
}

// repeatAfter is the least time after a SYN-ACK at which another is a listener's repeat: Linux waits 1 s (TCP_TIMEOUT_INIT, include/net/tcp.h);
// older ones 3 s.
const repeatAfter = 700 * time.Millisecond

// services reads the completed handshakes of a kind. arm is the length of the data by arm name.
func services(in *Input, kind plan.Kind) []service {
	var out []service
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != kind || !trusted(o) || in.explained[i] {
			continue
		}
		for j := range o.Attempts {
			if s, ok := readService(&o.Attempts[j], sentData(o, o.Attempts[j].Arm)); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

func sentData(o *observe.Observation, arm string) int {
	for i := range o.Arms {
		if o.Arms[i].Name == arm {
			return len(o.Arms[i].Script.Then.Data)
		}
	}
	return 0
}

func readService(a *observe.Attempt, data int) (service, bool) {
	s := service{a: a, twice: answeredTwice(a)}
	first, away := time.Time{}, uint8(0)
	for k := range a.Answers {
		ans := &a.Answers[k]
		switch ans.Kind {
		case observe.SYNACK:
			if first.IsZero() {
				first, away = ans.At, ans.HopLimit
			} else if ans.At.Sub(first) >= repeatAfter && ans.At.Sub(lastSYN(a)) >= repeatAfter {
				s.repeats++
			}
		case observe.RST:
			if !first.IsZero() && !s.reset {
				s.reset, s.plain, s.after = true, bare(ans, away), ans.At.Sub(first)
			}
		case observe.Data, observe.FIN:
			s.acked = true
		case observe.BareACK:
			if data > 0 && !ans.Ack.Before(a.ISS.Add(1+data)) {
				s.acked = true
			}
		case observe.ICMP:
			s.told = s.told || ans.TooBig()
		case observe.AnswerUnknown, observe.SYNACKStray:
		}
	}
	s.silent = !first.IsZero() && !s.acked && !s.reset
	return s, !first.IsZero()
}

// lastSYN is when the attempt's last SYN left: a SYN-ACK soon after it answers it, and is no repeat of the listener's own.
func lastSYN(a *observe.Attempt) time.Time {
	var last time.Time
	for k := range a.SYNs {
		if a.SYNs[k].At.After(last) {
			last = a.SYNs[k].At
		}
	}
	return last
}

// checkServed: handshakes that look complete from outside and are not.
func checkServed(in *Input) []Finding {
	ss := services(in, plan.KindServed)
	var ignored, hollow, aborted, acked, twice int
	for i := range ss {
		s := &ss[i]
		switch {
		case s.acked:
			acked++
		case s.twice:
			twice++
		case s.repeats > 0 && !s.reset:
			ignored++
		case s.abortedAtOnce():
			aborted++
		case s.silent:
			hollow++
		}
	}
	var out []Finding
	if ignored > 0 {
		out = append(out, acceptOverflow(in, ignored, len(ss), acked))
	}
	if aborted > 0 {
		out = append(out, abortOverflow(aborted, len(ss)))
	}
	if twice > 0 {
		out = append(out, twoAnswer(in))
	}
	if hollow >= 4 && hollow == len(ss) && firm(math.Pow(lossAtMost(in), float64(hollow)), 1) >= Suspected {
		out = append(out, masks(in, ss))
	}
	return out
}

// checkAborted: kernel connects that succeeded here and were reset by the listener right after their ACK, until nothing was answered any more.
// We end such a connection at once, so an ACK that is overtaken or doubled on the way draws the same RST: only with the silence of a
// full queue behind it does it mean anything.
func checkAborted(in *Input) []Finding {
	if full, _ := headThenSilence(in); !full {
		return nil
	}
	ss := services(in, plan.KindConnect)
	slices.SortStableFunc(ss, func(a, b service) int { return a.a.SYNs[0].At.Compare(b.a.SYNs[0].At) })
	aborted := 0
	var last time.Time
	var resets []bool
	for i := range ss {
		hit := ss[i].abortedAtOnce()
		resets = append(resets, hit)
		if hit {
			aborted++
			last = ss[i].a.SYNs[0].At
		}
	}
	if aborted == 0 || servedAfter(in, last) {
		return nil
	}
	f := abortOverflow(aborted, len(ss))
	// A queue has room for the first and none for those behind them.
	f.P = stats.ContiguousTail(len(ss), aborted)
	switch {
	case aborted < 2 || !atTheEnd(resets):
		f.Level, f.Settle = Inconclusive, "whether the first of many handshakes are kept and all behind them reset: single ones may be overtaken or doubled on the way"
	case aborted < len(ss) && f.P >= 1e-2:
		f.Level = Suspected
	}
	return []Finding{f}
}

// atTheEnd reports whether the marked lie behind the others, but for one pair in ten. The last two of all do not count that are not: their burst may have been
// over before it showed.
func atTheEnd(marked []bool) bool {
	for range 2 {
		if n := len(marked); n > 0 && !marked[n-1] {
			marked = marked[:n-1]
		}
	}
	n, others, against := 0, 0, 0
	for _, m := range marked {
		if m {
			n++
			continue
		}
		others++
		against += n
	}
	return 10*against <= n*others
}

// servedAfter reports whether a connection whose first SYN left after a time had its data acknowledged: nobody's queue was full then.
func servedAfter(in *Input, t time.Time) bool {
	for _, k := range []plan.Kind{plan.KindServed, plan.KindSizes} {
		for _, s := range services(in, k) {
			if s.acked && len(s.a.SYNs) > 0 && s.a.SYNs[0].At.After(t) {
				return true
			}
		}
	}
	return false
}

// abortedAtOnce reports whether the listener's stack reset a handshake right after our ACK, as a segment that fits no connection, and not because it had long
// forgotten its request: the SYN-ACK was no late one.
func (s *service) abortedAtOnce() bool {
	return s.reset && s.plain && !s.twice && s.after < repeatAfter && s.a.Handshake < repeatAfter
}

// lossAtMost is the share of SYNs without effect in a round, one more than were seen: what data and its answers suffer is no more likely lost.
func lossAtMost(in *Input) float64 {
	t := sum(fates(in))
	return float64(t.lost()+1) / float64(t.syns+1)
}

func acceptOverflow(in *Input, ignored, n, acked int) Finding {
	f := Finding{
		Verdict: AcceptQueueOverflow, Level: Confirmed,
		Summary: fmt.Sprintf("%d of %d completed handshakes were ignored: the listener repeated its SYN-ACK although it had been acknowledged; its accept queue is full",
			ignored, n),
		Evidence: []string{
			"a listener drops the third segment of a handshake while its accept queue is full (net/ipv4/tcp_minisocks.c tcp_check_req, tcp_v4_syn_recv_sock, 6.18) and goes on " +
				"repeating the SYN-ACK at 1, 3, 7 s",
			fmt.Sprintf("the repeats were acknowledged again and data was sent: %d of %d connections acknowledged it", acked, n),
		},
		Disproof: "data acknowledged on one of these connections; a SYN-ACK repeated only because our ACK was lost",
		Remedy: "let the application accept faster (it is stuck or too slow), raise its listen backlog and net.core.somaxconn together; " +
			"ListenOverflows on the server counts each drop",
	}
	if ignored >= fewIgnored && answeredAllTheWhile(in, ignored == n) {
		return unheardOf(f, ignored, n)
	}
	if ignored < fewIgnored || 2*ignored < n {
		f.Level = Inconclusive
		f.Settle = "more completed handshakes: an ACK and its repeats may have been lost"
		f.Wants = []Want{{Kind: plan.KindServed, Why: "more completed handshakes", Most: 2}}
		return f
	}
	if other := sum(fates(in, plan.KindOther)); sum(fates(in)).lost() > 0 && (other.flows == 0 || 5*other.lost() > other.syns) {
		f.Level = Inconclusive
		f.Settle = "another port of the address without loss: where much is lost, ACKs and data are as well"
		f.Wants = []Want{{Kind: plan.KindOther, Why: f.Settle, Most: 1}}
	}
	return f
}

func abortOverflow(aborted, n int) Finding {
	f := Finding{
		Verdict: AbortOnOverflow, Level: Confirmed,
		Summary: fmt.Sprintf("%d of %d handshakes were reset by the listener itself right after our ACK", aborted, n),
		Evidence: []string{"the RST carries no ACK and the sequence number that we acknowledged: it answers a segment that fits no connection; an application that " +
			"closes sends RST with ACK"},
		Disproof: "an RST with the ACK flag: then the application reset it",
		Remedy:   "the accept queue overflows and net.ipv4.tcp_abort_on_overflow=1 turns that into resets: accept faster, raise backlog and somaxconn",
	}
	if aborted < 2 {
		f.Level = Suspected
	}
	return f
}

// readSizes counts the connections whose data was never acknowledged, by the smaller and the larger size of the data. told: an ICMP error said of some
// of it that it is too big, as a path that swallows nothing does; our raw segments do not heed it.
func readSizes(in *Input) (small, big silences, smallest int, told bool) {
	sent := map[string]int{}
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindSizes {
			continue
		}
		for k := range o.Arms {
			n := len(o.Arms[k].Script.Then.Data)
			sent[o.Arms[k].Name] = n
			if smallest == 0 || n < smallest {
				smallest = n
			}
		}
	}
	for _, s := range services(in, plan.KindSizes) {
		arm := &big
		if sent[s.a.Arm] == smallest {
			arm = &small
		}
		arm.n++
		if !s.acked && !s.reset {
			arm.silent++
		}
		told = told || s.told
	}
	return small, big, smallest, told
}

// checkSizes: small segments are acknowledged, full-sized ones never.
func checkSizes(in *Input) []Finding {
	small, big, smallest, told := readSizes(in)
	if big.silent == 0 || small.n == 0 || told {
		return nil
	}
	p := fisher(big, small)
	f := Finding{
		Verdict: MTUBlackhole, Level: Inconclusive, P: p,
		Summary: fmt.Sprintf("full-sized segments are never acknowledged (%d of %d), small ones are (%d of %d silent): the path swallows large packets", big.silent, big.n,
			small.silent, small.n),
		Evidence: []string{
			fmt.Sprintf("segments of %d octets pass on the same path in the same second; Fisher p = %.2g", smallest, p),
			"no ICMP fragmentation-needed came, so nothing tells the sender (RFC 2923 §2.1)",
		},
		Disproof: "an acknowledged full-sized segment; an ICMP error that names the smaller MTU",
		Remedy: "let ICMP type 3 code 4 (IPv6: packet too big) pass, clamp the MSS on the device with the small MTU, or set net.ipv4.tcp_mtu_probing=1 at both ends " +
			"until it is mended",
		Wants:  []Want{{Kind: plan.KindSizes, Why: "more flows of both sizes", Most: 3}},
		Settle: "more flows of both sizes",
	}
	switch {
	case p < 1e-4:
		f.Level = Confirmed
	case p < 1e-2:
		f.Level = Suspected
	}
	if f.Level >= Confirmed {
		f.Wants = nil
	}
	return []Finding{f}
}
