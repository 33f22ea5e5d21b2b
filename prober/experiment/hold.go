package experiment

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Times of a hold burst. forgets is longer than a Linux NAT keeps a connection that was reset (nf_conntrack_tcp_timeout_close, 10 s,
// net/netfilter/nf_conntrack_proto_tcp.c, 6.18).
const (
	holdGap  = 5 * time.Millisecond
	holdRest = 100 * time.Millisecond
	forgets  = 11 * time.Second
)

// freedGap is how often a place that held connections took is asked for.
const freedGap = 250 * time.Millisecond

// freed asks one flow again and again until it is answered, as long as what was held may take to be forgotten: what counts only what is open has room at
// once, what keeps ended connections has it later.
func (v *Investigation) freed(seen []observe.Observation) plan.Burst {
	var at []time.Duration
	for t := time.Duration(0); t <= forgets; t += freedGap {
		at = append(at, t)
	}
	b := plan.Burst{Listen: at[len(at)-1] + patience(seen)}
	b.Arms = []plan.Arm{{Name: "again", Via: plan.Raw, Script: v.script(v.clock(seen), plan.Custom(at...), plan.Reset)}}
	v.shots(&b, 0, 1, 0, 0)
	return b
}

// hold keeps connections open, one more every few ms, then asks whether new ones still begin, to this service and to another, and whether
// those held still live: a table, a pool of ports or a queue that is full refuses the new ones and keeps the old. Again it first waits until what was taken
// before must be free, unless room was seen.
func (v *Investigation) hold(seen []observe.Observation) plan.Burst {
	var start time.Duration
	if n := count(seen, plan.KindHold); n > 1 || n > 0 && !answered(seen, plan.KindFreed) {
		start = forgets
	}
	wait := patience(seen)
	full := time.Duration(v.Hold)*holdGap + holdRest
	held := v.script(v.clock(seen), plan.Custom(0, wait), plan.Acknowledge)
	held.Then = plan.Exchange{Data: []byte("\r\n"), DataDelay: full + holdRest + 2*wait, Close: plan.Abort, CloseDelay: 50 * time.Millisecond}
	single := v.script(v.clock(seen), plan.Single(), plan.Reset)
	stray := v.script(v.clock(seen), plan.Single(), plan.Reset)
	stray.First, stray.Options = wire.ACK, wire.Options{}
	b := plan.Burst{Label: "hold", Listen: held.Then.DataDelay + 2*wait}
	b.Arms = []plan.Arm{
		diagnose.HoldBefore: {Name: "other before", Via: plan.Raw, Script: single},
		diagnose.HoldHeld:   {Name: "held", Via: plan.Raw, Script: held},
		diagnose.HoldNew:    {Name: "new", Via: plan.Raw, Script: single},
		diagnose.HoldOther:  {Name: "other", Via: plan.Raw, Script: single},
		diagnose.HoldStray:  {Name: "bare ACK", Via: plan.Raw, Script: stray},
	}
	other := v.contrast()
	from := v.Source
	add := func(arm int, dst netip.AddrPort, n int, at, gap time.Duration) {
		for i := range n {
			b.Shots = append(b.Shots, plan.Shot{Offset: start + at + time.Duration(i)*gap, Arm: arm, Flow: wire.Flow{Src: from, Dst: dst}})
		}
	}
	add(diagnose.HoldBefore, other, v.flows(8), 0, holdGap)
	add(diagnose.HoldHeld, v.Dst, v.Hold, holdRest, holdGap)
	add(diagnose.HoldNew, v.Dst, v.flows(8), holdRest+full, 2*holdGap)
	add(diagnose.HoldOther, other, v.flows(8), holdRest+full+holdGap, 2*holdGap)
	add(diagnose.HoldStray, v.Dst, 4, holdRest+full+holdGap/2, 4*holdGap)
	usual := v.usual(seen)
	if k := slices.IndexFunc(v.Others, func(a netip.Addr) bool { return a != usual }); k >= 0 {
		from = netip.AddrPortFrom(v.Others[k], 0)
		add(diagnose.HoldNew, v.Dst, v.flows(4), holdRest+full+holdGap, 2*holdGap)
	}
	return b
}

// contrast is what the target is compared with: what the caller named, or a port of the same address that nobody is expected to serve.
func (v *Investigation) contrast() netip.AddrPort {
	if v.Contrast.IsValid() {
		return v.Contrast
	}
	return netip.AddrPortFrom(v.Dst.Addr(), otherPort(v.Dst.Port(), 0))
}
