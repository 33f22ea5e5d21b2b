package observe

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// A story is what one attempt went through, told in ms after began; judged is everything that Finish derives from it.
type event func(*Correlator)

type judged struct {
	Outcome         Outcome
	Reason          string
	Answered        int
	Retransmissions int
	Unseen          int
	Lost            int
	LostBy          Proof
	RTT, Handshake  time.Duration
	Late            Lateness
	Clock           Clock
	Stalled         bool
	Strays          map[string]int
}

const iss, irs = wire.Seq(1000), wire.Seq(9000)

var (
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	flow  = wire.Flow{Src: netip.MustParseAddrPort("192.0.2.1:61000"), Dst: netip.MustParseAddrPort("192.0.2.2:80")}
	hop   = wire.MAC{2, 0, 0, 0, 0, 2}
)

func at(ms float64) time.Time { return began.Add(time.Duration(ms * float64(time.Millisecond))) }

// tsOptions are timestamps alone; a negative val means none.
func tsOptions(val, ecr int64) (o wire.Options) {
	if val >= 0 {
		o.AppendTimestamps(wire.TSval(val), wire.TSval(ecr))
	}
	return o
}

// syn is a SYN on the tap.
func syn(ms float64, tsval int64) event {
	return func(c *Correlator) {
		c.Outgoing(0, at(ms), 2, hop, &wire.Segment{Src: flow.Src, Dst: flow.Dst, Seq: iss, Flags: wire.SYN, Options: tsOptions(tsval, 0)})
	}
}

// handedOver is a raw SYN given to the kernel.
func handedOver(ms float64, tsval int64) event {
	return func(c *Correlator) { c.Handed(0, at(ms), wire.TSval(max(tsval, 0)), tsval >= 0) }
}

// sent is a raw SYN given to the kernel and seen 10 µs later.
func sent(ms float64, tsval int64) event {
	return func(c *Correlator) {
		handedOver(ms, tsval)(c)
		syn(ms+0.01, tsval)(c)
	}
}

func incoming(ms float64, s wire.Segment) event {
	return func(c *Correlator) {
		s.Src, s.Dst = flow.Dst, flow.Src
		c.Incoming(0, at(ms), &s)
	}
}

// synAck answers our ISS; ecr < 0: without timestamps.
func synAck(ms float64, ecr int64) event {
	o := wire.Options{}
	if ecr >= 0 {
		o = tsOptions(77, ecr)
	}
	return incoming(ms, wire.Segment{Seq: irs, Ack: iss + 1, Flags: wire.SYN | wire.ACK, Options: o})
}

// laterSYNACK is one with a newer TSval.
func laterSYNACK(ms float64, ecr int64) event {
	return incoming(ms, wire.Segment{Seq: irs, Ack: iss + 1, Flags: wire.SYN | wire.ACK, Options: tsOptions(79, ecr)})
}

func rstToSYN(ms float64) event {
	return incoming(ms, wire.Segment{Ack: iss + 1, Flags: wire.RST | wire.ACK})
}

func icmp(ms float64, typ, code uint8) event {
	return func(c *Correlator) {
		c.ICMP(0, Answer{At: at(ms), From: netip.MustParseAddr("192.0.2.9"), ICMPType: typ, ICMPCode: code, ICMPName: "some_error"})
	}
}

// connected is the kernel's accepted connect with its count of repeats and its smoothed round trip.
func connected(startMS, doneMS float64, retrans uint32, rttMS float64) event {
	return func(c *Correlator) {
		c.Kernel(0, KernelView{Started: at(startMS), Completed: at(doneMS), HasInfo: true,
			Info: TCPInfo{TotalRetrans: retrans, RTT: time.Duration(rttMS * float64(time.Millisecond))}}, Accepted, "")
	}
}

// gaveUp is the kernel's connect that had no answer within the deadline.
func gaveUp(retrans uint32) event {
	return func(c *Correlator) {
		c.Kernel(0, KernelView{Started: at(-0.1), HasInfo: true, Info: TCPInfo{TotalRetrans: retrans}}, TimedOut, "no answer within the deadline")
	}
}

// ended is the kernel's connect that failed.
func ended(o Outcome, reason string, retrans uint32) event {
	return func(c *Correlator) {
		c.Kernel(0, KernelView{Started: at(-0.1), Completed: at(3000), HasInfo: true, Info: TCPInfo{TotalRetrans: retrans}}, o, reason)
	}
}

func behind() event { return func(c *Correlator) { c.Stray(CaptureBehind) } }

func drops(n uint32) event   { return func(c *Correlator) { c.Observation().CaptureDrops = n } }
func blind() event           { return func(c *Correlator) { c.Observation().Captured = false } }
func notSent(s string) event { return func(c *Correlator) { c.NotSent(0, s) } }
func refusedSYN(i int, why string, dropped bool) event {
	return func(c *Correlator) { c.Refused(0, i, why, dropped) }
}
func cutShort(timedOut bool, why string) event { return func(c *Correlator) { c.Cut(timedOut, why) } }

// neighbour plays a second attempt of the burst, with a plain round trip.
func neighbour(rttMS float64) event {
	return func(c *Correlator) {
		c.ISS(1, iss)
		c.Handed(1, at(0), 5, true)
		c.Outgoing(1, at(0.01), 2, hop, &wire.Segment{Seq: iss, Flags: wire.SYN, Options: tsOptions(5, 0)})
		c.Incoming(1, at(0.01+rttMS), &wire.Segment{Seq: irs, Ack: iss + 1, Flags: wire.SYN | wire.ACK, Options: tsOptions(77, 5)})
	}
}

func tell(via plan.Via, react plan.Reaction, events []event) Observation {
	script := plan.Script{OnSYNACK: react, Ladder: plan.Linear(time.Second, 4, 10)}
	b := &plan.Burst{Label: "story", Arms: []plan.Arm{{Name: "arm", Via: via, Script: script}, {Name: "other", Via: plan.Raw, Script: script}},
		Shots: []plan.Shot{{Flow: flow}, {Flow: flow, Arm: 1}}}
	c := NewCorrelator(b)
	c.Observation().Captured = true
	if via == plan.Raw {
		c.ISS(0, iss)
	}
	for _, e := range events {
		e(c)
	}
	return c.Finish()
}

func judgedOf(o *Observation) judged {
	a := &o.Attempts[0]
	return judged{a.Outcome, a.Reason, a.Answered, a.Retransmissions, a.Unseen, a.Lost, a.LostBy, a.RTT, a.Handshake, a.Late, a.Clock,
		a.Stalled(), o.Strays}
}

type story struct {
	name   string
	via    plan.Via
	react  plan.Reaction
	events []event
	want   judged
}

func runStories(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			o := tell(s.via, s.react, s.events)
			if s.want.Strays == nil {
				s.want.Strays = map[string]int{}
			}
			if diff := cmp.Diff(s.want, judgedOf(&o)); diff != "" {
				t.Errorf("judged (-want +got):\n%s", diff)
			}
		})
	}
}

const ms = time.Millisecond

// µ is a number of microseconds.
func µ(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }
