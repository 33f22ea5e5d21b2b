package lab

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryParameterHasARange(t *testing.T) {
	for _, s := range All() {
		for _, p := range s.all() {
			if err := p.Range.check(p.Default); err != nil {
				t.Errorf("%s: default %s=%s: %v", s.Name, p.Name, p.Default, err)
			}
			for seed := range uint64(50) {
				if v := p.Range.draw(rand.New(rand.NewPCG(seed, 0))); p.Range.check(v) != nil {
					t.Errorf("%s: drew %s=%s: %v", s.Name, p.Name, v, p.Range.check(v))
				}
			}
		}
	}
}

// What a scenario expects of its parameters must be what its label, and those of its near misses, say without asking.
func TestExpectationsAgreeWithLabels(t *testing.T) {
	for _, s := range All() {
		if diff := cmp.Diff(s.Label, s.LabelOf(nil)); diff != "" {
			t.Errorf("%s (-label +expected):\n%s", s.Name, diff)
		}
		for _, m := range s.NearMisses {
			if diff := cmp.Diff(m.Label, s.LabelOf(m.Set)); diff != "" {
				t.Errorf("%s, near miss %s (-label +expected):\n%s", s.Name, m.Name, diff)
			}
		}
	}
}

// A scenario that is drawn is mostly a scenario of its fault: what is expected of a draw reads all parameters, and names a verdict that the scenario
// names elsewhere.
func TestDrawsAreOfTheScenario(t *testing.T) {
	for _, s := range All() {
		known := map[string]bool{}
		for _, l := range append(labels(s), s.Label) {
			known[joinVerdicts(l.Verdicts)] = true
		}
		faults := 0
		for seed := 1; seed <= 40; seed++ {
			set := s.Draw("", seed)
			if diff := cmp.Diff(set, s.Draw("", seed)); diff != "" {
				t.Errorf("%s: seed %d drew twice:\n%s", s.Name, seed, diff)
			}
			v := &Values{set: set}
			if s.Expect != nil {
				s.Expect(v)
			}
			if v.err != nil {
				t.Errorf("%s: %v", s.Name, v.err)
			}
			if joinVerdicts(s.LabelOf(set).Verdicts) == joinVerdicts(s.Label.Verdicts) {
				faults++
			}
			for _, m := range s.NearMisses {
				if got := s.Draw(m.Name, seed); !m.is(got) {
					t.Errorf("%s, near miss %s: drew %v", s.Name, m.Name, got)
				}
			}
		}
		if faults < 15 {
			t.Errorf("%s: of 40 draws only %d have the fault", s.Name, faults)
		}
	}
}

func TestOneMoreParameterChangesNoOther(t *testing.T) {
	s, _ := Find("arp-client")
	before := s.Draw("", 7)
	s.Params = append(s.Params, Param{"more", "1", "of it", whole(1, 1, 9, 9)})
	after := s.Draw("", 7)
	delete(after, "more")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		r        Range
		words    string
		bad      string
		complain string
	}{
		{among("a", "b").or("off"), "a, b, off; drawn: a, b", "c", "is none of a, b, off"},
		{among("4", "6"), "4, 6", "", "is none of 4, 6"},
		{whole(1, 2, 8, 256), "1 … 256; drawn: 2 … 8", "257", "want 1 … 256"},
		{whole(0, 0, 5, 5), "0 … 5", "1.5", "invalid syntax"},
		{lasting(0, time.Millisecond, time.Second, time.Minute), "0s … 1m0s; drawn: 1ms … 1s", "61s", "want 0s … 1m0s"},
		{portion(0, 0.03).orNone(0.5), "0 … 1; drawn: 0 … 0.03, or 0", "NaN", "want 0 … 1"},
		{Range{}, " … ", "1", "has no range"},
	} {
		if c.words != " … " && c.r.String() != c.words {
			t.Errorf("%q, want %q", c.r, c.words)
		}
		if err := c.r.check(c.bad); err == nil || !strings.Contains(err.Error(), c.complain) {
			t.Errorf("%s of %s: %v, want %q", c.bad, c.r, err, c.complain)
		}
	}
}

func TestAgainNamesWhatIsNotAsUsual(t *testing.T) {
	s, _ := Find("arp-client")
	params := defaults(s.all())
	maps.Copy(params, map[string]string{"qlen": "5", pathRTT: "12.5ms", pathLoss: "0.012"})
	x := Row{Scenario: s.Name, Parameters: params, Loss: 0.012}
	if got, want := x.Again(), "vipprobe lab run arp-client --set path.loss=0.012 --set path.rtt=12.5ms --set qlen=5"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	x.Parameters = defaults(s.all())
	if got, want := x.Again(), "vipprobe lab run arp-client --loss 1.2"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
