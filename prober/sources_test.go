package prober

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// A burst may hold shots from several of this host's addresses; one that is not this host's keeps only its own shots from leaving.
func TestShotsFromSeveralSources(t *testing.T) {
	t.Parallel()
	r := network(t)
	const second, notOurs = "10.0.0.9", "10.0.0.77"
	r.near.Addr(second + "/24")
	r.far.Knows(second, r.near)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	l := plan.Single()
	b := plan.Burst{Arms: []plan.Arm{rawArm(l), kernelArm(plan.Linear(time.Second, 4, 6))}, Listen: time.Second}
	want := []string{"", second, notOurs, ""}
	for arm := range b.Arms {
		for _, src := range want {
			f := wire.Flow{Dst: on(serverV4, 80)}
			if src != "" {
				f.Src = netip.AddrPortFrom(addr(src), 0)
			}
			b.Shots = append(b.Shots, plan.Shot{Arm: arm, Flow: f})
		}
	}
	obs := r.burst(t, b)
	for i := range obs.Attempts {
		a, src := &obs.Attempts[i], want[i%len(want)]
		switch src {
		case notOurs:
			if a.Outcome != observe.NotSent || a.Reason == "" {
				t.Errorf("attempt %d from an address of nobody here: %s, %q", i, a.Outcome, a.Reason)
			}
			continue
		case "":
			src = clientV4
		}
		if a.Outcome != observe.Accepted || a.Flow.Src.Addr() != addr(src) {
			t.Errorf("attempt %d: %s from %s, want accepted from %s (%s)", i, a.Outcome, a.Flow.Src, src, a.Reason)
		}
	}
}
