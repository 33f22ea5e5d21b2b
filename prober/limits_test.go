package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// roomy are limits that stand in nobody's way; each test narrows one.
func roomy() Limits {
	return Limits{PerTargetRate: 1e6, PerTargetBurst: 1e6, GlobalRate: 1e6, GlobalBurst: 1e6, HalfOpen: 1e6, Unanswered: 1e6}
}

func refusedBy(t *testing.T, err error, limit string) {
	t.Helper()
	var b *BudgetError
	if !errors.As(err, &b) || b.Limit != limit || !strings.HasPrefix(err.Error(), "target the test's: limits."+limit+": ") {
		t.Errorf("got %v, want a refusal by limits.%s", err, limit)
	}
}

func TestWhatIsNotAllowedSeesNoPacket(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	allow, err := ParseAllow([]string{"10.0.0.64/28", "fd00::60/124"})
	must(t, err)
	check := func(a netip.Addr) error { return allow.Check("the test's", a) }
	for _, dst := range []netip.AddrPort{on(serverV4, 80), on(serverV6, 80), on("10.0.0.9", 80), on("::ffff:10.0.0.2", 80)} {
		for _, arm := range []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())} {
			b := to(time.Second, 3, []plan.Arm{arm}, dst)
			_, err := r.try(t.Context(), request{burst: &b, check: check})
			var no *NotAllowedError
			if !errors.As(err, &no) || !strings.Contains(err.Error(), fmt.Sprintf("add %q under allow:", dst.Addr().Unmap())) {
				t.Errorf("%s %s: %v", arm.Name, dst, err)
			}
			b = to(time.Second, 1, []plan.Arm{arm}, on(ghostV4, 80), dst) // one of several is enough
			if _, err := r.try(t.Context(), request{burst: &b, check: check}); !errors.As(err, &no) {
				t.Errorf("%s %s among others: %v", arm.Name, dst, err)
			}
			b = plan.Burst{Prepare: []plan.NeighborStep{{Action: plan.Warm, Addr: dst.Addr()}}, Arms: []plan.Arm{arm}, Shots: []plan.Shot{{Flow: wire.Flow{Dst: on(ghostV4, 80)}}}}
			if obs, err := r.try(t.Context(), request{burst: &b, check: check}); err != nil || len(obs.Unmeasured) != 1 {
				t.Errorf("%s: warming %s: %v, %v", arm.Name, dst, obs.Unmeasured, err)
			}
		}
	}
	r.barrier(t, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		toGhosts := f.tcp && (f.seg.Dst.Addr() == addr(ghostV4) || f.seg.Dst.Addr() == addr(ghostV6))
		multicast := f.frame[0]&1 == 1 && f.frame[12] == 0x86 // MLD and the like of the kernel's own
		if !toGhosts && !multicast {
			t.Errorf("a frame left: % x", f.frame)
		}
	}
}

// While a burst waits for its turn the list may change: what counts is the list when it is sent.
func TestTheAllowListIsAskedAgainBeforeSending(t *testing.T) {
	t.Parallel()
	l := roomy()
	l.PerTargetRate, l.PerTargetBurst = 5, 1
	r := newRig(t, EngineOptions{Limits: l})
	p := r.listen(t, nil)
	b := to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
	r.burst(t, b)
	asked := 0
	_, err := r.try(t.Context(), request{burst: &b, check: func(a netip.Addr) error {
		if asked++; asked > 1 {
			return &NotAllowedError{Target: "x", Addr: a, Why: "gone"}
		}
		return nil
	}})
	if _, ok := errors.AsType[*NotAllowedError](err); !ok {
		t.Errorf("got %v", err)
	}
	r.barrier(t, p)
	if n := len(p.segments(func(s *wire.Segment) bool { return isSYN(s) && s.Dst.Port() == 80 })); n != 1 {
		t.Errorf("%d SYNs", n)
	}
}

// within counts the most events in any window of that length.
func within(times []time.Time, window time.Duration) int {
	slices.SortFunc(times, time.Time.Compare)
	most := 0
	for i := range times {
		n := 0
		for _, t := range times[i:] {
			if t.Sub(times[i]) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func timesOf(s []sniffed) []time.Time {
	out := make([]time.Time, len(s))
	for i := range s {
		out[i] = s[i].at
	}
	return out
}

// hurry sends bursts at once from many callers until their common time is over, and returns the errors.
func (r *rig) hurry(t *testing.T, d time.Duration, callers int, b func(i int) plan.Burst) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			burst := b(i)
			_, errs[i] = r.try(ctx, request{burst: &burst})
		})
	}
	wg.Wait()
	return errs
}

func TestRatesAreKeptOnTheWire(t *testing.T) {
	t.Parallel()
	const rate, burst = 20, 10
	for name, set := range map[string]func(*Limits){
		"per_target_rate": func(l *Limits) { l.PerTargetRate, l.PerTargetBurst = rate, burst },
		"global_rate":     func(l *Limits) { l.GlobalRate, l.GlobalBurst = rate, burst },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := roomy()
			set(&l)
			r := newRig(t, EngineOptions{Limits: l})
			p := r.listen(t, nil)
			one := func(int) plan.Burst { return to(200*ms, 5, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80)) }
			errs := r.hurry(t, 1500*ms, 12, one) // 60 SYNs wanted, 10 + 30 permitted
			refused := 0
			for _, err := range errs {
				if err != nil {
					refused++
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) { // its turn came as time was over
					refusedBy(t, err, name)
				}
			}
			syns := p.await(t, 5*(len(errs)-refused), isSYN)
			if refused == 0 || len(syns) != 5*(len(errs)-refused) {
				t.Errorf("%d of %d bursts refused, %d SYNs", refused, len(errs), len(syns))
			}
			for _, w := range []time.Duration{50 * ms, 500 * ms, time.Second, 1500 * ms} {
				if got, most := within(timesOf(syns), w), burst+int(rate*w.Seconds())+5; got > most { // a burst that a busy machine held up
					t.Errorf("%d SYNs within %s, %d permitted", got, w, most)
				}
			}
			b := to(time.Second, burst+1, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
			_, err := r.try(t.Context(), request{burst: &b})
			refusedBy(t, err, name)
		})
	}
}

// Repeated SYNs are paid for afterwards: the next burst waits for them.
func TestRepeatsAreChargedToTheTarget(t *testing.T) {
	t.Parallel()
	l := roomy()
	l.PerTargetRate, l.PerTargetBurst = 20, 10
	r := newRig(t, EngineOptions{Limits: l})
	p := r.listen(t, nil)
	ladder := plan.Custom(0, 1*ms, 2*ms, 3*ms, 4*ms, 5*ms, 6*ms, 7*ms, 8*ms, 9*ms, 10*ms, 11*ms, 12*ms)
	r.scouted(t, p)
	r.burst(t, to(100*ms, 5, []plan.Arm{rawArm(ladder)}, on(ghostV4, 80))) // 5 paid for at once, 60 owed
	b := to(100*ms, 10, []plan.Arm{rawArm(ladder)}, on(ghostV4, 80))
	ctx, cancel := context.WithTimeout(t.Context(), 300*ms)
	defer cancel()
	_, err := r.try(ctx, request{burst: &b})
	refusedBy(t, err, "per_target_rate")
}

func TestHalfOpenConnectionsAreCountedPerListener(t *testing.T) {
	t.Parallel()
	l := roomy()
	l.HalfOpen = 16
	r := newRig(t, EngineOptions{Limits: l})
	p := r.listen(t, nil)
	r.scouted(t, p)
	arm := rawArm(plan.Single())
	b := to(100*ms, 17, []plan.Arm{arm}, on(ghostV4, 80))
	_, err := r.try(t.Context(), request{burst: &b})
	refusedBy(t, err, "half_open")
	r.barrier(t, p)
	if n := len(p.segments(func(s *wire.Segment) bool { return isSYN(s) && s.Dst.Port() == 80 })); n != 0 {
		t.Errorf("%d SYNs of a refused burst", n)
	}

	// Three bursts of 10 at once towards one listener follow each other; one to another port does not wait.
	ports := []uint16{80, 80, 80, 8080}
	for _, err := range r.hurry(t, patience, len(ports), func(i int) plan.Burst { return to(300*ms, 10, []plan.Arm{arm}, on(ghostV4, ports[i])) }) {
		must(t, err)
	}
	syns := p.await(t, 30, func(s *wire.Segment) bool { return isSYN(s) && s.Dst.Port() == 80 })
	if got := within(timesOf(syns), 50*ms); got > 16 {
		t.Errorf("%d SYNs that could be half-open at once", got)
	}

	// What completes the handshake, and what the kernel connects, is not half-open.
	full := arm
	full.Script.OnSYNACK = plan.Acknowledge
	r.burst(t, to(time.Second, 17, []plan.Arm{full, kernelArm(plan.Single())}, on(serverV4, 80)))
	held := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 400*ms)
	defer cancel()
	go func() {
		defer close(held)
		b := to(time.Second, 10, []plan.Arm{arm}, on(ghostV4, 80))
		_, _ = r.try(context.WithoutCancel(ctx), request{burst: &b})
	}()
	p.await(t, len(syns)+10, func(s *wire.Segment) bool { return isSYN(s) && s.Dst == on(ghostV4, 80) })
	b = to(time.Second, 10, []plan.Arm{arm}, on(ghostV4, 80))
	_, err = r.try(ctx, request{burst: &b})
	refusedBy(t, err, "half_open")
	<-held
}

func TestUnansweredFlowsAreCounted(t *testing.T) {
	t.Parallel()
	l := roomy()
	l.Unanswered = 25
	r := newRig(t, EngineOptions{Limits: l})
	p := r.listen(t, nil)
	ghost := func(n int) plan.Burst { return to(150*ms, n, []plan.Arm{kernelArm(plan.Single())}, on(ghostV4, 80)) }

	// Of four bursts of 10 at once two may go unanswered; the others wait for them and are refused for what they came to.
	errs := r.hurry(t, patience, 4, func(int) plan.Burst { return ghost(10) })
	refused := 0
	for _, err := range errs {
		if err != nil {
			refused++
			refusedBy(t, err, "unanswered")
		}
	}
	if n := len(p.segments(isSYN)); refused != 2 || n != 20 {
		t.Errorf("%d of 4 refused, %d SYNs", refused, n)
	}
	// What is answered costs nothing, as long as it could go unanswered within the limit.
	for range 4 {
		r.burst(t, to(time.Second, 5, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80)))
	}
	b := to(time.Second, 6, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, 80))
	_, err := r.try(t.Context(), request{burst: &b})
	refusedBy(t, err, "unanswered")
}

// A raw burst to a hundred silent neighbours asks for no more than ten a second, and for each of them once whatever the callers.
func TestOurOwnARPIsPaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	errs := r.hurry(t, 1700*ms, 60, func(i int) plan.Burst {
		return to(100*ms, 1, []plan.Arm{rawArm(plan.Single())}, on(fmt.Sprintf("10.0.0.%d", 100+i/2), 80)) // two callers each
	})
	var asked []time.Time
	targets := map[netip.Addr]int{}
	p.mu.Lock()
	for _, f := range p.frames {
		if f.frame[12] == 0x08 && f.frame[13] == 0x06 {
			asked = append(asked, f.at)
			targets[netip.AddrFrom4([4]byte(f.frame[38:42]))]++
		}
	}
	p.mu.Unlock()
	if n := within(asked, time.Second); n > 12 || n < 5 { // one at either end, and one that a busy machine held up
		t.Errorf("%d ARP requests within a second", n)
	}
	for a, n := range targets {
		if n > 2 { // 1.7 s: one request and, 0.9 s later, another
			t.Errorf("%s asked for %d times", a, n)
		}
	}
	paced := 0
	for i, err := range errs {
		var b *BudgetError
		switch {
		case errors.As(err, &b):
			paced++
			refusedBy(t, err, "arp_rate")
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("caller %d: %v", i, err)
		}
	}
	if paced == 0 {
		t.Error("nobody was told of limits.arp_rate")
	}
}

// Of callers who want the same new neighbour at once one asks, and one looks how the kernel would leave.
func TestManyCallersAskAndScoutOnce(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.far.Addr("10.0.0.77/24")
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	p := r.listen(t, nil)
	const callers = 20
	for _, err := range r.hurry(t, patience, callers, func(int) plan.Burst {
		return to(time.Second, 2, []plan.Arm{rawArm(plan.Single())}, on("10.0.0.77", 80))
	}) {
		must(t, err)
	}
	p.mu.Lock()
	arps := 0
	for _, f := range p.frames {
		if f.frame[12] == 0x08 && f.frame[13] == 0x06 && netip.AddrFrom4([4]byte(f.frame[38:42])) == addr("10.0.0.77") {
			arps++
		}
	}
	p.mu.Unlock()
	if arps > 2 { // ours, and the kernel's for the scout
		t.Errorf("%d ARP requests", arps)
	}
	if n := len(p.await(t, 2*callers+1, isSYN)); n != 2*callers+1 {
		t.Errorf("%d SYNs for %d callers with 2 shots each and one scout", n, callers)
	}
}

func TestLimitsThatAreNotSetAreTheDefaults(t *testing.T) {
	t.Parallel()
	if got := (Limits{}).withDefaults(); got != DefaultLimits() {
		t.Errorf("of none: %+v", got)
	}
	want := DefaultLimits()
	want.HalfOpen, want.ARPRate = 3, 0.5
	if got := (Limits{HalfOpen: 3, ARPRate: 0.5, GlobalRate: -1}).withDefaults(); got != want {
		t.Errorf("of some: %+v", got)
	}
}

// The books of a budget come out even whatever the bursts came to.
func TestABudgetGivesBackWhatItLent(t *testing.T) {
	t.Parallel()
	b := newBudget(roomy())
	dst := on(ghostV4, 80)
	want := map[netip.AddrPort]demand{dst: {flows: 4, halfOpen: 4}}
	for _, outcome := range append(observe.Outcomes(), observe.OutcomeUnknown) {
		release, err := b.take(t.Context(), "x", want)
		must(t, err)
		release([]observe.Attempt{{Outcome: outcome, Flow: wire.Flow{Dst: dst}, Retransmissions: 3}, {Outcome: outcome, Answers: make([]observe.Answer, 1)}})
	}
	release, err := b.take(t.Context(), "x", want)
	must(t, err)
	release(nil)
	if b.open != 0 || b.targets[dst].halfOpen != 0 || b.targets[dst].bursts != 0 {
		t.Errorf("open %d, half-open %d, bursts %d", b.open, b.targets[dst].halfOpen, b.targets[dst].bursts)
	}
	if b.silenced != 3 { // timed out, unreachable, interrupted: each once without an answer
		t.Errorf("%d unanswered", b.silenced)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now().Add(plan.PortQuarantine))
	if b.silenced != 0 || len(b.silent) != 0 {
		t.Errorf("%d unanswered after the quarantine", b.silenced)
	}
	b.expire(time.Now().Add(plan.PortQuarantine + 2*time.Minute))
	if len(b.targets) != 0 {
		t.Errorf("%d targets kept", len(b.targets))
	}
}

// What has no time left is not held up by a limit, and is not called so: the schedule counts such rounds as overload.
func TestTimeThatWasOverIsNoLimit(t *testing.T) {
	t.Parallel()
	dst := on(serverV4, 80)
	b := newBudget(roomy())
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	for ctx, want := range map[context.Context]error{over: context.DeadlineExceeded, cancelled: context.Canceled} {
		res := &reservation{flows: 1, want: map[netip.AddrPort]demand{dst: {flows: 1}}, at: map[netip.AddrPort]*targetBudget{}}
		must(t, b.reserve(t.Context(), "the test's", res))
		var env *EnvironmentError
		if err := b.pace(ctx, "the test's", res); !errors.As(err, &env) || !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
