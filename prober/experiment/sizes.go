package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// sizesAfter is when the first of these connections begins: after those of a burst of KindServed beside it, so that a queue that fills refuses them in the
// order in which both are kept.
const sizesAfter = 30 * time.Millisecond

// fullSegment is the payload of the largest segment that the target lets us send: less than the least MSS that any of its SYN-ACKs announced, or what
// holds without one (RFC 9293 §3.7.1), by the timestamps option. A larger one a path need not carry.
func (v *Investigation) fullSegment(seen []observe.Observation) int {
	mss := int(v.MSS)
	for i := range seen {
		for j := range seen[i].Attempts {
			for k := range seen[i].Attempts[j].Answers {
				ans := &seen[i].Attempts[j].Answers[k]
				if ans.Kind != observe.SYNACK {
					continue
				}
				theirs, said := ans.Options.MSS()
				if !said {
					theirs = defaultMSS(v.Dst.Addr())
				}
				mss = min(mss, int(theirs))
			}
		}
	}
	const timestamps = 12
	return max(mss-timestamps, 2)
}

// defaultMSS is what a peer takes that announces none (RFC 9293 §3.7.1).
func defaultMSS(a netip.Addr) uint16 {
	if a.Is6() && !a.Is4In6() {
		return 1220
	}
	return 536
}

// sizes sends small and full-sized segments after the handshake, each on flows of its own.
func (v *Investigation) sizes(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: 2200*time.Millisecond + 2*patience(seen)}
	start := v.clock(seen)
	full := v.fullSegment(seen)
	for _, n := range []int{min(500, full/2), full} {
		s := v.script(start, thrice(seen), plan.Acknowledge)
		s.Patience = patience(seen)
		data := make([]byte, n)
		for i := range data {
			data[i] = '\n'
		}
		s.Then = plan.Exchange{Data: data, Reads: banner, Close: plan.Abort, CloseDelay: 20 * time.Millisecond, RTO: patience(seen)}
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("%d octets", n), Via: plan.Raw, Script: s})
	}
	for i := range v.flows(8) {
		v.shots(&b, i%2, 1, sizesAfter+time.Duration(i)*2*time.Millisecond, 0)
	}
	return b
}
