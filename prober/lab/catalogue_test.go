package lab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

// unmade are the verdicts that no scenario can have, and why.
func unmade() map[diagnose.Verdict]string {
	return map[diagnose.Verdict]string{
		diagnose.NeighTableOverflow:   "the table and its limits are one for all namespaces: it would be the machine's own",
		diagnose.ProberClockStep:      "nobody but the machine's owner may set its wall clock",
		diagnose.SYNStallUnclassified: "is no fault but the lack of a finding",
		diagnose.InsufficientSamples:  "is no fault but the lack of a finding",
	}
}

func TestEveryVerdictHasAScenario(t *testing.T) {
	has := map[diagnose.Verdict]bool{}
	for _, s := range All() {
		for _, l := range labels(s) {
			if v, note := strings.CutPrefix(l.Says, noteWord); note {
				has[diagnose.Verdict(v)] = true
			}
			for _, set := range append([][]diagnose.Verdict{l.Verdicts}, l.Or...) {
				if l.open() {
					break // that nothing is named is no fault of its own
				}
				for _, v := range set {
					has[v] = true
				}
			}
		}
	}
	for _, v := range diagnose.Verdicts() {
		if why, excused := unmade()[v]; excused == has[v] {
			t.Errorf("%s: has a scenario %v, excused %v (%s)", v, has[v], excused, why)
		}
		delete(has, v)
	}
	for v := range has {
		t.Errorf("a label names %q, which is no verdict", v)
	}
}

func labels(s Scenario) []Label {
	all := []Label{s.Label}
	for _, m := range s.NearMisses {
		all = append(all, m.Label)
	}
	return all
}

func TestCatalogueIsInOrder(t *testing.T) {
	seen := map[string]bool{}
	rows := 0
	for _, s := range All() {
		if seen[s.Name] {
			t.Errorf("two scenarios %s", s.Name)
		}
		seen[s.Name] = true
		rows += 1 + len(s.NearMisses)
		if s.Story == "" || s.Build == nil || len(s.Label.Verdicts) == 0 {
			t.Errorf("%s: story, label or build is missing", s.Name)
		}
		for _, m := range s.NearMisses {
			if _, err := resolve(s.all(), m.Set); err != nil {
				t.Errorf("%s, near miss %s: %v", s.Name, m.Name, err)
			}
		}
		for _, p := range s.Params {
			if p.Help == "" {
				t.Errorf("%s: parameter %s is not explained", s.Name, p.Name)
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows, want 60 and more", rows)
	}
}

func TestParametersThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		story string
		set   map[string]string
		read  func(*Values)
		want  string
	}{
		{"unknown", map[string]string{"qlem": "3"}, nil, `no parameter "qlem"; it has: qlen`},
		{"no number", map[string]string{"qlen": "three"}, func(v *Values) { v.Int("qlen") }, `parameter qlen="three"`},
		{"negative", map[string]string{"qlen": "-1"}, func(v *Values) { v.Int("qlen") }, `parameter qlen="-1"`},
		{"too many", map[string]string{"qlen": "4097"}, nil, `parameter qlen="4097": want 1 … 4096`},
		{"no duration", map[string]string{"qlen": "3"}, func(v *Values) { v.Duration("qlen") }, `parameter qlen="3"`},
		{"undeclared", nil, func(v *Values) { v.Bool("nothing") }, "is not declared"},
	} {
		v, err := resolve([]Param{queueParam()}, c.set)
		if err == nil && c.read != nil {
			c.read(v)
			err = v.err
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.story, err, c.want)
		}
	}
}

func TestStartOutsideNamespacesSaysWhatToDo(t *testing.T) {
	t.Setenv("VIPPROBE_NS", "")
	s, _ := Find("clean")
	_, err := s.Start(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "topo.Enter") {
		t.Errorf("got %v", err)
	}
}

func TestRootScenarioIsRefusedWithoutRoot(t *testing.T) {
	s, _ := Find("arp-3s")
	if _, err := s.Start(context.Background(), nil); !errors.Is(err, ErrNeedsRoot) {
		t.Errorf("got %v, want %v", err, ErrNeedsRoot)
	}
}

func TestListByPattern(t *testing.T) {
	list, err := List("arp-*")
	if err != nil {
		t.Fatal(err)
	}
	if names := names(list); !slices.Contains(names, "arp-client") || slices.Contains(names, "clean") {
		t.Errorf("arp-* is %v", names)
	}
	if _, err := List("["); err == nil {
		t.Error("a broken pattern was taken")
	}
}

func names(list []Scenario) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out
}

// What the catalogue of verdicts sends people to must show what it says: the scenario's own label names the verdict, or, where the verdict
// is but a note, calls the network healthy.
func TestCatalogueLeadsToTheRightScenario(t *testing.T) {
	for _, e := range catalogue.Entries() {
		why, excused := unmade()[e.Verdict]
		if excused != (e.Scenario == "") {
			t.Errorf("%s: scenario %q, but excused %v (%s)", e.Verdict, e.Scenario, excused, why)
		}
		if e.Scenario == "" {
			continue
		}
		s, ok := Find(e.Scenario)
		if !ok {
			t.Errorf("%s: there is no scenario %q", e.Verdict, e.Scenario)
			continue
		}
		want := e.Verdict
		if e.Benign {
			want = diagnose.Healthy
		}
		if !slices.Contains(s.Label.Verdicts, want) {
			t.Errorf("%s: scenario %s is labelled %v", e.Verdict, s.Name, s.Label.Verdicts)
		}
	}
}
