package lab

import (
	"slices"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Every side of a pair is a scenario, or a near miss of one, whose label has its verdict and lacks the other side's.
func TestPairsAreScenarios(t *testing.T) {
	t.Parallel()
	for _, p := range Pairs() {
		for _, way := range [][2]Half{{p.A, p.B}, {p.B, p.A}} {
			h, other := way[0], way[1].Verdict
			l, ok := labelOf(h)
			switch {
			case !ok:
				t.Errorf("%s: no scenario %s, near miss %q", p.Name, h.Scenario, h.NearMiss)
			case !slices.Contains(l.Verdicts, h.Verdict) && l.Says != noteWord+string(h.Verdict):
				t.Errorf("%s: %s is labelled %v, %q", p.Name, h.Scenario, l.Verdicts, l.Says)
			case slices.Contains(l.Verdicts, other):
				t.Errorf("%s: %s is labelled %s, the other side's", p.Name, h.Scenario, other)
			}
		}
	}
}

func labelOf(h Half) (Label, bool) {
	for _, s := range All() {
		if s.Name != h.Scenario {
			continue
		}
		if h.NearMiss == "" {
			return s.Label, true
		}
		for i := range s.NearMisses {
			if s.NearMisses[i].Name == h.NearMiss {
				return s.NearMisses[i].Label, true
			}
		}
	}
	return Label{}, false
}

func TestPairsTable(t *testing.T) {
	t.Parallel()
	named := func(v diagnose.Verdict) []Named { return []Named{{Verdict: v, Level: diagnose.Confirmed}} }
	r := Report{Rows: []Row{
		{Scenario: "synack-loss", Named: named(diagnose.SYNACKLoss), Result: Right},
		{Scenario: "synack-loss", Named: named(diagnose.ForwardSYNLoss), Result: Wrong},
		{Scenario: "synack-loss", NearMiss: "no loss", Named: named(diagnose.ForwardSYNLoss), Result: Wrong},
		{Scenario: "syn-loss-30", Result: Inconclusive},
		{Scenario: "syn-loss-30", Result: Skipped},
	}}
	var b strings.Builder
	if err := r.WritePairs(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SYN-ACK loss, SYN loss synack_loss 1 of 2 1",
		"SYN-ACK loss, SYN loss forward_syn_loss 0 of 1 0",
	} {
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
