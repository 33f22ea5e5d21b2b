package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/profile"
)

// Op compares what was measured with what is wanted.
type Op string

// The comparisons.
const (
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Equal        Op = "="
	NotEqual     Op = "!="
)

// Subject is what a check is about.
type Subject uint8

// A Connects check is about a burst's handshakes, a Value one about a profile, a Findings one about a diagnosis; Baseline wants a profile like
// the golden one.
const (
	SubjectUnknown Subject = iota
	Connects
	Value
	Findings
	Baseline
)

// Metric is a figure of the connects of a candidate.
type Metric string

// The metrics: shares of connects that stalled or were not accepted, and quantiles of the time from the first SYN to the answer, in seconds.
const (
	StallRatio   Metric = "stall_ratio"
	FailureRatio Metric = "failure_ratio"
	P50          Metric = "p50"
	P90          Metric = "p90"
	P99          Metric = "p99"
	Slowest      Metric = "max"
)

// Metrics lists them all.
func Metrics() []Metric { return []Metric{StallRatio, FailureRatio, P50, P90, P99, Slowest} }

// Ratio reports whether a metric is a share.
func (m Metric) Ratio() bool { return m == StallRatio || m == FailureRatio }

// Phase is which connects of a candidate a check is about.
type Phase string

// First contact is the first burst, Warm all that follow; Any are both.
const (
	Any  Phase = ""
	Cold Phase = "cold"
	Warm Phase = "warm"
)

// Check is one line of a policy.
type Check struct {
	Text    string // as written
	Subject Subject
	Phase   Phase        // Connects
	Metric  Metric       // Connects
	Name    profile.Name // Value
	Op      Op
	Number  float64
	// HasNumber: Number is what is wanted; else Word.
	HasNumber bool
	Word      string
	// Level is the least that a finding must have to count, Verdict the only one that does; empty: any.
	Level   diagnose.Level
	Verdict diagnose.Verdict
	// Except are traits that may differ from the baseline.
	Except []profile.Name
}

// ParseCheck reads a line of a policy:
//
//	[cold.|warm.]METRIC OP NUMBER      stall_ratio < 0.001, warm.p99 < 5ms
//	VALUE OP NUMBER or WORD            remote_neighbor_queue >= 64, timestamps = on
//	no finding [>= LEVEL] [VERDICT]    no finding >= suspected
//	like baseline [except VALUE, …]    like baseline except mss
func ParseCheck(s string) (Check, error) {
	words := strings.Fields(s)
	c := Check{Text: strings.Join(words, " ")}
	if len(words) == 0 {
		return c, fmt.Errorf("empty; want a check like \"stall_ratio < 0.001\"")
	}
	switch words[0] {
	case "no":
		return c, c.findings(words[1:])
	case "like":
		return c, c.baseline(words[1:])
	}
	return c, c.comparison(s)
}

func (c *Check) findings(words []string) error {
	c.Subject, c.Level = Findings, diagnose.Suspected
	if len(words) == 0 || words[0] != "finding" {
		return fmt.Errorf("after \"no\" want \"finding\"")
	}
	words = words[1:]
	if len(words) >= 2 && words[0] == string(GreaterEqual) {
		levels := diagnose.Levels()
		i := slices.IndexFunc(levels, func(l diagnose.Level) bool { return l.String() == words[1] })
		if i < 0 || levels[i] < diagnose.Suspected {
			return fmt.Errorf("level %q: want suspected, confirmed or proven", words[1])
		}
		c.Level, words = levels[i], words[2:]
	}
	switch {
	case len(words) == 0:
		return nil
	case len(words) > 1:
		return fmt.Errorf("after \"no finding\" want \">= LEVEL\" and one verdict, not %q", strings.Join(words, " "))
	}
	c.Verdict = diagnose.Verdict(words[0])
	if !slices.Contains(diagnose.Verdicts(), c.Verdict) {
		return fmt.Errorf("verdict %q is not known; explain lists them", words[0])
	}
	return nil
}

func (c *Check) baseline(words []string) error {
	c.Subject = Baseline
	if len(words) == 0 || words[0] != "baseline" {
		return fmt.Errorf("after \"like\" want \"baseline\"")
	}
	if words = words[1:]; len(words) == 0 {
		return nil
	}
	if words[0] != "except" || len(words) == 1 {
		return fmt.Errorf("after \"like baseline\" want \"except\" and values")
	}
	for name := range strings.SplitSeq(strings.Join(words[1:], " "), ",") {
		t, ok := profile.TraitOf(profile.Name(strings.TrimSpace(name)))
		if !ok {
			return fmt.Errorf("value %q is not known; known are %s", strings.TrimSpace(name), known())
		}
		c.Except = append(c.Except, t.Name)
	}
	return nil
}

func known() string {
	var names []string
	for _, m := range Metrics() {
		names = append(names, string(m))
	}
	for _, t := range profile.Traits() {
		names = append(names, string(t.Name))
	}
	return strings.Join(names, ", ")
}

// comparison reads NAME OP WANTED.
func (c *Check) comparison(s string) error {
	at := strings.IndexAny(s, "<>=!")
	if at < 0 {
		return fmt.Errorf("no comparison in %q; want NAME OP VALUE with one of < <= > >= = !=", c.Text)
	}
	name, rest := strings.TrimSpace(s[:at]), s[at:]
	for _, op := range []Op{LessEqual, GreaterEqual, NotEqual, Less, Greater, Equal} {
		if strings.HasPrefix(rest, string(op)) {
			c.Op, rest = op, strings.TrimSpace(rest[len(op):])
			break
		}
	}
	if c.Op == "" || rest == "" || strings.ContainsAny(rest, "<>=!") {
		return fmt.Errorf("%q is no comparison; want NAME OP VALUE with one of < <= > >= = !=", c.Text)
	}
	if err := c.subject(name); err != nil {
		return err
	}
	return c.wanted(rest)
}

func (c *Check) subject(name string) error {
	bare := name
	for _, p := range []Phase{Cold, Warm} {
		if after, ok := strings.CutPrefix(name, string(p)+"."); ok {
			c.Phase, bare = p, after
		}
	}
	if slices.Contains(Metrics(), Metric(bare)) {
		c.Subject, c.Metric = Connects, Metric(bare)
		return nil
	}
	t, ok := profile.TraitOf(profile.Name(name))
	if !ok {
		return fmt.Errorf("%q is not known; known are %s", name, known())
	}
	c.Subject, c.Name = Value, t.Name
	return nil
}

// wanted reads a number, a share in percent, a time, or a word.
func (c *Check) wanted(s string) error {
	seconds := c.Subject == Connects && !c.Metric.Ratio()
	if c.Subject == Value {
		t, _ := profile.TraitOf(c.Name)
		seconds = t.Unit == "s"
	}
	number, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	switch percent := strings.HasSuffix(s, "%"); {
	case seconds:
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("%q: want a time like 5ms", s)
		}
		c.Number, c.HasNumber = d.Seconds(), true
	case err == nil && percent && c.Subject == Connects:
		c.Number, c.HasNumber = number/100, true
	case err == nil && !percent:
		c.Number, c.HasNumber = number, true
	case c.Subject == Connects, c.Op != Equal && c.Op != NotEqual:
		return fmt.Errorf("%q: want a number", s)
	default:
		return c.word(s)
	}
	if c.Subject == Connects && c.Metric.Ratio() && !(c.Number >= 0 && c.Number <= 1) {
		return fmt.Errorf("%q: a share is 0 to 1, or 0%% to 100%%", s)
	}
	return nil
}

// word takes what is wanted of a value that is no number.
func (c *Check) word(s string) error {
	t, _ := profile.TraitOf(c.Name)
	if words := t.Words(); words != nil && !slices.Contains(words, s) {
		return fmt.Errorf("%q: %s is one of %s", s, c.Name, strings.Join(words, ", "))
	}
	c.Word = s
	return nil
}

// Connections is how many connects a check needs so that it can pass: one more than permitted must show.
func (c *Check) Connections() int {
	if c.Subject != Connects || !c.Metric.Ratio() || c.Number <= 0 {
		return 0
	}
	return int(min(1/c.Number, MaxConnects-1)) + 1
}

// MaxConnects bounds what one candidate is asked.
const MaxConnects = 5000

// Needs is the trait whose opt-in measurement a check needs; ok is false where it needs none.
func (c *Check) Needs() (t profile.Trait, ok bool) {
	if c.Subject != Value {
		return t, false
	}
	t, _ = profile.TraitOf(c.Name)
	return t, t.OptIn != ""
}
