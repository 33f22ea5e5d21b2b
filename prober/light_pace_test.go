package prober

import (
	"testing"
	"time"
)

// A schedule that was held up catches up in bunches, at twice what is planned and no more; one that is in time never waits.
func TestWhatIsDueLateLeavesInBunches(t *testing.T) {
	for _, tt := range []struct {
		name              string
		targets, syns     int
		interval, held    time.Duration
		least, most, span int // SYNs at once after it was held up, and milliseconds until all that was due meanwhile has left
	}{
		{"100,000 SYNs a second, held up for 100 ms", 100_000, 10, 10 * time.Second, 100 * time.Millisecond, 1024, 1033, 100},
		{"1,000,000 SYNs a second, held up for 100 ms", 1_000_000, 10, 10 * time.Second, 100 * time.Millisecond, 2000, 2009, 100},
		{"10,000 SYNs a second, held up for 100 ms", 10_000, 10, 10 * time.Second, 100 * time.Millisecond, 1024, 1033, 0},
		{"one round of 4,000 SYNs goes whole", 1, 4000, 10 * time.Second, 0, 4000, 4000, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pacer
			for range tt.targets {
				p.plan(tt.syns, tt.interval)
			}
			now := time.Now()
			burst := func() (sent int) {
				for p.ready(now) {
					p.spend(tt.syns)
					if sent += tt.syns; sent >= tt.most && tt.held == 0 {
						break
					}
				}
				return sent
			}
			now = now.Add(tt.held)
			at := burst()
			if at < tt.least || at > tt.most {
				t.Errorf("%d SYNs left at once, want %d to %d", at, tt.least, tt.most)
			}
			due := int(p.nominal * tt.held.Seconds())
			ms := 0
			for sent := at; sent < due; ms++ {
				now = now.Add(time.Millisecond)
				some := burst()
				if sent += some; some > tt.most {
					t.Fatalf("%d SYNs left at once, want %d at most", some, tt.most)
				}
			}
			if ms > tt.span {
				t.Errorf("%d ms until %d SYNs had left, want %d at most", ms, due, tt.span)
			}
		})
	}
}

// In step with its plan a schedule is never held back: what is due in one cycle may leave in it.
func TestAScheduleInTimeNeedsNoPace(t *testing.T) {
	var p pacer
	for range 100_000 {
		p.plan(10, 10*time.Second)
	}
	now := time.Now()
	for range 1000 {
		now = now.Add(batch)
		for range int(p.nominal*batch.Seconds()) / 10 {
			if !p.ready(now) {
				t.Fatal("a round in time had to wait")
			}
			p.spend(10)
		}
	}
	for range 100_000 {
		p.plan(-10, 10*time.Second)
	}
	if p.nominal > 1e-6 || p.nominal < -1e-6 {
		t.Errorf("%g SYNs a second of nothing", p.nominal)
	}
}
