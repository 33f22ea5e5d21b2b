package catalogue

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

func TestEveryVerdictHasAnEntry(t *testing.T) {
	var got []diagnose.Verdict
	for _, e := range Entries() {
		got = append(got, e.Verdict)
	}
	if d := cmp.Diff(diagnose.Verdicts(), got); d != "" {
		t.Errorf("verdicts, -declared +in the catalogue:\n%s", d)
	}
	if e, ok := Find("no_such_verdict"); ok {
		t.Errorf("Find made up %+v", e)
	}
	if e, ok := Find(diagnose.MTUBlackhole); !ok || e.Verdict != diagnose.MTUBlackhole {
		t.Errorf("Find(mtu_blackhole) = %+v, %v", e, ok)
	}
}

// empties names the fields of v that are empty, but for flags.
func empties(v reflect.Value, at string) (out []string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			out = append(out, empties(v.Field(i), at+"."+v.Type().Field(i).Name)...)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			out = append(out, at)
		}
		for i := range v.Len() {
			out = append(out, empties(v.Index(i), fmt.Sprintf("%s[%d]", at, i))...)
		}
	case reflect.Bool:
	default:
		if v.IsZero() || v.Kind() == reflect.String && strings.TrimSpace(v.String()) != v.String() {
			out = append(out, at)
		}
	}
	return out
}

func TestNothingIsLeftOut(t *testing.T) {
	for _, e := range Entries() {
		name := string(e.Verdict)
		if (e.Scenario == "") == (e.Unmade == "") {
			t.Errorf("%s: want a scenario or why there is none, have %q and %q", name, e.Scenario, e.Unmade)
		}
		e.Scenario, e.Unmade = "x", "x"
		for _, f := range empties(reflect.ValueOf(e), name) {
			t.Errorf("%s is empty or has spaces around it", f)
		}
		for _, l := range e.LookAlikes {
			if !slices.Contains(diagnose.Verdicts(), l.Verdict) || l.Verdict == e.Verdict {
				t.Errorf("%s: looks like %q, which is no other verdict", name, l.Verdict)
			}
		}
	}
}

func TestSourcesCanBeLookedUp(t *testing.T) {
	forms := regexp.MustCompile(`^(?:` + strings.Join([]string{
		`RFC [1-9]\d{2,3}(?: §\d+(?:\.\d+)*)?`,
		`(?:net|include|Documentation)/\S+\.(?:c|h|rst)(?: [\w/]+)*, Linux \d\.\d+`,
		`commit [0-9a-f]{12}, Linux \d\.\d+`,
		`[\w.-]+\(\d\)(?: [\w, ]+)?`,
		`measured on Linux \d\.\d+(?:\.\d+)?`,
		`arithmetic`, `unverified`,
	}, "|") + `)$`)
	for _, e := range Entries() {
		for _, f := range e.Mechanism {
			for s := range strings.SplitSeq(f.Source, "; ") {
				if !forms.MatchString(s) {
					t.Errorf("%s: source %q has none of the forms that Fact allows", e.Verdict, s)
				}
			}
		}
	}
}

// A verdict that is taken for another is listed there too, or the reader who starts from the other would miss it: not demanded for all, but
// for the pairs that fool people.
func TestPairsThatFoolPeopleAreToldApartInBothDirections(t *testing.T) {
	for _, p := range [][2]diagnose.Verdict{
		{diagnose.LocalARPQueueOverflow, diagnose.AcceptQueueOverflow}, {diagnose.RemoteARPQueueOverflow, diagnose.LocalARPQueueOverflow},
		{diagnose.SYNRateLimited, diagnose.AcceptQueueOverflow}, {diagnose.BlackholeBackend, diagnose.ForwardSYNLoss},
		{diagnose.ECMPPathLoss, diagnose.BlackholeBackend}, {diagnose.SYNACKLoss, diagnose.ForwardSYNLoss},
		{diagnose.ConntrackTableFull, diagnose.SNATPortExhaustion}, {diagnose.DeferAcceptBenign, diagnose.AcceptQueueOverflow},
		{diagnose.TWRecyclePAWSDropSNAT, diagnose.TSClockDomainConflict}, {diagnose.TimeWaitCollision, diagnose.TWRecyclePAWSDrop},
		{diagnose.ACLDrop, diagnose.AcceptQueueOverflow}, {diagnose.LBFullProxyMasks, diagnose.Healthy},
	} {
		for _, q := range [][2]diagnose.Verdict{p, {p[1], p[0]}} {
			e, _ := Find(q[0])
			if !slices.ContainsFunc(e.LookAlikes, func(l LookAlike) bool { return l.Verdict == q[1] }) {
				t.Errorf("%s does not say what separates it from %s", q[0], q[1])
			}
		}
	}
}
