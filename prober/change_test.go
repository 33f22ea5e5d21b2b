package prober

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// begun is when each target's rounds began.
type begun struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (b *begun) probe(_ context.Context, target string, m Module) ([]Round, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[target] = append(b.at[target], time.Now())
	return []Round{{Target: target, Module: m.Name}}, nil
}

// TestChangesLoseAndDoubleNoRound: while jobs are changed again and again, a target that stays has a round every interval, one that comes has
// its first within an interval, one that goes has none any more.
func TestChangesLoseAndDoubleNoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Second
		var stay []string
		for i := range 100 {
			stay = append(stay, fmt.Sprintf("stay%d:1", i))
		}
		b := &begun{at: map[string][]time.Time{}}
		s := newSchedule(b.probe, &notes{start: time.Now()}, 100)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { s.Run(ctx); close(over) }()
		job := func(targets ...string) []Job {
			return []Job{{Name: "vips", Interval: every, Targets: slices.Concat(stay, targets)}}
		}
		s.Set(job("goes:1"))
		time.Sleep(30*time.Second + 123*time.Millisecond)
		gone := time.Now()
		for i := range 50 {
			s.Set(job("comes:1", fmt.Sprintf("passes%d:1", i)))
			time.Sleep(777 * time.Millisecond)
		}
		time.Sleep(50 * time.Second)
		cancel()
		<-over
		for _, target := range append(stay, "comes:1") {
			at := b.at[target]
			if len(at) < 7 {
				t.Errorf("%s: %d rounds", target, len(at))
			}
			for i := 1; i < len(at); i++ {
				if gap := at[i].Sub(at[i-1]); gap != every {
					t.Errorf("%s: %s between rounds", target, gap)
				}
			}
		}
		if first := b.at["comes:1"][0]; first.Before(gone) || first.Sub(gone) > every {
			t.Errorf("what came at %s began at %s", gone, first)
		}
		if at := b.at["goes:1"]; len(at) != 3 || at[2].After(gone) {
			t.Errorf("what went at %s began at %v", gone, at)
		}
	})
}

// TestChangeOfIntervalAndModule: the next round has them, and none comes sooner than half of the new interval after the last.
func TestChangeOfIntervalAndModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &begun{at: map[string][]time.Time{}}
		told := &notes{start: time.Now()}
		s := newSchedule(b.probe, told, 100)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { s.Run(ctx); close(over) }()
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprintf("t%d:1", i))
		}
		s.Set([]Job{{Name: "vips", Interval: 20 * time.Second, Targets: names, Module: Module{Name: "old"}}})
		time.Sleep(time.Minute)
		changed := time.Now()
		s.Set([]Job{{Name: "vips", Interval: 6 * time.Second, Targets: names, Module: Module{Name: "new"}}})
		time.Sleep(time.Minute)
		cancel()
		<-over
		for _, n := range names {
			at := b.at[n]
			i := slices.IndexFunc(at, func(x time.Time) bool { return x.After(changed) })
			if gap := at[i].Sub(at[i-1]); at[i].Sub(changed) > 9*time.Second || gap < 3*time.Second || at[i+1].Sub(at[i]) != 6*time.Second {
				t.Errorf("%s: %s after the change, %s after the round before, %s before the next", n, at[i].Sub(changed), gap, at[i+1].Sub(at[i]))
			}
		}
		if len(told.lines) != len(names)*3+10*len(names) && len(told.lines) < 12*len(names) {
			t.Errorf("%d rounds told", len(told.lines))
		}
		if last := told.lines[len(told.lines)-1]; !strings.Contains(last, "vips/new") {
			t.Errorf("told %q", last)
		}
	})
}

func TestMaintenanceLeavesRoundsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &begun{at: map[string][]time.Time{}}
		sink := &skips{}
		s := newSchedule(b.probe, sink, 100)
		now := time.Now()
		s.Set([]Job{{Name: "vips", Interval: 10 * time.Second, Targets: []string{"a:1"}, Maintenance: []Window{{Start: now.Add(time.Minute), End: now.Add(2 * time.Minute)}}}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		s.Run(ctx)
		if sink.skipped[SkipMaintenance] != 6 || len(b.at["a:1"]) != 12 {
			t.Errorf("skipped %v, %d rounds", sink.skipped, len(b.at["a:1"]))
		}
	})
}

func TestWindow(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("SKIPPED: no time zones on this machine")
	}
	night := Window{Days: []time.Weekday{time.Saturday}, At: 23 * time.Hour, For: 3 * time.Hour, Zone: berlin}
	long := Window{At: time.Hour, For: 30 * time.Hour, Days: []time.Weekday{time.Monday}}
	for _, c := range []struct {
		w    Window
		at   string
		want bool
	}{
		{night, "2026-03-07T21:59:59Z", false}, // 22:59:59 in Berlin
		{night, "2026-03-07T22:00:00Z", true},
		{night, "2026-03-08T00:59:59Z", true}, // Sunday, the same night
		{night, "2026-03-08T01:00:00Z", false},
		{night, "2026-03-08T22:30:00Z", false}, // Sunday night
		{night, "2026-07-04T21:30:00Z", true},  // summer time
		{long, "2026-03-03T06:59:59Z", true},   // Tuesday
		{long, "2026-03-03T07:00:00Z", false},
		{long, "2026-03-02T00:59:59Z", false},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		must(t, err)
		if got := c.w.Contains(at); got != c.want {
			t.Errorf("%+v at %s: %t", c.w, c.at, got)
		}
	}
}
