package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// orderNoise is the share of segments that may be overtaken without a fault of the path: hosts with several processors put a few of a thousand out
// of order by themselves where a sender or a receiver moves from one to another (seen on veth, 6.18).
const orderNoise = 2e-3

// checkDataOrder: data arrives in another order than it was sent in, although none of it is lost.
func checkDataOrder(in *Input) []Finding {
	all := transfers(in)
	var out []Finding
	for _, h := range []Heading{Towards, Back} {
		if f, ok := dataOrder(in, all, h); ok {
			out = append(out, f)
		}
	}
	return out
}

func dataOrder(in *Input, all []dataFlow, h Heading) (Finding, bool) {
	c := sumCarried(all, h, plan.KindTransfer, plan.KindGentle)
	if c.Swaps < 2 || c.Segments == 0 {
		return Finding{}, false
	}
	looks := in.bursts(plan.KindTransfer) + in.bursts(plan.KindGentle)
	p := max(stats.BinomialAtLeast(min(c.Swaps, c.Segments), c.Segments, orderNoise), leastP)
	level := firmData(p, looks)
	if level == LevelUnknown {
		return Finding{}, false
	}
	share := stats.Wilson(stats.Arm{Hits: min(c.Reordered, c.Segments), N: c.Segments}, 0.99)
	f := Finding{Verdict: PathReordering, Level: level, P: p,
		Summary: fmt.Sprintf("%s of %s data segments arrived behind later ones %s (%s), %s", number(c.Reordered), number(c.Segments), h, percents(share.Low, share.High), reach(&c)),
		Evidence: []string{
			fmt.Sprintf("the order changed at %s places, where one segment in %d may be overtaken: p %s", number(c.Swaps), int(1/orderNoise), chanceText(p)),
			orderProof(&c),
			fmt.Sprintf("sent again %s: %s; needless, as duplicates prove: %s", h, classes(&c.Copies), classes(&c.Spurious)),
		},
		Disproof: "the same amount of data in order; the order restored with receive offload switched off at the receiver, which moves the fault into that host",
		Remedy:   orderRemedy(h),
	}
	if c.Merged > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%s frames hold several segments: this host's device merges what it receives (GRO), behind which the capture looks; compare with "+
			"ethtool -K DEVICE gro off", number(c.Merged)))
	}
	switch {
	case level == Confirmed && (c.Counted || c.By == retrans.ByTime):
		f.Level = Suspected
		f.Evidence = append(f.Evidence, "nothing in the segments tells the order in which they were sent: only that no copy could have come so soon")
	case level < Suspected:
		f.Settle = "more data"
		f.Wants = []Want{{Kind: plan.KindTransfer, Why: "the same again: does data stay out of order?", Most: 3}}
	}
	return f, true
}

// reach is how far out of order data came.
func reach(c *Carried) string {
	s := fmt.Sprintf("by up to %d segments", c.Extent)
	if c.Extent == 0 {
		s = "by less than their copies took"
	}
	if c.Late > 0 {
		s += " and " + c.Late.Round(10*time.Microsecond).String()
	}
	return s
}

// orderProof says what tells the order of sending.
func orderProof(c *Carried) string {
	switch {
	case c.Counted:
		return "the kernel's own count (TCP_INFO reord_seen)"
	case c.Heading == Towards:
		return "SACKs and acknowledgments of data that had left only once, after later data: late, and not lost"
	case c.By == retrans.ByID:
		return "the IPv4 identification of the late segments is lower than that of the segments that arrived before them: they were sent first"
	case c.By == retrans.ByTimestamp:
		return "the timestamps of the late segments are older, or they came sooner than a copy could"
	}
	return "the late segments came sooner than a copy could"
}

func orderRemedy(h Heading) string {
	receiver, sender := "the target", "this host"
	if h == Back {
		receiver, sender = sender, receiver
	}
	return "find what reorders: per-packet balancing, a bond in balance-rr, several queues or receive offload on " + receiver +
		" (ethtool -K DEVICE gro off, lro off, to test; 4.4-era drivers had such faults). On " + sender + ": kernels that still force a fast retransmission at tcp_reordering segments (4.18 and 6.1 " +
		"do, 6.18 does not) repeat less with net.ipv4.tcp_reordering raised, in each network namespace and before the listener is made, since connections inherit it from there; where RACK alone " +
		"decides, it adapts by itself and the sysctl does nothing"
}

// checkProbes: tail loss probes that were not needed. They are no fault, and nobody is slower for them.
func checkProbes(in *Input) []Finding {
	all := transfers(in)
	n, sent := 0, 0
	for _, h := range []Heading{Towards, Back} {
		c := sumCarried(all, h, plan.KindTransfer, plan.KindGentle)
		n += c.Spurious[retrans.TLP]
		sent += c.Copies[retrans.TLP]
	}
	if n == 0 {
		return nil
	}
	return []Finding{{Verdict: SpuriousRetransTLP, Level: Confirmed,
		Summary:  fmt.Sprintf("%d tail loss probe(s) repeated a last segment that had arrived, or was only late: no reason for alarm", n),
		Evidence: []string{fmt.Sprintf("the last segment of what was in flight came twice, and nothing else was missing; %d probes of ours in all", sent)},
		Disproof: "retransmissions of segments in the middle; a probe that filled a hole",
		Remedy:   "none needed: leave net.ipv4.tcp_early_retrans at 3, and raise no alarm on TCPLossProbes or on retransmissions that are probes alone",
	}}
}

// standstill counts data phases that stand still: as they were asked for, and in full and small segments side by side.
type standstill struct {
	asked, full, small     silences
	length, repeats, bound int
}

func readStuck(in *Input) standstill {
	var s standstill
	all := transfers(in)
	for i := range all {
		m := &all[i]
		arm := &s.asked
		switch {
		case m.kind == plan.KindSmall && m.small:
			arm, s.bound = &s.small, dataArm(&in.Observations[m.burst], m.arm).MSS
		case m.kind == plan.KindSmall:
			arm = &s.full
		}
		arm.n++
		if m.stalled() {
			arm.silent++
			if !m.small {
				s.length, s.repeats = max(s.length, m.t.Read.Sent.Stuck.Length), max(s.repeats, m.t.Read.Sent.Stuck.Times)
			}
		}
	}
	return s
}

// missing says what never passed.
func (s *standstill) missing() string {
	const still = "no data moved for seconds although both ends know the connection; "
	if s.length == 0 {
		return still + "what is missing is the target's, of which nothing came, or nothing that its own later segments did not pass"
	}
	return still + fmt.Sprintf("the segment that is missing has up to %d octets and left again %d times", s.length, s.repeats)
}

// checkStuck: data phases in which one segment never passes, while the same data in small segments, at the same time, does.
func checkStuck(in *Input) []Finding {
	s := readStuck(in)
	asked, full, small := s.asked, s.full, s.small
	if asked.silent+full.silent == 0 {
		return nil
	}
	p := fisher(full, small)
	f := Finding{Verdict: MTUBlackhole, Level: Inconclusive, P: p,
		Summary:  fmt.Sprintf("%d of %d data phases stand still at a segment that does not pass", asked.silent+full.silent, asked.n+full.n),
		Evidence: []string{s.missing()},
		Disproof: "a full-sized segment that is acknowledged; an ICMP error that names the smaller MTU",
		Remedy: "let ICMP type 3 code 4 (IPv6: packet too big) pass, clamp the MSS on the device with the small MTU, or set net.ipv4.tcp_mtu_probing=1 at both ends " +
			"until it is mended",
	}
	want := Want{Kind: plan.KindSmall, Why: "does the same data pass in small segments?", Most: 3}
	switch {
	case small.n == 0:
		f.Settle, f.Wants = want.Why, []Want{want}
	case full.silent == 0:
		f.Settle = "another time: full segments passed when they were asked again beside small ones"
		return []Finding{f}
	case small.silent*2 > small.n:
		f.Settle = "small segments stand still as well: it is not their size; the server, or the path for any data"
		return []Finding{f}
	default:
		f.Summary = fmt.Sprintf("%d of %d data phases stand still at full-sized segments, %d of %d in small ones: the path swallows large packets", full.silent, full.n, small.silent, small.n)
		f.Evidence = append(f.Evidence, fmt.Sprintf("with an MSS of %d the same data passes at the same time; Fisher p = %.2g", s.bound, p))
		switch {
		case p < 1e-4:
			f.Level = Confirmed
		case p < 1e-2:
			f.Level = Suspected
		}
		if f.Level < Confirmed {
			f.Settle, f.Wants = "more connections of both sizes", []Want{want}
		}
	}
	return []Finding{f}
}
