package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// Burst is what one burst of connects came to.
type Burst struct {
	Connects, Stalled, Failed int
	// Times are from the first SYN to the answer, of those that were accepted.
	Times []time.Duration
}

// Facts are what was measured of one candidate. Nil: that was not measured, and Why says why.
type Facts struct {
	Bursts   []Burst // in order: the first is first contact
	Findings []diagnose.Finding
	// Diagnosed says whether Findings are of a finished diagnosis.
	Diagnosed bool
	Profile   *profile.Profile
	Baseline  *profile.Profile
	Why       string
}

// State is how a check ended.
type State string

// The states. Unknown is no pass.
const (
	Pass    State = "pass"
	Fail    State = "fail"
	Unknown State = "unknown"
)

// Result is one check of one candidate.
type Result struct {
	Check Check
	State State
	// Got is what was found; Why what stood in the way, or what a failure means.
	Got, Why string
}

// Judge holds the facts of a candidate against a policy.
func Judge(checks []Check, f *Facts) []Result {
	var out []Result
	for i := range checks {
		r := Result{Check: checks[i], State: Unknown}
		switch checks[i].Subject {
		case Connects:
			r.connects(f)
		case Value:
			r.value(f)
		case Findings:
			r.findings(f)
		case Baseline:
			r.baseline(f)
		case SubjectUnknown:
			r.Why = "no such check"
		}
		out = append(out, r)
	}
	return out
}

// Worst is the worst state of results: fail before unknown before pass.
func Worst(results []Result) State {
	worst := Pass
	for i := range results {
		switch results[i].State {
		case Fail:
			return Fail
		case Unknown:
			worst = Unknown
		case Pass:
		}
	}
	return worst
}

func (f *Facts) unknown(what string) string {
	if f.Why != "" {
		return f.Why
	}
	return what
}

func (r *Result) pass(ok bool) {
	r.State = Fail
	if ok {
		r.State = Pass
	}
}

func (f *Facts) phase(p Phase) Burst {
	bursts := f.Bursts
	switch {
	case p == Cold && len(bursts) > 0:
		bursts = bursts[:1]
	case p == Warm && len(bursts) > 0:
		bursts = bursts[1:]
	}
	var all Burst
	for i := range bursts {
		b := &bursts[i]
		all.Connects, all.Stalled, all.Failed = all.Connects+b.Connects, all.Stalled+b.Stalled, all.Failed+b.Failed
		all.Times = append(all.Times, b.Times...)
	}
	slices.Sort(all.Times)
	return all
}

// confidence of the intervals that are shown.
const confidence = 0.95

func (r *Result) connects(f *Facts) {
	c := &r.Check
	b := f.phase(c.Phase)
	if b.Connects == 0 {
		r.Why = f.unknown("no connect was made")
		return
	}
	if !c.Metric.Ratio() {
		r.quantile(&b)
		return
	}
	hits := b.Stalled
	if c.Metric == FailureRatio {
		hits = b.Failed
	}
	share := float64(hits) / float64(b.Connects)
	i := stats.ClopperPearson(stats.Arm{Hits: hits, N: b.Connects}, confidence)
	r.Got = fmt.Sprintf("%d of %d (95 %%: %.3g %% to %.3g %%)", hits, b.Connects, 100*i.Low, 100*i.High)
	r.pass(holds(share, c.Op, c.Number))
	if need := c.Connections(); r.State == Pass && b.Connects < need && (c.Op == Less || c.Op == LessEqual) {
		r.State, r.Why = Unknown, fmt.Sprintf("so few connects cannot show it: %d are needed", need)
	}
}

// quantile judges times. A failed connect is slower than any.
func (r *Result) quantile(b *Burst) {
	q := map[Metric]float64{P50: 0.5, P90: 0.9, P99: 0.99, Slowest: 1}[r.Check.Metric]
	n := b.Connects
	rank := int(math.Ceil(q*float64(n))) - 1 // nearest rank
	got := time.Duration(math.MaxInt64)
	r.Got = "never"
	if rank < len(b.Times) {
		got = b.Times[max(rank, 0)]
		r.Got = got.Round(10 * time.Microsecond).String()
	}
	r.Got += fmt.Sprintf(" (%d connects)", n)
	r.pass(holds(got.Seconds(), r.Check.Op, r.Check.Number))
}

func holds(x float64, op Op, want float64) bool {
	switch op {
	case Less:
		return x < want
	case LessEqual:
		return x <= want
	case Greater:
		return x > want
	case GreaterEqual:
		return x >= want
	case Equal:
		return x == want
	case NotEqual:
		return x != want
	}
	return false
}

func (r *Result) value(f *Facts) {
	if f.Profile == nil {
		r.Why = f.unknown("no profile was measured")
		return
	}
	v, ok := f.Profile.Value(r.Check.Name)
	t, _ := profile.TraitOf(r.Check.Name)
	if !ok || !v.Known() {
		r.Why = "not measured"
		if ok {
			r.Why = v.Why
		}
		return
	}
	if r.Got = v.Text; v.HasNumber && v.Unit != "" && v.Unit != "s" {
		r.Got += " " + v.Unit
	}
	switch {
	case v.State == profile.Varies:
		r.State, r.Why = Fail, "flows disagree: there are several hosts behind this address"
	case r.Check.HasNumber && !v.HasNumber, !r.Check.HasNumber && v.HasNumber && v.Text != r.Check.Word:
		r.pass(r.Check.Op == NotEqual)
	case !r.Check.HasNumber:
		r.pass((v.Text == r.Check.Word) == (r.Check.Op == Equal))
	default:
		r.bounded(v, t.Slack)
	}
	if r.State == Fail && r.Why == "" {
		r.Why = "what sets hosts apart here: " + t.Means
	}
}

// bounded compares a number that may be known as a range.
func (r *Result) bounded(v *profile.Value, slack float64) {
	low, high := v.Number, v.Number
	switch v.State {
	case profile.AtLeast:
		low, high = v.Low, math.Inf(1)
	case profile.Between:
		low, high = v.Low, v.High
	case profile.Measured, profile.Varies, profile.NotMeasured:
	}
	want := r.Check.Number
	near := func(x float64) bool {
		return !math.IsInf(x, 0) && math.Abs(x-want) <= slack*max(math.Abs(want), math.Abs(x))
	}
	var all, none bool
	switch r.Check.Op {
	case Equal, NotEqual:
		all, none = near(low) && near(high), !near(low) && !near(high) && (want < low || want > high)
		if r.Check.Op == NotEqual {
			all, none = none, all
		}
	case Less, LessEqual, Greater, GreaterEqual:
		all = holds(low, r.Check.Op, want) && holds(high, r.Check.Op, want)
		none = !holds(low, r.Check.Op, want) && !holds(high, r.Check.Op, want)
	}
	switch {
	case all:
		r.State = Pass
	case none:
		r.State = Fail
	default:
		r.Why = "what was measured is no closer than that"
	}
}

func (r *Result) findings(f *Facts) {
	var named []string
	for i := range f.Findings {
		x := &f.Findings[i]
		if x.Level < r.Check.Level || r.Check.Verdict != "" && x.Verdict != r.Check.Verdict || x.Verdict == diagnose.Healthy || x.Verdict.Benign() {
			continue
		}
		named = append(named, fmt.Sprintf("%s (%s)", x.Verdict, x.Level))
		if r.Why == "" {
			r.Why = x.Summary
		}
	}
	switch {
	case len(named) > 0:
		r.State, r.Got = Fail, strings.Join(named, ", ")
	case !f.Diagnosed:
		r.Why = f.unknown("the diagnosis did not come to an end")
	default:
		r.State, r.Got = Pass, "none"
	}
}

func (r *Result) baseline(f *Facts) {
	if f.Profile == nil || f.Baseline == nil {
		r.Why = f.unknown("there is no baseline to compare with")
		return
	}
	var left []profile.Difference
	for _, d := range profile.Compare(f.Baseline, f.Profile) {
		if d.Trait.Weight > profile.Informative && !slices.Contains(r.Check.Except, d.Trait.Name) {
			left = append(left, d)
		}
	}
	if len(left) > 0 {
		r.State, r.Got, r.Why = Fail, profile.Sentence(left), left[0].Trait.Means
		return
	}
	r.State, r.Got = Pass, "alike"
	if lacking := profile.Uncompared(f.Baseline, f.Profile); len(lacking) > 0 {
		var names []string
		for _, t := range lacking {
			if t.Weight > profile.Informative && !slices.Contains(r.Check.Except, t.Name) {
				names = append(names, string(t.Name))
			}
		}
		if len(names) > 0 {
			r.State, r.Why = Unknown, "only one of the two is known of "+strings.Join(names, ", ")
		}
	}
}
