package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// ticking are n points of a clock, every apart.
func ticking(start wire.TSval, from time.Duration, every time.Duration, n int) []diagnose.ClockPoint {
	epoch := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	out := make([]diagnose.ClockPoint, n)
	for i := range out {
		d := from + time.Duration(i)*every
		out[i] = diagnose.ClockPoint{At: epoch.Add(d), TSval: start.Add(d.Milliseconds())}
	}
	return out
}

func plots() map[string][]diagnose.ClockSeries {
	return map[string][]diagnose.ClockSeries{
		"clocks_snat": {
			{Of: diagnose.OwnKernel, Hz: 1000, Points: ticking(481_284_815, 0, time.Millisecond, 10)},
			{Of: diagnose.Remembered, Hz: 1000, HzLow: 961, HzHigh: 1044, Points: ticking(517_740_536, 5*time.Second, 800*time.Millisecond, 4)},
		},
		// All three clocks lie close together and pass 2³².
		"clocks_wrap": {
			{Of: diagnose.OwnKernel, Hz: 1000, Points: ticking(0xffff_f000, 0, 300*time.Millisecond, 8)},
			{Of: diagnose.Others, Points: ticking(0xffff_fc00, 200*time.Millisecond, 300*time.Millisecond, 8)},
			{Of: diagnose.Remembered, Note: "fixed", Points: []diagnose.ClockPoint{{At: time.Date(2026, 3, 1, 12, 0, 2, 0, time.UTC), TSval: 0x600},
				{At: time.Date(2026, 3, 1, 12, 0, 3, 0, time.UTC), TSval: 0x600}}},
		},
		// Nothing to scale by: one clock, one point.
		"clocks_one": {{Of: diagnose.Remembered, Points: ticking(7, 0, 0, 1)}},
		// Two points half the circle apart.
		"clocks_random": {{Of: diagnose.OwnKernel, Note: "one per connection", Points: append(ticking(5, 0, 0, 1), ticking(5+1<<31, time.Second, 0, 1)...)}},
	}
}

// TestPlotClocks holds the plots against their golden files, wide and narrow.
func TestPlotClocks(t *testing.T) {
	for name, all := range plots() {
		for suffix, width := range map[string]int{"": lineWidth, "_narrow": 48} {
			t.Run(name+suffix, func(t *testing.T) {
				lines := plotClocks(all, width)
				for i, l := range lines {
					if n := len([]rune(l)); n > width && i < len(lines)-len(all) {
						t.Errorf("line %d has %d columns: %q", i, n, l)
					}
				}
				got := strings.Join(lines, "\n") + "\n"
				file := filepath.Join("testdata", "golden", name+suffix+".txt")
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", file, diff)
				}
			})
		}
	}
}
