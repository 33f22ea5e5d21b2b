package diagnose

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// TestRationed: what a bucket of one deals out is known by its times; as many at random are not taken for it.
func TestRationed(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	round := func(pass func(at time.Duration) bool) *Input {
		in := &Input{read: &readOnce{}, explained: map[int]bool{}}
		tsval := wire.TSval(1)
		for b := range 6 {
			o := observe.Observation{Kind: plan.KindQuadrants, Started: start.Add(time.Duration(b) * 700 * time.Millisecond), Captured: true}
			for k := range 16 {
				since := time.Duration(b)*700*time.Millisecond + time.Duration(k+1)*25*time.Millisecond
				tsval += 5
				a := observe.Attempt{Via: plan.Raw, Outcome: observe.TimedOut, Answered: -1, SYNs: []observe.SYN{{At: start.Add(since), TSval: tsval, HasTS: true}}}
				if pass(since) {
					a.Outcome, a.Answered, a.RTT, a.Handshake = observe.Accepted, 0, time.Millisecond, time.Millisecond
					a.Answers = []observe.Answer{{Kind: observe.SYNACK, At: start.Add(since + time.Millisecond), HasTS: true, TSecr: tsval}}
				}
				o.Attempts = append(o.Attempts, a)
			}
			in.Observations = append(in.Observations, o)
		}
		return in
	}
	bucket := func(rate float64) func(time.Duration) bool {
		tokens, last := 0.0, time.Duration(0)
		return func(at time.Duration) bool {
			tokens, last = min(1, tokens+rate*(at-last).Seconds()), at
			if tokens < 1 {
				return false
			}
			tokens--
			return true
		}
	}
	for _, rate := range []float64{1.3, 3, 7} {
		if !swallowed.rationed(round(bucket(rate))) {
			t.Errorf("%v a second: not seen", rate)
		}
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		if swallowed.rationed(round(func(time.Duration) bool { return r.IntN(3) == 0 })) {
			t.Errorf("seed %d: a third at random is taken for a bucket", seed)
		}
	}
	if swallowed.rationed(round(func(time.Duration) bool { return true })) {
		t.Error("where all pass there is nothing to ration")
	}
}
