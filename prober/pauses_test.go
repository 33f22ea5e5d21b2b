package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

func TestPausesKeepAPairStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newPauses()
		src, other, dst := addr("192.0.2.1"), addr("192.0.2.9"), addr("192.0.2.2")
		mine, theirs := &Round{}, &Round{}
		check := func(story string, from, to netip.Addr, owner *Round, want time.Duration) {
			t.Helper()
			err := ps.check("vip", to, owner, func() netip.Addr { return from })
			p, paused := errors.AsType[*PausedError](err)
			switch {
			case want == 0 && err != nil:
				t.Errorf("%s: %v", story, err)
			case want != 0 && (!paused || time.Until(p.Until) != want):
				t.Errorf("%s: %v, want a pause of %s", story, err, want)
			}
		}
		check("nothing was primed", src, dst, nil, 0)
		ps.begin(src, dst, mine, 3*time.Second)
		check("others while the prime runs", src, dst, nil, 65*time.Second)
		check("another investigation", src, dst, theirs, 65*time.Second)
		check("the one that primes", src, dst, mine, 0)
		check("another source", other, dst, nil, 0)
		check("another destination", src, other, nil, 0)
		time.Sleep(2 * time.Second)
		ps.end(src, dst, mine, true)
		check("others after it", src, dst, nil, 62*time.Second)
		check("the one that primed", src, dst, mine, 0)
		ps.leave(mine)
		check("the one that primed, over", src, dst, mine, 62*time.Second)
		time.Sleep(61 * time.Second)
		check("a minute later", src, dst, nil, time.Second)
		time.Sleep(time.Second)
		check("62 s later", src, dst, nil, 0)
		if len(ps.byAddr) != 0 {
			t.Errorf("%d destinations kept", len(ps.byAddr))
		}
		ps.begin(src, dst, mine, time.Second)
		ps.end(src, dst, mine, false)
		check("a prime that left nothing", src, dst, nil, 0)
	})
}

// Rounds of a target whose probes are paused are left out and counted; what can be probed of it is told.
func TestScheduleLeavesOutWhatIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &skips{}
		pausedUntil := time.Now().Add(25 * time.Second)
		probe := func(_ context.Context, target string, _ Module) ([]Round, error) {
			rounds := []Round{{Target: target}, {Target: target}}
			if time.Now().Before(pausedUntil) {
				rounds[0].Err = &PausedError{Target: target, Until: pausedUntil}
			}
			return rounds, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := newSchedule(probe, sink, 4)
		s.Set([]Job{{Name: "vips", Interval: 10 * time.Second, Targets: []string{"vip"}}})
		s.Run(ctx)
		if sink.skipped[SkipPrimed] < 2 || sink.skipped[SkipPrimed] > 3 || sink.rounds != 12-sink.skipped[SkipPrimed] {
			t.Errorf("skipped %v, %d rounds told", sink.skipped, sink.rounds)
		}
	})
}

// A round whose time was over before anything was sent says nothing of its target: it is left out as overload. What the network or the machine denies, and
// what was sent in part, is told.
func TestScheduleLeavesOutWhatItHadNoTimeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &skips{}
		late := fmt.Errorf("wait for a place: %w", context.DeadlineExceeded)
		probe := func(_ context.Context, target string, _ Module) ([]Round, error) {
			return []Round{{Target: target, Err: &EnvironmentError{Target: target, Err: late}}, {Target: target, Err: &EnvironmentError{Target: target, Err: errNoPorts}},
				{Target: target, Err: &ResolveError{Host: target, Err: late}}, {Target: target},
				{Target: target, Err: &EnvironmentError{Target: target, Err: late}, Observations: make([]observe.Observation, 1)}}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s := newSchedule(probe, sink, 4)
		s.Set([]Job{{Name: "vips", Interval: 10 * time.Second, Targets: []string{"vip"}}})
		s.Run(ctx)
		if sink.skipped[SkipOverload] != 1 || sink.rounds != 4 {
			t.Errorf("skipped %v, %d rounds told; want 1 of overload, and 4", sink.skipped, sink.rounds)
		}
	})
}

// skips is a Sink that counts.
type skips struct {
	rounds  int
	skipped map[Skip]int
}

func (s *skips) Observe(_, _ string, _ map[string]string, rounds []Round)     { s.rounds += len(rounds) }
func (s *skips) Healthy(string, string, map[string]string, *Healthy)          {}
func (s *skips) Diagnosed(string, string, map[string]string, string, []Round) {}
func (s *skips) Fail(string, string, string, map[string]string)               {}
func (s *skips) Lag(time.Duration)                                            {}
func (s *skips) Skipped(_ string, why Skip) {
	if s.skipped == nil {
		s.skipped = map[Skip]int{}
	}
	s.skipped[why]++
}
