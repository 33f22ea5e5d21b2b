package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// intake is what this host's tap saw come for its own connects, and what its TCP took.
type intake struct {
	// n are the connects, hit those that got a proper SYN-ACK and went on as if they had not; bursts are those with such.
	n, hit int
	bursts []int
	// rejected are the SYN-ACKs that the kernel's TCP says it threw away for their timestamps.
	rejected int64
	// came are the segments that the tap saw come in the bursts with hits whose counters are known, taken those that TCP counts there: it counts every one that reaches it, whatever
	// becomes of it (Tcp.InSegs, net/ipv4/tcp_ipv4.c tcp_v4_rcv, net/ipv6/tcp_ipv6.c tcp_v6_rcv, 2.6.32 to 6.18).
	came, taken int64
	// filtered are the packets that this host's reverse-path filter dropped there.
	filtered int64
}

// sinceAnswer is how long after a SYN-ACK another SYN of the same connect must leave to say that the kernel did not take the SYN-ACK: less, and its timer may have been quicker
// than the softirq that had it in hand.
const sinceAnswer = 50 * time.Millisecond

func readIntake(in *Input) intake {
	var x intake
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		hit, came := 0, int64(0)
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Via != plan.Kernel || a.Kernel == nil {
				continue
			}
			x.n++
			came += segments(a)
			if untaken(a) {
				hit++
			}
		}
		x.rejected += o.Counters["TcpExt.PAWSActive"] + o.Counters["TcpExt.TSEcrRejected"]
		if hit == 0 {
			continue
		}
		x.hit += hit
		x.bursts = append(x.bursts, i)
		if tcpCounted(o) {
			x.came, x.taken, x.filtered = x.came+came, x.taken+o.Counters["Tcp.InSegs"], x.filtered+o.Counters["TcpExt.IPReversePathFilter"]
		}
	}
	return x
}

// untaken reports whether a proper SYN-ACK came, and the kernel went on as if it had not.
func untaken(a *observe.Attempt) bool {
	ans := firstSYNACK(a)
	if ans == nil || ans.Checksum == wire.ChecksumBad {
		return false
	}
	return a.Outcome == observe.TimedOut || slices.ContainsFunc(a.SYNs, func(s observe.SYN) bool { return s.At.Sub(ans.At) >= sinceAnswer })
}

// segments counts what came on a connect, the same segment seen on two devices once.
func segments(a *observe.Attempt) int64 {
	n := int64(0)
	for k := range a.Answers {
		ans := &a.Answers[k]
		again := func(b *observe.Answer) bool {
			return b.Flags == ans.Flags && b.Seq == ans.Seq && b.Ack == ans.Ack && b.Length == ans.Length && b.TSval == ans.TSval
		}
		if ans.Kind != observe.ICMP && !slices.ContainsFunc(a.Answers[:k], func(b observe.Answer) bool { return again(&b) }) {
			n++
		}
	}
	return n
}

// tcpCounted reports whether the counters of TCP were read around a burst. Only what moved is kept, and SYNs that leave move some.
func tcpCounted(o *observe.Observation) bool {
	for name := range o.Counters {
		if strings.HasPrefix(name, "Tcp.") {
			return true
		}
	}
	return false
}

// checkClientReject: the SYN-ACK arrived, acknowledges our SYN, and this host's kernel would not have it, or never got it from its own packet filter.
func checkClientReject(in *Input) []Finding {
	x := readIntake(in)
	if x.hit == 0 {
		return nil
	}
	f := Finding{
		Verdict: ClientPAWSReject, Level: Inconclusive,
		Summary:  fmt.Sprintf("%d of %d connects got a proper SYN-ACK, and this host's own kernel did not take it", x.hit, x.n),
		Evidence: []string{"the tap saw a SYN-ACK to ISS+1 and then another SYN of the same connect, or none of it by the end"},
		Disproof: "the same with this host's packet filter open, and no PAWSActive or TSEcrRejected counted",
		Remedy:   "look at this host: its packet filter's INPUT, conntrack's idea of the flow, and timestamps rewritten on the way (PAWSActive, TSEcrRejected)",
		Settle:   "this host's counters and packet filter",
	}
	switch missing := x.came - x.taken; {
	case x.rejected >= int64(x.hit):
		f.Level = Proven
		f.Evidence = append(f.Evidence, fmt.Sprintf("PAWSActive and TSEcrRejected rose by %d", x.rejected))
	case x.rejected == 0 && missing >= max(int64(x.hit)/2, fewTold):
		return []Finding{x.kept(f, missing)}
	case x.rejected == 0 && x.came > 0 && len(x.bursts) < fewKept:
		f.Wants = []Want{{Kind: plan.KindConnect, Why: "does this host again not take what comes?", Most: fewKept}}
	}
	return []Finding{f}
}

// fewKept is how many bursts must lose what the tap saw come.
const fewKept = 2

// kept is the finding that something of this host stands between its tap and its TCP.
func (x *intake) kept(f Finding, missing int64) Finding {
	f.Verdict, f.Level, f.Settle, f.explains = ProberLocalDrop, Confirmed, "", x.bursts
	f.Summary = fmt.Sprintf("%d of %d connects got a proper SYN-ACK, and this host dropped it before its own TCP", x.hit, x.n)
	f.Evidence = append(f.Evidence, fmt.Sprintf("%d segments came for these connects, and this host's TCP counts %d in all: %d never reached it; the tap stands before the packet filter", x.came, x.taken, missing))
	f.Disproof = "Tcp InSegs that rises with each SYN-ACK on the tap"
	f.Remedy = "look at this host: nftables/iptables PREROUTING and INPUT, conntrack's idea of the flow (invalid), rp_filter where answers come by another device; the network is innocent of these"
	if x.filtered > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("IPReversePathFilter rose by %d: rp_filter of the device by which the answers come drops them", x.filtered))
		f.Remedy = "answers come by a device that this host would not use towards the target: set net.ipv4.conf.<dev>.rp_filter to 2 there (the larger of it and conf.all holds), or mend the routes"
	}
	if len(x.bursts) < fewKept {
		f.Level, f.Settle = Inconclusive, "whether this host does so again"
		f.Wants = []Want{{Kind: plan.KindConnect, Why: f.Settle, Most: fewKept}}
	}
	return f
}
