package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// pings is how many echo requests go to a silent address, and pingGap how far apart: what answers one a second answers one of them.
const (
	pings   = 6
	pingGap = 100 * time.Millisecond
)

// ping asks the address by ICMP echo, each request beside a single SYN to the target: what changes meanwhile changes for both.
func (v *Investigation) ping(seen []observe.Observation) plan.Burst {
	b := plan.Burst{Listen: max(patience(seen), time.Second)}
	b.Arms = []plan.Arm{{Name: "beside", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Single(), plan.Reset)}}
	n := v.flows(pings)
	v.shots(&b, 0, n, 0, pingGap)
	for i := range n {
		b.Pings = append(b.Pings, plan.Ping{Offset: time.Duration(i)*pingGap + pingGap/2, Dst: v.Dst.Addr()})
	}
	return b
}
