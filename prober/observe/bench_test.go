package observe_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// BenchmarkCorrelator observes bursts of raw SYNs that are all answered: per burst a SYN leaves, a SYN-ACK comes and an RST leaves for each attempt,
// and all are judged.
func BenchmarkCorrelator(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			burst := plan.Burst{Kind: plan.KindSYN, Listen: time.Second, Arms: []plan.Arm{{Name: "raw", Via: plan.Raw, Script: plan.Script{Ladder: plan.Single()}}}}
			for i := range n {
				burst.Shots = append(burst.Shots, plan.Shot{Flow: wire.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(20000+i)),
					Dst: netip.MustParseAddrPort("198.51.100.1:443")}})
			}
			b.ReportAllocs()
			for b.Loop() {
				if o := observed(&burst); o.Attempts[n-1].Outcome != observe.Accepted {
					b.Fatal(o.Attempts[n-1].Outcome)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/attempt")
		})
	}
}

func observed(burst *plan.Burst) observe.Observation {
	c := observe.NewCorrelator(burst)
	at := time.Unix(1e9, 0)
	c.Observation().Started, c.Observation().Captured = at, true
	for i := range burst.Shots {
		flow := burst.Shots[i].Flow
		syn := wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: 1000, Flags: wire.SYN}
		synAck := wire.Segment{Src: flow.Dst, Dst: flow.Src, Seq: 9, Ack: 1001, Flags: wire.SYN | wire.ACK}
		rst := wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: 1001, Flags: wire.RST}
		c.Bind(i, flow)
		c.ISS(i, syn.Seq)
		c.Handed(i, at, 0, false)
		c.Outgoing(i, at.Add(time.Microsecond), 2, wire.MAC{}, &syn)
		c.Incoming(i, at.Add(time.Millisecond), &synAck)
		c.Outgoing(i, at.Add(time.Millisecond), 2, wire.MAC{}, &rst)
	}
	c.Observation().Finished = at.Add(time.Second)
	return c.Finish()
}
