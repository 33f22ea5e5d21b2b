package experiment

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Transfer is the data phase that an investigation may make: its owner says what the target's service exchanges.
type Transfer struct {
	plan.Transfer
	// Flows at once.
	Flows int
	// Congestion controls to compare; the flows take turns. Empty: the host's own.
	Congestion []string
}

// The bounds of a data phase.
const (
	// transferTime is the most that one burst may take; it ends as soon as all is moved or stands still.
	transferTime = 20 * time.Second
	// gentleBuffer keeps what is in flight towards us on one flow at some five segments: the kernel offers about as much as is asked for
	// (net/ipv4/tcp.c tcp_win_from_space, 6.18). With gentleFlows, begun one after the other, that is less than any queue holds.
	gentleBuffer = 8 << 10
	gentleFlows  = 4
	gentleGap    = 50 * time.Millisecond
	gentleBytes  = 1 << 20
	// gentlePart of the rate that was reached is what the gentle burst sends at, within bounds in octets a second.
	gentlePart          = 4
	leastPace, mostPace = 64 << 10, 1 << 20
	// smallMSS fits into every link that IPv4 runs over (RFC 791 §3.1: 576 octets), smallBytes of it are enough to see.
	smallMSS = 500
	// sizeFlows of either size: all of one standing still and none of the other is chance below 1 in 10,000.
	sizeFlows  = 8
	smallBytes = 64 << 10
)

// transfer is a real data phase on several connections at once.
func (v *Investigation) transfer([]observe.Observation) plan.Burst {
	names := v.Transfer.Congestion
	if len(names) == 0 {
		names = []string{""}
	}
	b := plan.Burst{Label: "transfer", Listen: transferTime}
	for _, name := range names {
		t := v.Transfer.Transfer
		t.Congestion = name
		arm := name
		if arm == "" {
			arm = t.Way.String()
		}
		v.arm(&b, arm, t)
	}
	v.spread(&b)
	return b
}

// gentle is the same with little in flight: ours paced, the target's within a small window.
func (v *Investigation) gentle(seen []observe.Observation) plan.Burst {
	t := v.Transfer.Transfer
	t.Bytes = min(t.Bytes, gentleBytes)
	t.Buffer = gentleBuffer
	t.Pace = int64(min(max(rate(seen)/gentlePart, leastPace), mostPace))
	b := plan.Burst{Label: fmt.Sprintf("gently, at most %d kB/s each", t.Pace>>10), Listen: transferTime}
	v.arm(&b, "gentle", t)
	v.spread(&b)
	b.Shots = b.Shots[:min(len(b.Shots), gentleFlows)]
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * gentleGap
	}
	return b
}

// small is less of the same in small segments both ways, and in full ones beside them: what comes and goes would spare neither.
func (v *Investigation) small([]observe.Observation) plan.Burst {
	t := v.Transfer.Transfer
	t.Bytes, t.MSS = min(t.Bytes, smallBytes), smallMSS
	b := plan.Burst{Label: fmt.Sprintf("in segments of %d octets", t.MSS), Listen: transferTime}
	v.arm(&b, "small", t)
	t.MSS = 0
	v.arm(&b, "full", t)
	for i := range 2 * sizeFlows {
		b.Shots = append(b.Shots, plan.Shot{Arm: i % len(b.Arms), Flow: wire.Flow{Src: v.Source, Dst: v.Dst}})
	}
	return b
}

func (v *Investigation) arm(b *plan.Burst, name string, t plan.Transfer) {
	b.Arms = append(b.Arms, plan.Arm{Name: name, Via: plan.Kernel, Script: plan.Script{
		Ladder: v.Ladder.Until(transferTime), Then: plan.Exchange{Close: plan.Abort, Transfer: &t},
	}})
}

// spread gives the arms their flows in turn.
func (v *Investigation) spread(b *plan.Burst) {
	for i := range max(v.Transfer.Flows, len(b.Arms)) {
		b.Shots = append(b.Shots, plan.Shot{Arm: i % len(b.Arms), Flow: wire.Flow{Src: v.Source, Dst: v.Dst}})
	}
}

// rate is the payload a second of one flow of the transfers so far, in octets; 0: there was none.
func rate(seen []observe.Observation) float64 {
	var total float64
	flows := 0
	for _, s := range diagnose.Transferred(seen) {
		if s.Kind == plan.KindTransfer {
			total += s.Rate
			flows += s.Flows
		}
	}
	if flows == 0 {
		return 0
	}
	return total / float64(flows)
}

// moves reports whether a kind has data phases.
func moves(k plan.Kind) bool {
	return k == plan.KindTransfer || k == plan.KindGentle || k == plan.KindSmall
}
