package diagnose_test

import (
	"slices"
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

// TestHeadlineOfInterruption: what was cut off is not called lost, nor unmeasurable; what was answered before counts, where it is nearly all.
func TestHeadlineOfInterruption(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	cut := observe.Attempt{Via: plan.Kernel, Outcome: observe.OutcomeUnknown, SYNs: []observe.SYN{{At: start}}}
	unsent := observe.Attempt{Via: plan.Kernel, Outcome: observe.NotSent}
	served := observe.Attempt{Via: plan.Kernel, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: start}}, Handshake: time.Millisecond,
		Answers: []observe.Answer{{Kind: observe.SYNACK, At: start.Add(time.Millisecond)}}}
	for _, tt := range []struct {
		name string
		list []observe.Attempt
		want string
	}{
		{"all were cut off", []observe.Attempt{cut, cut, cut}, "inconclusive: interrupted before any of 3 attempts was answered"},
		{"half were cut off", []observe.Attempt{served, cut, served, cut}, "inconclusive: interrupted: of 2 of 4 attempts it is not known what became of them"},
		{"none could be sent", []observe.Attempt{unsent, unsent}, "inconclusive: nothing could be measured"},
	} {
		d := diagnose.Diagnose(diagnose.Input{Observations: []observe.Observation{{Kind: plan.KindConnect, Captured: true, Started: start, Finished: start.Add(time.Second), Attempts: tt.list}}})
		if d.Headline != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, d.Headline, tt.want)
		}
	}
}

// TestWayOutOfUnclassified: what is to be done about silence without a cause depends on what has been tried; a diagnosis does not send to itself.
func TestWayOutOfUnclassified(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	silent := observe.Attempt{Via: plan.Kernel, Outcome: observe.TimedOut, Retransmissions: 1, SYNs: []observe.SYN{{At: start}, {At: start.Add(time.Second)}}}
	observed := func(k plan.Kind, captured bool) observe.Observation {
		return observe.Observation{Kind: k, Captured: captured, Started: start, Finished: start.Add(2 * time.Second), Attempts: []observe.Attempt{silent, silent, silent, silent}}
	}
	for _, tt := range []struct {
		name string
		seen []observe.Observation
		want string
	}{
		{"a probe without capture", []observe.Observation{observed(plan.KindConnect, false)}, "CAP_NET_RAW"},
		{"a probe", []observe.Observation{observed(plan.KindConnect, true)}, "left: vipprobe diagnose"},
		{"a diagnosis", []observe.Observation{observed(plan.KindConnect, true), observed(plan.KindDirection, true)}, "--testimony"},
	} {
		d := diagnose.Diagnose(diagnose.Input{Observations: tt.seen})
		i := slices.IndexFunc(d.Causes, func(c diagnose.Cause) bool { return c.Verdict == diagnose.SYNStallUnclassified })
		if i < 0 || !strings.Contains(d.Causes[i].Remedy, tt.want) {
			t.Errorf("%s: want %q in the remedy of %+v", tt.name, tt.want, d.Causes)
		}
	}
}
