package prober

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

func TestABurstCountsOnlyWhatWasPutToTheTarget(t *testing.T) {
	t.Parallel()
	o := observe.Observation{Attempts: []observe.Attempt{
		{Outcome: observe.Accepted, Handshake: 3 * time.Millisecond},
		{Outcome: observe.NotSent},
		{Outcome: observe.TimedOut},
		{Outcome: observe.OutcomeUnknown},
		{Outcome: observe.Refused},
		{Outcome: observe.Accepted, Handshake: 5 * time.Millisecond},
	}}
	b := burstOf(&o)
	if b.Connects != 4 || b.Failed != 2 || b.Stalled != 0 {
		t.Errorf("%d connects, %d failed, %d stalled; want 4, 2, 0", b.Connects, b.Failed, b.Stalled)
	}
	if len(b.Times) != 2 || b.Times[0] != 3*time.Millisecond || b.Times[1] != 5*time.Millisecond {
		t.Errorf("times %v of two that were accepted", b.Times)
	}
}
