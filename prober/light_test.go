package prober

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// told is a Sink that hands on what it is told, and counts the rest.
type told struct {
	healthy chan Healthy
	rounds  chan Round
	found   chan []Round
	mu      sync.Mutex
	skipped map[Skip]int
}

func newTold() *told {
	return &told{healthy: make(chan Healthy, 1000), rounds: make(chan Round, 1000), found: make(chan []Round, 10), skipped: map[Skip]int{}}
}

func (s *told) Observe(_, _ string, _ map[string]string, rounds []Round) {
	for _, r := range rounds {
		s.rounds <- r
	}
}

func (s *told) Healthy(_, _ string, _ map[string]string, h *Healthy) {
	c := *h
	c.RTTs = append([]time.Duration(nil), h.RTTs...)
	s.healthy <- c
}

func (s *told) Diagnosed(_, _ string, _ map[string]string, _ string, found []Round) { s.found <- found }

func (s *told) Fail(string, string, string, map[string]string) {}
func (s *told) Lag(time.Duration)                              {}
func (s *told) Skipped(_ string, why Skip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped[why]++
}

// on is a schedule of the rig's client: it runs until the test is over.
func (r *rig) schedule(t *testing.T, sink Sink, jobs ...Job) (*Schedule, *Prober) {
	t.Helper()
	p := r.prober(addr(serverV4), addr(serverV6), addr(ghostV4), addr(ghostV6))
	s := p.NewSchedule(sink)
	s.within = func(f func()) { must(t, r.client.Do(func() error { f(); return nil })) }
	s.Set(jobs)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.within(func() { s.Run(ctx) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s, p
}

func rawJob(interval time.Duration, targets ...string) Job {
	m, _ := BuiltinModule(KindSYN)
	m.Timeout, m.Burst = 2*time.Second, 5
	return Job{Name: "vips", Module: m, Interval: interval, Targets: targets}
}

func receive[T any](t *testing.T, c chan T) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	panic("unreachable")
}

// A target that answers is told in a few words, round after round; of one that refuses or is silent every attempt is told, with its frames.
func TestScheduledRawRounds(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		r := newRig(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 20000, Hi: 29999}})
		server, ghost := serverV4, ghostV4
		if v6 {
			server, ghost = serverV6, ghostV6
		}
		well, refuses, silent := netip.AddrPortFrom(addr(server), 80), netip.AddrPortFrom(addr(server), 81), netip.AddrPortFrom(addr(ghost), 80)
		sink := newTold()
		r.schedule(t, sink, rawJob(500*time.Millisecond, well.String(), refuses.String(), silent.String()))
		for range 3 {
			h := receive(t, sink.healthy)
			if h.Target != well.String() || h.Addr != well || h.Connections != 5 || len(h.RTTs) != 5 || h.RTTs[0] <= 0 {
				t.Errorf("healthy: %+v", h)
			}
		}
		want := map[netip.AddrPort]observe.Outcome{refuses: observe.Refused, silent: observe.TimedOut}
		for len(want) > 0 {
			x := receive(t, sink.rounds)
			if outcome, wanted := want[x.Addr]; wanted {
				delete(want, x.Addr)
				illAsExpected(t, &x, outcome)
			}
		}
	}
}

// illAsExpected holds an ill round against what every attempt of it came to.
func illAsExpected(t *testing.T, x *Round, outcome observe.Outcome) {
	t.Helper()
	if x.Err != nil || x.Success || len(x.Observations) != 1 || len(x.Attempts()) != 5 {
		t.Fatalf("%s: %v %q, %d attempts", x.Addr, x.Err, x.Why, len(x.Attempts()))
	}
	o := &x.Observations[0]
	syns := 1
	if outcome == observe.TimedOut {
		syns = 2 // the second repeat is due after the 2 s that the round lasts
	}
	for _, a := range x.Attempts() {
		if a.Outcome != outcome || len(a.SYNs) != syns || a.Unseen != 0 || a.SYNs[0].At.IsZero() || a.Retransmissions != syns-1 {
			t.Errorf("%s: %s %q, %d SYNs, %d unseen, %d repeats", x.Addr, a.Outcome, a.Reason, len(a.SYNs), a.Unseen, a.Retransmissions)
		}
	}
	if !o.Whole() || o.Recorded == nil || len(o.Recorded.Frames) < 5*syns || len(o.Strays) != 0 {
		t.Errorf("%s: drops %d, strays %v, recorded %+v", x.Addr, o.CaptureDrops, o.Strays, o.Recorded != nil)
	}
}
