package diagnose_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// TestHeadlineOfSilence: a host that answers nothing is called so, with how long it was asked; one answer, and it is not.
func TestHeadlineOfSilence(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	silent := observe.Attempt{Via: plan.Kernel, Outcome: observe.TimedOut, Retransmissions: 2,
		SYNs: []observe.SYN{{At: start}, {At: start.Add(time.Second)}, {At: start.Add(3 * time.Second)}}}
	served := observe.Attempt{Via: plan.Kernel, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: start}},
		Answers: []observe.Answer{{Kind: observe.SYNACK, At: start.Add(time.Millisecond)}}}
	round := func(list ...observe.Attempt) diagnose.Diagnosis {
		return diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{{Kind: plan.KindConnect, Captured: true, Started: start, Finished: start.Add(4 * time.Second), Attempts: list}}})
	}
	const want = "nothing answered: 12 SYNs on 4 flows over 3.0 s"
	if d := round(silent, silent, silent, silent); !strings.Contains(d.Headline, want) {
		t.Errorf("headline of silence: %q, want %q in it", d.Headline, want)
	}
	if d := round(silent, silent, silent, served); strings.Contains(d.Headline, "nothing answered") {
		t.Errorf("headline with an answer: %q", d.Headline)
	}
}
