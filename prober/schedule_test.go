package prober

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFirstDueSpreads: ten thousand targets with names as alike as addresses are, start evenly over the interval, whatever it is.
func TestFirstDueSpreads(t *testing.T) {
	const n, parts = 10000, 20
	now := time.Date(2026, 3, 1, 12, 0, 0, 7, time.UTC)
	for _, interval := range []time.Duration{5 * time.Second, 30 * time.Second, 7 * time.Minute} {
		for _, form := range []string{"10.0.%d.%d:443", "[2001:db8::%x:%x]:80", "node-%d-%d.example.org:8080"} {
			var counts [parts]int
			for i := range n {
				at := firstDue(&Job{Name: "vips", Interval: interval}, fmt.Sprintf(form, i/250, i%250), now)
				wait := at.Sub(now)
				if wait < 0 || wait >= interval {
					t.Fatalf("%s: due %s from now, want 0 to %s", form, wait, interval)
				}
				counts[int(wait*parts/interval)]++
			}
			for i, c := range counts {
				// 500 are expected; ±20 % is 4.6 standard deviations of a fair spread
				if c < n/parts*8/10 || c > n/parts*12/10 {
					t.Errorf("%s every %s: part %d of %d holds %d, want about %d", form, interval, i, parts, c, n/parts)
				}
			}
		}
	}
}

// TestFirstDueKeepsItsPhase: a schedule begun at another time, or anew on another machine, is in step; another job is not.
func TestFirstDueKeepsItsPhase(t *testing.T) {
	const interval = 30 * time.Second
	phase := func(job string, now time.Time) time.Duration {
		at := firstDue(&Job{Name: job, Interval: interval}, "192.0.2.10:443", now)
		return time.Duration(at.UnixNano() % int64(interval))
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 7, time.UTC)
	want := phase("vips", start)
	for _, later := range []time.Duration{1, want, interval - 1, interval, 45 * time.Second, 24 * time.Hour, 8765 * time.Hour} {
		if got := phase("vips", start.Add(later)); got != want {
			t.Errorf("%s later the phase is %s, was %s", later, got, want)
		}
	}
	if phase("members", start) == want {
		t.Error("two jobs probe the same target at the same instant")
	}
	at := firstDue(&Job{Name: "vips", Interval: interval}, "192.0.2.10:443", start)
	if again := firstDue(&Job{Name: "vips", Interval: interval}, "192.0.2.10:443", at); !again.Equal(at) {
		t.Errorf("at its own instant the target is due %s later", again.Sub(at))
	}
}

// notes is a Sink that keeps what it is told, a line each.
type notes struct {
	mu    sync.Mutex
	start time.Time
	lines []string
	lag   time.Duration
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf("%s ", time.Since(n.start))+fmt.Sprintf(format, args...))
}

func (n *notes) Observe(job, module string, labels map[string]string, rounds []Round) {
	n.add("%s/%s %v: %d round of %s", job, module, labels, len(rounds), rounds[0].Target)
}

func (n *notes) Healthy(job, module string, labels map[string]string, h *Healthy) {
	n.add("%s/%s %v: healthy round of %s", job, module, labels, h.Target)
}

func (n *notes) Diagnosed(job, module string, labels map[string]string, target string, _ []Round) {
	n.add("%s/%s %v: %s diagnosed", job, module, labels, target)
}

func (n *notes) Fail(job, module, target string, labels map[string]string) {
	n.add("%s/%s %v: %s failed", job, module, labels, target)
}

func (n *notes) Lag(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lag = max(n.lag, d)
}

func (n *notes) Skipped(job string, _ Skip) { n.add("%s skipped", job) }

// scheduled runs jobs for a while in virtual time. A round takes as long as takes says, unless the schedule ends before; it returns what
// the sink was told, and how many rounds ran at once at most.
func scheduled(t *testing.T, jobs []Job, slots int, span time.Duration, takes func(target string) (time.Duration, error)) (*notes, int) {
	t.Helper()
	var told *notes
	running, most := 0, 0
	synctest.Test(t, func(t *testing.T) {
		told = &notes{start: time.Now()}
		var mu sync.Mutex
		count := func(d int) {
			mu.Lock()
			defer mu.Unlock()
			running += d
			most = max(most, running)
		}
		probe := func(ctx context.Context, target string, _ Module) ([]Round, error) {
			count(1)
			defer count(-1)
			d, err := takes(target)
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return []Round{{Target: target}}, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		s := newSchedule(probe, told, slots)
		s.Set(jobs)
		s.Run(ctx)
		if running != 0 {
			t.Errorf("%d rounds still run when the schedule is over", running)
		}
	})
	return told, most
}

// at is when a target's first round begins in virtual time, which starts at midnight UTC 2000-01-01 (testing/synctest).
func at(job, target string, interval time.Duration) time.Duration {
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return firstDue(&Job{Name: job, Interval: interval}, target, midnight).Sub(midnight)
}

func TestScheduleTellsItsSink(t *testing.T) {
	const every = 10 * time.Second
	vips := Job{Name: "vips", Module: Module{Name: "connect"}, Interval: every, Targets: []string{"a:1", "gone:1"}, Labels: map[string]string{"team": "net"}}
	took := func(target string) (time.Duration, error) {
		if target == "gone:1" {
			return time.Millisecond, errors.New("no such host")
		}
		return 2 * time.Millisecond, nil
	}
	told, _ := scheduled(t, []Job{vips}, 10, 2*every, took)
	a, gone := at("vips", "a:1", every), at("vips", "gone:1", every)
	line := func(at time.Duration, text string) string {
		return fmt.Sprintf("%s vips/connect map[team:net]: %s", at, text)
	}
	want := []string{
		line(a+2*time.Millisecond, "1 round of a:1"), line(gone+time.Millisecond, "gone:1 failed"),
		line(a+every+2*time.Millisecond, "1 round of a:1"), line(gone+every+time.Millisecond, "gone:1 failed"),
	}
	if gone < a {
		want = []string{want[1], want[0], want[3], want[2]}
	}
	if diff := cmp.Diff(want, told.lines); diff != "" {
		t.Errorf("what the sink was told (-want +got):\n%s", diff)
	}
	if told.lag != 0 {
		t.Errorf("an idle schedule lags by %s", told.lag)
	}
}

// TestScheduleSkipsWhatStillRuns: a round longer than its interval costs the next start, never two at once; one that just fits costs
// none.
func TestScheduleSkipsWhatStillRuns(t *testing.T) {
	const every = 10 * time.Second
	job := Job{Name: "vips", Module: Module{Name: "connect"}, Interval: every, Targets: []string{"slow:1"}}
	first := at("vips", "slow:1", every)
	const (
		skipped = "vips skipped"
		round   = "vips/connect map[]: 1 round of slow:1"
	)
	type told struct {
		after time.Duration
		what  string
	}
	for _, c := range []struct {
		takes time.Duration
		want  []told
	}{
		{every - 1, []told{{every - 1, round}, {2*every - 1, round}, {3*every - 1, round}}},
		{every + 1, []told{{every, skipped}, {every + 1, round}, {3 * every, skipped}, {3*every + 1, round}}},
		{25 * time.Second, []told{{every, skipped}, {2 * every, skipped}, {25 * time.Second, round}}},
	} {
		t.Run(c.takes.String(), func(t *testing.T) {
			got, most := scheduled(t, []Job{job}, 10, first+35*time.Second, func(string) (time.Duration, error) { return c.takes, nil })
			var want []string
			for _, w := range c.want {
				want = append(want, fmt.Sprintf("%s %s", first+w.after, w.what))
			}
			if diff := cmp.Diff(want, got.lines); diff != "" {
				t.Errorf("what the sink was told (-want +got):\n%s", diff)
			}
			if most != 1 {
				t.Errorf("%d rounds of one target ran at once", most)
			}
		})
	}
}

// TestScheduleOverload: with fewer slots than targets no more run at once than there are slots, the rest wait in the order in which they
// were due, and every target has its turn; a round that waits a whole interval is lost, and said to be.
func TestScheduleOverload(t *testing.T) {
	const every, long, slots = 10 * time.Second, 3 * time.Second, 5
	job := Job{Name: "vips", Module: Module{Name: "connect"}, Interval: every}
	for i := range 50 {
		job.Targets = append(job.Targets, fmt.Sprintf("t%d:1", i))
	}
	// 50 rounds of 3 s in 5 slots take 30 s: each target has one in three of its turns.
	told, most := scheduled(t, []Job{job}, slots, 90*time.Second, func(string) (time.Duration, error) { return long, nil })
	made, lost := map[string]int{}, 0
	for _, l := range told.lines {
		if strings.HasSuffix(l, "skipped") {
			lost++
			continue
		}
		made[l[strings.LastIndex(l, " ")+1:]]++
	}
	least, all := 90, 0
	for _, target := range job.Targets {
		least, all = min(least, made[target]), all+made[target]
	}
	if most != slots || least < 2 || lost < 250 || all < 120 {
		t.Errorf("%d at once; at least %d rounds of each target, want 2; %d rounds made, want 120 or more; %d lost, want 250 or more", most, least, all, lost)
	}
	if told.lag < every {
		t.Errorf("the lag is %s at most: the wait is not in it", told.lag)
	}
}

// TestScheduleOfNothing: a configuration without jobs keeps quiet until it ends.
func TestScheduleOfNothing(t *testing.T) {
	told, _ := scheduled(t, nil, 1, time.Hour, func(string) (time.Duration, error) { return 0, nil })
	if len(told.lines) != 0 {
		t.Errorf("told %q", told.lines)
	}
}
