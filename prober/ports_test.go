package prober

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// occupy binds listeners on the client for the life of the test: what other programs have.
func (r *rig) occupy(t *testing.T, addrs ...string) {
	t.Helper()
	must(t, r.client.Do(func() error {
		for _, a := range addrs {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
		}
		return nil
	}))
}

func TestSourceAddressInterfaceAndPortsAsAsked(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.near.Addr("10.0.0.11/24").Addr("fd00::11/64")
	r.far.Knows("10.0.0.11", r.near).Knows("fd00::11", r.near)
	range_ := plan.PortRange{Lo: 21000, Hi: 21199}
	r.start(t, EngineOptions{SourcePorts: range_})
	p := r.listen(t, nil)
	for _, tc := range []struct{ src, dst string }{{"10.0.0.11", serverV4}, {"fd00::11", serverV6}} {
		b := both(on(tc.dst, 80))
		obs, err := r.try(t.Context(), request{burst: &b, source: addr(tc.src), iface: r.near.Name})
		must(t, err)
		ports := map[uint16]bool{}
		for i := range obs.Attempts {
			a := &obs.Attempts[i]
			if a.Outcome != observe.Accepted || a.Flow.Src.Addr() != addr(tc.src) || !range_.Contains(a.Flow.Src.Port()) || a.SYNs[0].IfIndex != r.near.Index {
				t.Errorf("%s", outcomes(&obs))
			}
			ports[a.Flow.Src.Port()] = true
		}
		if len(ports) != len(obs.Attempts) {
			t.Errorf("%d ports for %d attempts", len(ports), len(obs.Attempts))
		}
		r.barrier(t, p)
		for _, s := range p.segments(func(s *wire.Segment) bool { return s.Dst == on(tc.dst, 80) }) {
			if s.seg.Src.Addr() != addr(tc.src) {
				t.Errorf("left from elsewhere: %s", s.seg.String())
			}
		}
	}
}

func TestPortsThatOthersHaveAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	must(t, r.Err())
	// Of 20 ports for each kind these are free: three for the kernel, four for raw shots. One is listened on at all addresses, one at ours,
	// the others at another one, which leaves them to raw shots and not to a connect that is bound to no address.
	var taken []string
	for p := 22000; p < 22017; p++ {
		taken = append(taken, fmt.Sprintf("127.0.0.1:%d", p))
	}
	for p := 22020; p < 22036; p++ {
		taken = append(taken, fmt.Sprintf("%s:%d", []string{"0.0.0.0", clientV4}[p%2], p))
	}
	r.occupy(t, taken...)
	r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 22000, Hi: 22039}})
	obs := r.burst(t, to(time.Second, 3, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80)))
	raw := r.burst(t, to(time.Second, 4, []plan.Arm{rawArm(plan.Single())}, on("10.0.0.2", 81))) // its scout takes a kernel port towards 81
	for _, o := range []*observe.Observation{&obs, &raw} {
		for i := range o.Attempts {
			if a := &o.Attempts[i]; a.Outcome != observe.Accepted && a.Outcome != observe.Refused {
				t.Errorf("%s", outcomes(o))
			}
		}
	}
	b := to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
	_, err := r.try(t.Context(), request{burst: &b})
	var few *plan.ErrPorts
	if !errors.As(err, &few) || !strings.Contains(err.Error(), "source ports 22000-22019 towards 10.0.0.2:80: 1 wanted, 0 not used in the last 2m0s") {
		t.Errorf("when all are spent: %v", err)
	}
}

// A burst gets all its ports or none: half of it would be another experiment.
func TestTooFewPortsRefuseTheWholeBurst(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 23000, Hi: 23019}})
	p := r.listen(t, nil)
	for _, arm := range []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())} {
		b := to(time.Second, 11, []plan.Arm{arm}, on(serverV4, 80))
		_, err := r.try(t.Context(), request{burst: &b})
		var env *EnvironmentError
		if !errors.As(err, &env) || !strings.Contains(err.Error(), "11 wanted") || !strings.Contains(err.Error(), "the range holds 10") {
			t.Errorf("%s: %v", arm.Name, err)
		}
	}
	r.barrier(t, p)
	if n := len(p.segments(func(s *wire.Segment) bool { return isSYN(s) && s.Dst == on(serverV4, 80) })); n > 1 { // the raw arm's scout
		t.Errorf("%d SYNs", n)
	}
	for _, bad := range []plan.PortRange{{Lo: 5, Hi: 4}, {Lo: 5, Hi: 5}, {Lo: 0, Hi: 9}} {
		if e, err := newEngine(EngineOptions{SourcePorts: bad}); err == nil || !strings.Contains(err.Error(), "source ports "+bad.String()) {
			t.Errorf("%s: %v", bad, err)
			_ = e.Close()
		}
	}
}

func TestPortsAskedForByNumber(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 24000, Hi: 24007}})
	r.occupy(t, "0.0.0.0:24001", "0.0.0.0:24005")
	ask := func(arm plan.Arm, port uint16) *observe.Attempt {
		t.Helper()
		b := to(time.Second, 1, []plan.Arm{arm}, on(serverV4, 80))
		b.Shots[0].Flow.Src = netip.AddrPortFrom(netip.Addr{}, port)
		obs := r.burst(t, b)
		return &obs.Attempts[0]
	}
	raw, kernel := rawArm(plan.Single()), kernelArm(plan.Single())
	for _, tc := range []struct {
		arm     plan.Arm
		port    uint16
		outcome observe.Outcome
		reason  string
	}{
		{raw, 24004, observe.Accepted, ""},
		{raw, 24004, observe.NotSent, "by another flow of ours"},
		{kernel, 24000, observe.Accepted, ""},
		{raw, 24005, observe.NotSent, "in use"},
		{kernel, 24001, observe.NotSent, "in use"},
		{raw, 23999, observe.NotSent, "outside of 24000-24007"},
	} {
		a := ask(tc.arm, tc.port)
		if a.Outcome != tc.outcome || !strings.Contains(a.Reason, tc.reason) || tc.outcome == observe.Accepted && a.Flow.Src.Port() != tc.port {
			t.Errorf("%s from %d: %s %q from %d", tc.arm.Name, tc.port, a.Outcome, a.Reason, a.Flow.Src.Port())
		}
	}
	// A port asked for is not handed out again: of the kernel's four one was asked for, one is others', one the scout's; one is left.
	obs := r.burst(t, to(time.Second, 1, []plan.Arm{kernel}, on(serverV4, 80)))
	if p := obs.Attempts[0].Flow.Src.Port(); p == 24000 {
		t.Errorf("port %d was used a moment ago", p)
	}
}

// Bursts to many targets at once do not take each other's ports for other programs'.
func TestManyTargetsAtOnce(t *testing.T) {
	t.Parallel()
	r := network(t)
	const targets = 40
	for i := range targets {
		r.far.Addr(fmt.Sprintf("10.0.0.%d/24", 100+i))
		r.near.Knows(fmt.Sprintf("10.0.0.%d", 100+i), r.far)
	}
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	var wg sync.WaitGroup
	for i := range targets {
		wg.Go(func() {
			b := to(10*time.Second, 10, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(fmt.Sprintf("10.0.0.%d", 100+i), 80))
			obs, err := r.try(t.Context(), request{burst: &b})
			if err != nil {
				t.Error(err)
			}
			for k := range obs.Attempts {
				if a := &obs.Attempts[k]; a.Outcome != observe.Accepted {
					t.Errorf("%s %s: %s %q", a.Arm, a.Flow, a.Outcome, a.Reason)
				}
			}
		})
	}
	wg.Wait()
}

// Connects of ours that have the ports are waited for, as long as there is time.
func TestPortsUnderWayAreWaitedFor(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 26000, Hi: 26019}})
	slow := to(2*time.Second, 8, []plan.Arm{kernelArm(plan.Single())}, on(ghostV4, 80))
	done := make(chan error, 1)
	go func() {
		_, err := r.try(t.Context(), request{burst: &slow})
		done <- err
	}()
	underWay(t, r.engine)
	quick := to(10*time.Second, 8, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
	ctx, cancel := context.WithTimeout(t.Context(), 700*ms)
	defer cancel()
	var few *plan.ErrPorts
	if _, err := r.try(ctx, request{burst: &quick}); !errors.As(err, &few) {
		t.Errorf("with too little time: %v", err)
	}
	obs := r.burst(t, quick)
	must(t, <-done)
	for i := range obs.Attempts {
		if obs.Attempts[i].Outcome != observe.Accepted {
			t.Errorf("%s", outcomes(&obs))
		}
	}
}

// What is held is given back: two engines of one process, one after the other, need the same ports.
func TestTwoEnginesOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	ports := plan.PortRange{Lo: 25000, Hi: 25003}
	r.start(t, EngineOptions{SourcePorts: ports})
	first := r.burst(t, to(time.Second, 1, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80)))
	must(t, r.engine.Close())
	r.start(t, EngineOptions{SourcePorts: ports})
	again := r.burst(t, to(time.Second, 1, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80)))
	for _, o := range []*observe.Observation{&first, &again} {
		for i := range o.Attempts {
			if o.Attempts[i].Outcome != observe.Accepted {
				t.Errorf("%s", outcomes(o))
			}
		}
	}
}
