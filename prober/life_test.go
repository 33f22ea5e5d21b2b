package prober

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// descriptors lists what this process has open, but for what comes and goes with the runtime.
func descriptors(t *testing.T) map[string]int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	kinds := map[string]int{}
	for _, e := range list {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || strings.HasPrefix(to, "/proc") || strings.HasPrefix(to, "pipe:") {
			continue
		}
		kind, _, _ := strings.Cut(to, "[")
		kinds[kind]++
	}
	return kinds
}

// Not parallel: it counts what the whole process has.
func TestCloseLeavesNothingBehind(t *testing.T) {
	r := network(t)
	must(t, r.Err())
	r.server.Serve(echoOn(80))
	run := func() {
		must(t, r.client.Do(func() (err error) {
			r.engine, err = newEngine(EngineOptions{RingBytes: 4 << 20})
			return err
		}))
		for _, host := range []string{serverV4, serverV6, "127.0.0.1", ghostV4} {
			r.burst(t, to(50*ms, 5, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(host, 80)))
		}
		// And a burst under way.
		b := to(time.Hour, 5, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(ghostV4, 80))
		done := make(chan observe.Observation, 1)
		go func() {
			obs, _ := r.try(context.Background(), request{burst: &b})
			done <- obs
		}()
		underWay(t, r.engine)
		must(t, r.engine.Close())
		obs := <-done
		for i := range obs.Attempts {
			if a := &obs.Attempts[i]; a.Outcome != observe.OutcomeUnknown || a.Reason != "interrupted before an answer: the prober is closed" {
				t.Errorf("%s", outcomes(&obs))
			}
		}
		must(t, r.engine.Close())
	}
	run() // what a first run makes for good (netlink of the network, the resolver) is there afterwards
	before, ignore := descriptors(t), goleak.IgnoreCurrent()
	for range 3 {
		run()
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
	for kind, n := range descriptors(t) {
		if n > before[kind] {
			t.Errorf("%d %s, %d before", n, kind, before[kind])
		}
	}
	b := to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
	if _, err := r.try(t.Context(), request{burst: &b}); !errors.Is(err, errClosed) {
		t.Errorf("a burst after Close: %v", err)
	}
}

// underWay waits until every shot of a burst has sent its SYN.
func underWay(t *testing.T, e *engine) {
	t.Helper()
	tick := time.NewTicker(ms)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		e.mu.Lock()
		all := len(e.runs) > len(e.free)+1
		for _, r := range e.runs {
			if r == nil {
				continue
			}
			for i := range r.shots {
				s := &r.corr.Observation().Attempts[i]
				all = all && len(s.SYNs) > 0 && !s.SYNs[0].At.IsZero()
			}
		}
		e.mu.Unlock()
		if all {
			return
		}
	}
	t.Fatal("the burst did not begin")
}

// The public face, from twenty callers at once: some ask the same, some something else, some give up.
func TestTwentyProbesAtOnce(t *testing.T) {
	t.Parallel()
	private(t)
	l, err := net.Listen("tcp", "[::]:0")
	must(t, err)
	defer l.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, dead.Close())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p, err := New(Options{Allow: AllowAddrs(addr("127.0.0.1"), addr("::1")), EngineOptions: EngineOptions{RingBytes: 4 << 20, Limits: roomy()}, Counters: true})
	must(t, err)
	defer func() { must(t, p.Close()) }()
	syn := Module{Name: "syn", Kind: KindSYN, Burst: 5, Timeout: 5 * time.Second}
	connect := Module{Name: "connect", Kind: KindConnect, Burst: 5, Count: 3, Timeout: 5 * time.Second, MaxStalled: -1}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			m, host, want := connect, []string{"127.0.0.1", "[::1]"}[i%2], true
			if i%3 == 0 {
				m = syn
			}
			target := host + ":" + port
			if i%5 == 4 {
				target, want = dead.Addr().String(), false
			}
			ctx := t.Context()
			if i == 19 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, ms)
				defer cancel()
			}
			rounds, err := p.Probe(ctx, target, m)
			if i == 19 {
				return // whatever it got, it got promptly
			}
			if err != nil || len(rounds) != 1 || rounds[0].Err != nil || rounds[0].Success != want {
				t.Errorf("%d: %s by %s: %v", i, target, m.Name, err)
				for k := range rounds {
					t.Errorf("%v %s", rounds[k].Err, rounds[k].Why)
				}
			}
		})
	}
	wg.Wait()
}

// A ring that stops giving frames under way: raw shots end, reset blindly, and of them nothing is claimed; kernel connects go on by
// TCP_INFO alone.
func TestTheCaptureEndsUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	r.scouted(t, p)
	b := to(time.Second, 3, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Linear(time.Second, 4, 6))}, on(ghostV4, 80), on(serverV4, 80))
	done := make(chan observe.Observation, 1)
	go func() {
		obs, err := r.try(t.Context(), request{burst: &b})
		if err != nil {
			t.Error(err)
		}
		done <- obs
	}()
	underWay(t, r.engine)
	r.engine.tapFailed(errors.New("the device has gone"))
	obs := <-done
	if obs.Captured || len(obs.Unmeasured) != 1 || !strings.HasPrefix(obs.Unmeasured[0], "no capture: the capture ended: the device has gone;") {
		t.Errorf("captured %v, unmeasured %q", obs.Captured, obs.Unmeasured)
	}
	silent := 0
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		want := map[bool]observe.Outcome{true: observe.Accepted, false: observe.TimedOut}[a.Flow.Dst.Addr() == addr(serverV4)]
		if a.Via == plan.Raw && want == observe.TimedOut {
			want = observe.OutcomeUnknown
			silent++
		}
		if a.Outcome != want {
			t.Errorf("%s %s: %s %q, want %s", a.Arm, a.Flow, a.Outcome, a.Reason, want)
		}
	}
	rsts := p.await(t, silent, func(s *wire.Segment) bool { return isRST(s) && s.Dst == on(ghostV4, 80) })
	for i := range rsts {
		if k := attemptOf(&obs, rsts[i].seg.Flow()); k < 0 || rsts[i].seg.Seq != obs.Attempts[k].ISS+1 {
			t.Errorf("not where a listener would take it: %s", rsts[i].seg.String())
		}
	}
	// From now on: kernel connects alone, and a word about it.
	after := r.burst(t, both(on(serverV4, 80)))
	for i := range after.Attempts {
		a := &after.Attempts[i]
		want := map[plan.Via]observe.Outcome{plan.Kernel: observe.Accepted, plan.Raw: observe.NotSent}[a.Via]
		if a.Outcome != want || a.Via == plan.Raw && !strings.Contains(a.Reason, "raw shots need a capture: the capture ended") {
			t.Errorf("%s", outcomes(&after))
		}
	}
}

// Without the privilege of a tap the kernel's connects still work, and the answer says what could not be measured.
func TestWithoutACapture(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	must(t, r.Err())
	must(t, r.client.Do(func() (err error) {
		r.engine, err = newEngine(EngineOptions{NoCapture: true})
		return err
	}))
	t.Cleanup(func() { must(t, r.engine.Close()) })
	obs := r.burst(t, both(on(serverV4, 80)))
	if obs.Captured || len(obs.Unmeasured) != 1 || obs.Parity.State != observe.ParityUntested {
		t.Errorf("captured %v, parity %s, unmeasured %q", obs.Captured, obs.Parity.State, obs.Unmeasured)
	}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		switch {
		case a.Via == plan.Kernel && (a.Outcome != observe.Accepted || a.LostBy != observe.ByTCPInfo || a.Clock != observe.UserClock || a.RTT == 0):
			t.Errorf("kernel: %s by %s, %s clock", a.Outcome, a.LostBy, a.Clock)
		case a.Via == plan.Raw && (a.Outcome != observe.NotSent || !strings.Contains(a.Reason, "raw shots need a capture")):
			t.Errorf("raw: %s %q", a.Outcome, a.Reason)
		}
	}
}

// A burst that a limit refuses must leave the flows of others alone: the flow table's first record once fell to it.
func TestARefusedBurstTouchesNobodysFlows(t *testing.T) {
	t.Parallel()
	l := roomy()
	l.HalfOpen = 5
	r := newRig(t, EngineOptions{Limits: l})
	p := r.listen(t, nil)
	r.scouted(t, p)
	b := to(patience, 5, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 80))
	done := make(chan observe.Observation, 1)
	go func() {
		obs, _ := r.try(t.Context(), request{burst: &b})
		done <- obs
	}()
	syns := p.await(t, 5, func(s *wire.Segment) bool { return isSYN(s) && s.Dst == on(ghostV4, 80) })
	for range 3 {
		big := to(time.Second, 6, []plan.Arm{rawArm(plan.Single())}, on(ghostV4, 81))
		_, err := r.try(t.Context(), request{burst: &big})
		refusedBy(t, err, "half_open")
	}
	for i := range syns {
		p.send(synAckTo(&syns[i].seg))
	}
	obs := <-done
	for i := range obs.Attempts {
		if obs.Attempts[i].Outcome != observe.Accepted {
			t.Errorf("%s", outcomes(&obs))
		}
	}
}

// A caller with too little time must not make a path look broken to the next.
func TestOneImpatientCallerDoesNotSpoilThePath(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.far.Addr("10.0.0.88/24")
	r.server.Serve(echoOn(80))
	r.far.Conf("ipv4", "arp_ignore", "8") // nobody answers at first
	r.start(t, EngineOptions{})
	b := both(on("10.0.0.88", 80))
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	var env *EnvironmentError
	if _, err := r.try(ctx, request{burst: &b}); !errors.As(err, &env) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the impatient one: %v", err)
	}
	r.far.Conf("ipv4", "arp_ignore", "0")
	must(t, r.Err())
	obs := r.burst(t, b)
	for i := range obs.Attempts {
		if obs.Attempts[i].Outcome != observe.Accepted {
			t.Errorf("%s", outcomes(&obs))
		}
	}
}

// Steps before a burst make the kernel's neighbour entry known, or unknown.
func TestNeighborSteps(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.far.Addr("10.0.0.99/24")
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	dst := on("10.0.0.99", 80)
	asks := func(prepare ...plan.NeighborStep) int {
		t.Helper()
		b := to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, dst)
		b.Prepare = prepare
		obs := r.burst(t, b)
		if len(obs.Unmeasured) > 0 || obs.Attempts[0].Outcome != observe.Accepted {
			t.Errorf("%q\n%s", obs.Unmeasured, outcomes(&obs))
		}
		n := 0
		for _, ev := range obs.Neighbor {
			if ev.Kind == observe.NeighborRequest && ev.Target == dst.Addr() && ev.At.After(obs.Started) {
				n++
			}
		}
		return n
	}
	warm, forget := plan.NeighborStep{Action: plan.Warm, Addr: dst.Addr()}, plan.NeighborStep{Action: plan.Forget, Addr: dst.Addr()}
	if n := asks(warm); n != 0 {
		t.Errorf("after warming the burst asks %d times", n)
	}
	if n := asks(forget); n == 0 {
		t.Error("after forgetting the burst does not ask")
	}
	b := to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, dst)
	b.Prepare = []plan.NeighborStep{{Addr: dst.Addr()}, {Action: plan.Warm, Addr: addr("198.51.100.9")}}
	if obs := r.burst(t, b); len(obs.Unmeasured) != 2 || !strings.Contains(obs.Unmeasured[0], "neighbour 10.0.0.99: no such step") {
		t.Errorf("unmeasured: %q", obs.Unmeasured)
	}
}
