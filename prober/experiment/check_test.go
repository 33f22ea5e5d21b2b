package experiment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// checked plays a health check against a server that answers as the letters say, one a connect: y accepted, t timed out, r refused, u not
// sent, s accepted too late. It returns the time at which each connect began, in seconds, and what came of it.
func checked(h *HealthCheck, answers string) (at []float64, r CheckRun) {
	epoch := time.Unix(1_700_000_000, 0)
	now := epoch
	var seen []observe.Observation
	for i := 0; ; i++ {
		_, wait, more := h.Next(seen)
		if !more {
			return at, h.Read(seen)
		}
		now = now.Add(wait)
		at = append(at, now.Sub(epoch).Seconds())
		o := observe.Observation{Started: now}
		a := observe.Attempt{Outcome: observe.Accepted, Handshake: time.Millisecond}
		took := time.Millisecond
		switch answers[i%len(answers)] {
		case 't':
			a.Outcome, took = observe.TimedOut, h.ConnectTimeout
		case 'r':
			a.Outcome = observe.Refused
		case 'u':
			a.Outcome = observe.NotSent
		case 's':
			a.Handshake, took = h.ConnectTimeout+time.Second, h.ConnectTimeout+time.Second
		}
		now = now.Add(took.Truncate(time.Second))
		o.Finished, o.Attempts = now, []observe.Attempt{a}
		seen = append(seen, o)
	}
}

func TestHealthCheckAsKeepalived(t *testing.T) {
	timing := CheckTiming{DelayLoop: 6 * time.Second, ConnectTimeout: 3 * time.Second, DelayBeforeRetry: time.Second, Retry: 1, Loops: 4}
	none := timing
	none.Retry = 0
	two := timing
	two.Retry = 2
	for _, tt := range []struct {
		name    string
		timing  CheckTiming
		answers string
		at      []float64
		events  []CheckEvent
		out     time.Duration
	}{
		{"all well", timing, "y", []float64{0, 6, 12, 18}, []CheckEvent{"none", "none", "none", "none"}, 0},
		{"one failure is made good by the retry", timing, "tyyyy", []float64{0, 4, 10, 16, 22}, []CheckEvent{"none", "none", "none", "none"}, 0},
		{"evicted after the retry, back at the next loop", timing, "ttyyy", []float64{0, 4, 13, 19, 25}, []CheckEvent{"evicted", "put_back", "none", "none"}, 6 * time.Second},
		{"while it is out nothing is retried", timing, "tttty", []float64{0, 4, 13, 22, 31}, []CheckEvent{"evicted", "none", "none", "put_back"}, 24 * time.Second},
		{"refused at once", timing, "rr", []float64{0, 1, 7, 13, 19}, []CheckEvent{"evicted", "none", "none", "none"}, 18 * time.Second},
		{"without retries every failure evicts", none, "ty", []float64{0, 9, 15, 24}, []CheckEvent{"evicted", "put_back", "evicted", "put_back"}, 12 * time.Second},
		{"two retries", two, "ttyyyy", []float64{0, 4, 8, 14, 20, 26}, []CheckEvent{"none", "none", "none", "none"}, 0},
		{"too late is failed", none, "s", []float64{0, 10, 20, 30}, []CheckEvent{"evicted", "none", "none", "none"}, 30 * time.Second},
		{"what this host denies is no failure", none, "uyyy", []float64{0, 6, 12, 18}, []CheckEvent{"none", "none", "none"}, 0},
	} {
		at, r := checked(&HealthCheck{CheckTiming: tt.timing}, tt.answers)
		var events []CheckEvent
		for _, l := range r.Loops {
			events = append(events, l.Event)
		}
		if diff := cmp.Diff(tt.at, at); diff != "" {
			t.Errorf("%s: connects at (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.events, events); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", tt.name, diff)
		}
		if r.Out != tt.out {
			t.Errorf("%s: out for %s, want %s", tt.name, r.Out, tt.out)
		}
	}
}

func TestCheckSpanCoversTheWorst(t *testing.T) {
	timing := CheckTiming{DelayLoop: 6 * time.Second, ConnectTimeout: 3 * time.Second, DelayBeforeRetry: time.Second, Retry: 1, Loops: 3}
	at, _ := checked(&HealthCheck{CheckTiming: timing}, "t")
	if end := time.Duration(at[len(at)-1])*time.Second + timing.ConnectTimeout; end != timing.Span() {
		t.Errorf("the loops take %s, Span says %s", end, timing.Span())
	}
}
