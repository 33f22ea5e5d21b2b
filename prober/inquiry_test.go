package prober

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// stalled is a round of which one connection lost a SYN.
func stalled(target string) []Round {
	a := observe.Attempt{Outcome: observe.Accepted, Retransmissions: 1}
	return []Round{{Target: target, Kind: KindConnect, Success: true, Observations: []observe.Observation{{Kind: plan.KindConnect, Attempts: []observe.Attempt{a}}}}}
}

// TestAStallCallsForADiagnosis: at once; never two of one target, nor more than the limit of all, nor again soon.
func TestAStallCallsForADiagnosis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Second
		b := &notes{start: time.Now()}
		s := newSchedule(func(_ context.Context, target string, _ Module) ([]Round, error) { return stalled(target), nil }, b, 100)
		var now, most atomic.Int32
		var mu sync.Mutex
		runs := map[string]int{}
		s.asks = newInquiries(func(_ context.Context, target string, o DiagnoseOptions) ([]Round, error) {
			mu.Lock()
			runs[target]++
			mu.Unlock()
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(40 * time.Second)
			if o.MaxSYNs <= 0 || o.Seconds <= 0 || o.MayPrime || o.MayForget || o.Hold > 0 || o.Backlog > 0 || !o.Module.Record.On {
				t.Errorf("options %+v", o)
			}
			return []Round{{Target: target}}, nil
		})
		s.Set([]Job{{Name: "vips", Interval: every, Diagnose: true, Targets: []string{"a:1", "b:1", "c:1"}}, {Name: "quiet", Interval: every, Targets: []string{"d:1"}}})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
		defer cancel()
		s.Run(ctx)
		if most.Load() != inquiriesAtOnce {
			t.Errorf("%d diagnoses at once", most.Load())
		}
		if runs["a:1"] != 1 || runs["b:1"] != 1 || runs["c:1"] != 1 || runs["d:1"] != 0 {
			t.Errorf("within nine minutes: %v", runs)
		}
	})
}

func TestWhatCallsForADiagnosis(t *testing.T) {
	well := stalled("a:1")[0]
	well.Observations[0].Attempts[0].Retransmissions = 0
	failed := well
	failed.Success = false
	refused := Round{Kind: KindConnect, Err: context.Canceled}
	paws := stalled("a:1")[0]
	paws.Kind = KindPAWS
	for name, c := range map[string]struct {
		r    Round
		want bool
	}{"well": {well, false}, "a stall": {stalled("a:1")[0], true}, "a failure": {failed, true}, "not probed": {refused, false}, "a diagnosis itself": {paws, false}} {
		if got := c.r.ill(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
