package view

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// TestTimesAreUTC: a host with a zone of its own writes the same times as any other, so that texts of two hosts can be held side by side.
func TestTimesAreUTC(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("IST", 5*3600+1800))
	for name, v := range map[string]any{
		"sweep": NewSweepSummary(&sweep.Tally{}, &prober.SweepReport{Started: at, Finished: at}),
		"watch": NewWatch(&watch.Reading{At: at}, false, false),
	} {
		b, err := json.Marshal(v)
		if err != nil || !strings.Contains(string(b), `"2026-03-01T06:30:00Z"`) {
			t.Errorf("%s: %v %s", name, err, b)
		}
	}
}
