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
