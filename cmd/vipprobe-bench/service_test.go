package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/vipprobe/vipprobe/targets"
)

// TestServiceConfig: what the service is measured with is a configuration that it takes, with every target at an address of its own.
func TestServiceConfig(t *testing.T) {
	r := serviceRun{Targets: 1000, Burst: 20, Interval: 10 * time.Second, Detail: "none", Dark: 10, dir: t.TempDir()}
	cfg, err := targets.Parse("bench.yml", r.config())
	if err != nil {
		t.Fatal(err)
	}
	jobs := cfg.Jobs()
	if len(jobs) != 1 || len(jobs[0].Targets) != 1000 || cfg.MetricsDetail() != targets.DetailNone || cfg.Limits().HalfOpen != 20 {
		t.Fatalf("%d jobs, detail %s, half open %d", len(jobs), cfg.MetricsDetail(), cfg.Limits().HalfOpen)
	}
	silent, seen := 0, map[string]bool{}
	for _, x := range jobs[0].Targets {
		seen[x] = true
		if strings.HasPrefix(x, "10.96.") {
			silent++
		}
	}
	if silent != 100 || len(seen) != 1000 {
		t.Errorf("%d of %d targets are silent, want 100 of 1000", silent, len(seen))
	}
}

func families(t *testing.T, text string) exported {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestServiceFigures: what happened before the span counts for nothing, and a lag beyond the last edge has none.
func TestServiceFigures(t *testing.T) {
	const head = "# TYPE vipprobe_schedule_lag_seconds histogram\n"
	before := families(t, head+`vipprobe_schedule_lag_seconds_bucket{le="0.01"} 0
vipprobe_schedule_lag_seconds_bucket{le="0.05"} 500
vipprobe_schedule_lag_seconds_bucket{le="+Inf"} 500
vipprobe_schedule_lag_seconds_sum 20
vipprobe_schedule_lag_seconds_count 500
# TYPE vipprobe_rounds_total counter
vipprobe_rounds_total{result="success"} 500
`)
	after := families(t, head+`vipprobe_schedule_lag_seconds_bucket{le="0.01"} 60
vipprobe_schedule_lag_seconds_bucket{le="0.05"} 599
vipprobe_schedule_lag_seconds_bucket{le="+Inf"} 600
vipprobe_schedule_lag_seconds_sum 20
vipprobe_schedule_lag_seconds_count 600
# TYPE vipprobe_rounds_total counter
vipprobe_rounds_total{result="success"} 598
vipprobe_rounds_total{result="failure"} 2
# TYPE vipprobe_results_written_total counter
vipprobe_results_written_total 600
`)
	var s served
	s.tell(before, after)
	if want := (lagged{10 * time.Millisecond, 50 * time.Millisecond, math.MaxInt64}); s.Lag != want {
		t.Errorf("lag %v, want %v", s.Lag, want)
	}
	if s.Rounds["success"] != 98 || s.Rounds["failure"] != 2 || s.Written != 600 || len(s.Skipped) != 0 {
		t.Errorf("rounds %v, written %v, skipped %v", s.Rounds, s.Written, s.Skipped)
	}
}
