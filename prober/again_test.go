package prober

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// A flow that nobody answered is asked again on its own port with its own ISS, as often as is wanted; a flow that is not known is not asked.
func TestAnUnansweredFlowIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	var awake atomic.Bool
	p := r.listen(t, answering(func(p *peer, syn *wire.Segment) {
		if awake.Load() {
			p.send(synAckTo(syn))
		}
	}))
	r.scouted(t, p)
	arms := []plan.Arm{rawArm(plan.Single())}
	first := r.burst(t, to(time.Second, 2, arms, on(ghostV4, 80)))
	again := to(time.Second, 3, arms, on(ghostV4, 80))
	for i := range first.Attempts {
		again.Shots[i].Flow.Src, again.Shots[i].Again = first.Attempts[i].Flow.Src, true
	}
	again.Shots[2].Flow.Src, again.Shots[2].Again = first.Attempts[0].Flow.Src, true // twice at a time is once too often
	for _, want := range []observe.Outcome{observe.TimedOut, observe.Accepted} {
		if want == observe.Accepted {
			awake.Store(true)
			again.Listen = 10 * time.Second // ends with the last answer
		}
		obs := r.burst(t, again)
		for i := range 2 {
			a, was := &obs.Attempts[i], &first.Attempts[i]
			if a.Outcome != want || a.Flow != was.Flow || a.ISS != was.ISS {
				t.Errorf("%s on %s with ISS %d, want %s on %s with %d: %s", a.Outcome, a.Flow, a.ISS, want, was.Flow, was.ISS, a.Reason)
			}
		}
		if a := &obs.Attempts[2]; a.Outcome != observe.NotSent {
			t.Errorf("one flow twice: %s", a.Outcome)
		}
	}
	again.Shots, again.Listen = again.Shots[:1], 50*time.Millisecond
	again.Shots[0].Flow.Src = netip.AddrPort{}
	if a := r.burst(t, again).Attempts[0]; a.Outcome != observe.NotSent {
		t.Errorf("no port named: %s", a.Outcome)
	}
}

// The ACK that ended a handshake is sent again on its own port, with its own number and another; what each drew is kept, and the flow is reset.
func TestAnEarlierHandshakeIsEndedAgain(t *testing.T) {
	t.Parallel()
	const right, wrong, first = wire.Seq(5001), wire.Seq(9001), wire.Seq(77)
	r := newRig(t, EngineOptions{})
	p := r.listen(t, func(p *peer, s *wire.Segment) {
		if s.Dst.Port() == 80 && s.Flags == wire.ACK && s.Ack != right {
			p.send(wire.Segment{Src: s.Dst, Dst: s.Src, Seq: s.Ack, Flags: wire.RST})
		}
	})
	r.scouted(t, p)
	arm := rawArm(plan.Custom(0, 20*ms, 40*ms, 60*ms))
	arm.Script.First, arm.Script.Options, arm.Script.Then.Data = wire.ACK, wire.Options{}, []byte("hi")
	earlier := r.burst(t, to(20*ms, 1, []plan.Arm{kernelArm(plan.Single())}, on(ghostV4, 80))).Attempts[0].Flow
	b := to(600*ms, 1, []plan.Arm{arm}, on(ghostV4, 80))
	seq := first
	b.Shots[0].Flow.Src, b.Shots[0].ISS, b.Shots[0].Acks = earlier.Src, &seq, []wire.Seq{right, wrong}
	a := r.burst(t, b).Attempts[0]
	if a.Flow != earlier || a.ISS != first || len(a.SYNs) != 4 || len(a.Answers) != 2 {
		t.Fatalf("%s from %d: %d sent, %d answers, want 4 and 2: %s", a.Flow, a.ISS, len(a.SYNs), len(a.Answers), a.Reason)
	}
	for _, ans := range a.Answers {
		if ans.Kind != observe.RST || ans.Seq != wrong {
			t.Errorf("%s at %d, want an RST at %d", ans.Kind, ans.Seq, wrong)
		}
	}
	if last := a.Sent; len(last) != 1 || last[0].Flags != wire.RST || last[0].Seq != first+2 {
		t.Errorf("in the end: %+v, want an RST at %d", last, first+2)
	}
	b.Shots[0].Again = true
	if a := r.burst(t, b).Attempts[0]; a.Flow != earlier || a.ISS != first || len(a.Answers) != 2 {
		t.Errorf("once more: %s from %d, %d answers, want 2: %s", a.Flow, a.ISS, len(a.Answers), a.Reason)
	}
}
