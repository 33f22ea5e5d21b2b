package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func named(l diagnose.Level, vs ...diagnose.Verdict) []Named {
	var out []Named
	for _, v := range vs {
		out = append(out, Named{Verdict: v, Level: l})
	}
	return out
}

func lossy(l Label) Label {
	l.Lossy = true
	return l
}

func TestJudge(t *testing.T) {
	const local, remote, healthy = diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow, diagnose.Healthy
	for _, c := range []struct {
		story string
		label Label
		named []Named
		want  Result
	}{
		{"the fault", Is(local), named(diagnose.Proven, local), Right},
		{"the fault, firm enough", Is(local), named(diagnose.Confirmed, local), Right},
		{"the fault, too weakly", Is(local), named(diagnose.Suspected, local), Inconclusive},
		{"a finding below suspected is not naming", Is(local), named(diagnose.Inconclusive, remote), Inconclusive},
		{"nothing", Is(local), nil, Inconclusive},
		{"something else", Is(local), named(diagnose.Suspected, remote), Wrong},
		{"the fault and something else", Is(local), named(diagnose.Proven, local, remote), Wrong},
		{"healthy where a fault is", Is(local), named(diagnose.Confirmed, healthy), Wrong},
		{"one of two", Is(local, remote), named(diagnose.Proven, local), Inconclusive},
		{"both, in any order", Is(local, remote), named(diagnose.Proven, remote, local), Right},
		{"the other way to see it", Is(local).OrAlso(remote), named(diagnose.Suspected, remote), Right},
		{"nothing, where that is right", Healthy().OrAlso(), nil, Right},
		{"healthy", Healthy(), named(diagnose.Confirmed, healthy), Right},
		{"nothing, where all is well", Healthy(), nil, Inconclusive},
		{"unclassified is no cause", Is(local), named(diagnose.Suspected, diagnose.SYNStallUnclassified), Inconclusive},
		{"unclassified beside the fault", Is(local), named(diagnose.Confirmed, local, diagnose.SYNStallUnclassified), Right},
		{"unclassified where all is well", Healthy(), named(diagnose.Suspected, diagnose.SYNStallUnclassified), Wrong},
		{"added loss", lossy(Healthy()), named(diagnose.Confirmed, diagnose.SYNACKLoss, diagnose.ForwardSYNLoss), Right},
		{"added loss that did not show", lossy(Healthy()), named(diagnose.Confirmed, healthy), Right},
		{"added loss not classified", lossy(Healthy()), named(diagnose.Suspected, diagnose.SYNStallUnclassified), Inconclusive},
		{"added loss taken for a fault", lossy(Healthy()), named(diagnose.Suspected, diagnose.SYNACKLoss, remote), Wrong},
		{"the fault beside added loss", lossy(Is(local)), named(diagnose.Confirmed, local, diagnose.ForwardSYNLoss), Right},
		{"added loss alone", lossy(Is(local)), named(diagnose.Confirmed, diagnose.PathLoss), Inconclusive},
		{"added loss and another fault", lossy(Is(local)), named(diagnose.Confirmed, diagnose.PathLoss, remote), Wrong},
		{"healthy beside a fault and added loss", lossy(Is(local)), named(diagnose.Confirmed, healthy), Wrong},
		{"a loss that is the fault", lossy(Is(diagnose.SYNACKLoss)), named(diagnose.Confirmed, diagnose.SYNACKLoss), Right},
		{"loss where none was added", Healthy(), named(diagnose.Confirmed, diagnose.SYNACKLoss), Wrong},
	} {
		if got, why := c.label.Judge(c.named); got != c.want {
			t.Errorf("%s: %s (%s), want %s", c.story, got, why, c.want)
		}
	}
}

func TestJudgeReadsTheEvidence(t *testing.T) {
	l := Is(diagnose.TWRecyclePAWSDrop)
	l.Says = "it healed"
	for _, c := range []struct {
		evidence []string
		want     Result
	}{{[]string{"8 of 8", "then it healed"}, Right}, {[]string{"it did not heal"}, Inconclusive}, {nil, Inconclusive}} {
		got, _ := l.Judge([]Named{{diagnose.TWRecyclePAWSDrop, diagnose.Proven, c.evidence}})
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.evidence, got, c.want)
		}
	}
}

func TestCausesOfSeveralTargetsAreOneAnswer(t *testing.T) {
	got, err := parseCauses([]byte(`{"version":1,"rounds":[
		{"diagnosis":{"causes":[{"verdict":"healthy","level":"confirmed"}],"notes":[{"verdict":"acl_drop","level":"inconclusive"}]}},
		{"diagnosis":{"causes":[{"verdict":"local_arp_queue_overflow","level":"suspected"}]}},
		{"diagnosis":{"causes":[{"verdict":"local_arp_queue_overflow","level":"proven"}]}},
		{"error":"no route"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(named(diagnose.Proven, diagnose.LocalARPQueueOverflow), got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "{}", "not json"} {
		if _, err := parseCauses([]byte(bad)); err == nil {
			t.Errorf("%q was taken as a diagnosis", bad)
		}
	}
}

func report() *Report {
	return &Report{Took: 3 * time.Second, Rows: []Row{
		{Scenario: "arp-client", Seed: 1, Parameters: map[string]string{"qlen": "3"}, Expected: []diagnose.Verdict{"local_arp_queue_overflow"},
			Named: named(diagnose.Proven, "local_arp_queue_overflow"), Result: Right, Took: 1500 * time.Millisecond},
		{Scenario: "arp-client", Seed: 1, NearMiss: "deep queue", Parameters: map[string]string{"qlen": "256"},
			Expected: []diagnose.Verdict{"healthy"}, Named: named(diagnose.Suspected, "acl_drop"), Result: Wrong, Why: "named acl_drop, which is not there"},
		{Scenario: "arp-3s", Seed: 1, Parameters: map[string]string{}, Expected: []diagnose.Verdict{"local_arp_queue_overflow"}, Result: Skipped, Why: "needs root"},
		{Scenario: "acl-drop", Seed: 1, Parameters: map[string]string{}, Expected: []diagnose.Verdict{"acl_drop"}, Result: Inconclusive, Why: "no cause was named"},
	}}
}

func TestReportAsJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	row := func(name string, miss bool, params map[string]any, expected, verdicts []any, level, result, why string, s float64) any {
		again := "vipprobe lab run " + name
		if miss {
			again += " --set qlen=256"
		}
		return map[string]any{"again": again, "name": name, "seed": 1.0, "near_miss": miss, "parameters": params, "loss": 0.0, "expected": expected, "verdicts": verdicts,
			"level": level, "result": result, "why": why, "seconds": s}
	}
	want := map[string]any{"right": 1.0, "wrong": 1.0, "skipped": 1.0, "inconclusive": 1.0, "scenarios": []any{
		row("arp-client", false, map[string]any{"qlen": "3"}, []any{"local_arp_queue_overflow"}, []any{"local_arp_queue_overflow"}, "proven", "right", "", 1.5),
		row("arp-client", true, map[string]any{"qlen": "256"}, []any{"healthy"}, []any{"acl_drop"}, "suspected", "wrong", "named acl_drop, which is not there", 0),
		row("arp-3s", false, map[string]any{}, []any{"local_arp_queue_overflow"}, []any{}, "", "skipped", "needs root", 0),
		row("acl-drop", false, map[string]any{}, []any{"acl_drop"}, []any{}, "", "inconclusive", "no cause was named", 0),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReportAsJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := report().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got junitSuite
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Skipped != 2 || got.Cases[1].Failure == nil || got.Cases[2].Skipped == nil || got.Cases[0].Failure != nil {
		t.Errorf("suite: %s", b.String())
	}
}

func TestReportAsTable(t *testing.T) {
	var b bytes.Buffer
	if err := report().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WRONG", "1 × healthy → acl_drop", "1 × acl_drop → nothing", "1 right, 1 inconclusive, 1 WRONG, 1 skipped of 4"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if !report().Failed() {
		t.Error("a wrong verdict did not fail the report")
	}
}

func needPrivate(t *testing.T) {
	t.Helper()
	if !topo.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("private namespaces are not available")
		}
		t.Skip("private namespaces are not available: see the message at the top")
	}
}

func TestScoreAsksEveryScenarioBlind(t *testing.T) {
	needPrivate(t)
	r, err := Score(t.Context(), ScoreOptions{Only: "arp-[3cq]*", Diagnose: func(_ context.Context, q Question) ([]Named, error) {
		if len(q.Targets) != 1 || q.Client == nil {
			return nil, errors.New("asked about nothing")
		}
		return named(diagnose.Confirmed, diagnose.Healthy), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	// arp-client is missed; its near miss and the three queue sizes are healthy; arp-3s and its near miss need root.
	if got := []int{r.Count(Right), r.Count(Wrong), r.Count(Skipped), r.Count(Inconclusive)}; !cmp.Equal(got, []int{4, 1, 2, 0}) {
		t.Errorf("right, wrong, skipped, inconclusive: %v, want [4 1 2 0]", got)
	}
}

func TestScoreOfOneLabel(t *testing.T) {
	needPrivate(t)
	answer := func(context.Context, Question) ([]Named, error) {
		return named(diagnose.Confirmed, diagnose.Healthy), nil
	}
	r, err := Score(t.Context(), ScoreOptions{Only: "arp-[cq]*", Expect: diagnose.Healthy, Diagnose: answer})
	if err != nil {
		t.Fatal(err)
	}
	// arp-client's near miss and two of the three queue sizes.
	if len(r.Rows) != 3 || r.Count(Right) != 3 {
		t.Errorf("%d rows, %d right, want 3 and 3", len(r.Rows), r.Count(Right))
	}
	if _, err := Score(t.Context(), ScoreOptions{Only: "clean", Expect: diagnose.ACLDrop, Diagnose: answer}); err == nil {
		t.Error("scored nothing without an error")
	}
}

func TestScoreOfADiagnosisThatFails(t *testing.T) {
	needPrivate(t)
	r, err := Score(t.Context(), ScoreOptions{Only: "clean", Diagnose: func(context.Context, Question) ([]Named, error) {
		return nil, errors.New("no capability")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows[0].Result != Inconclusive || r.Rows[0].Why != "no capability" {
		t.Errorf("row: %+v", r.Rows[0])
	}
}

func TestScoreKeepsTheEvidenceOfWhatWasNotRight(t *testing.T) {
	needPrivate(t)
	dir := filepath.Join(t.TempDir(), "kept")
	_, err := Score(t.Context(), ScoreOptions{Only: "arp-client", Evidence: dir, Diagnose: func(_ context.Context, q Question) ([]Named, error) {
		if err := os.Mkdir(q.Evidence, 0o700); err != nil {
			return nil, err
		}
		return named(diagnose.Confirmed, diagnose.Healthy), nil // right for the near miss alone
	}})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadDir(dir)
	if err != nil || len(kept) != 1 || kept[0].Name() != "arp-client-1" {
		t.Errorf("kept %v, %v; want arp-client-1 alone", kept, err)
	}
}

func TestScoreWithNothingToDo(t *testing.T) {
	needPrivate(t)
	if _, err := Score(t.Context(), ScoreOptions{Only: "no-such-thing"}); err == nil {
		t.Error("scored nothing without an error")
	}
}

func TestRunJudgesByTheNearMissThatItIs(t *testing.T) {
	needPrivate(t)
	row, err := Run(t.Context(), "arp-client", map[string]string{"qlen": "256"}, func(context.Context, Question) ([]Named, error) {
		return named(diagnose.Confirmed, diagnose.Healthy), nil
	})
	if err != nil || row.Result != Right || row.NearMiss != "deep queue" {
		t.Errorf("row %+v, %v", row, err)
	}
}

func TestShellStandsOnTheClient(t *testing.T) {
	needPrivate(t)
	var out, errs bytes.Buffer
	code, err := Shell(t.Context(), "clean", nil, []string{"sh", "-c", "cat /proc/net/fib_trie; echo target $TARGET; exit 7"}, nil, &out, &errs)
	if err != nil || code != 7 {
		t.Fatalf("code %d, %v", code, err)
	}
	if !strings.Contains(out.String(), clientIP) || !strings.Contains(out.String(), "target 10.77.0.10:80") {
		t.Errorf("out: %s", out.String())
	}
	if !strings.Contains(errs.String(), "10.77.0.21:80") {
		t.Errorf("the members were not named: %s", errs.String())
	}
}
