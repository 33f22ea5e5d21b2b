package lab

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Report is the outcome of Score.
type Report struct {
	Rows []Row
	Took time.Duration
}

// Count is how many rows have a result.
func (r *Report) Count(x Result) int {
	n := 0
	for i := range r.Rows {
		if r.Rows[i].Result == x {
			n++
		}
	}
	return n
}

// Failed reports whether something was named that is not there: what may never happen.
func (r *Report) Failed() bool { return r.Count(Wrong) > 0 }

// WriteTable prints a line for each row, what was confused with what, and the sums.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SCENARIO\tNEAR MISS\tLOSS\tEXPECTED\tNAMED\tLEVEL\tS\tRESULT\tWHY")
	for i := range r.Rows {
		x := &r.Rows[i]
		result := string(x.Result)
		if x.Result == Wrong {
			result = "WRONG"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%s\t%s\n", x.Scenario, dash(x.NearMiss), x.loss(), joinVerdicts(x.Expected),
			dash(joinVerdicts(firm(x.Named))), dash(x.level()), x.Took.Seconds(), result, x.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r.writeConfusions(w)
	r.writeAgain(w)
	_, err := fmt.Fprintf(w, "\n%d right, %d inconclusive, %d WRONG, %d skipped of %d, in %.1f s\n", r.Count(Right), r.Count(Inconclusive),
		r.Count(Wrong), r.Count(Skipped), len(r.Rows), r.Took.Seconds())
	return err
}

// writeConfusions prints the cells off the diagonal of the confusion matrix.
func (r *Report) writeConfusions(w io.Writer) {
	type cell struct{ expected, named string }
	count := map[cell]int{}
	for i := range r.Rows {
		x := &r.Rows[i]
		if x.Result == Wrong || x.Result == Inconclusive {
			count[cell{joinVerdicts(x.Expected), cmp.Or(joinVerdicts(firm(x.Named)), "nothing")}]++
		}
	}
	if len(count) == 0 {
		return
	}
	cells := make([]cell, 0, len(count))
	for c := range count {
		cells = append(cells, c)
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(count[b]-count[a], cmp.Compare(a.expected, b.expected), cmp.Compare(a.named, b.named))
	})
	fmt.Fprintln(w, "\nnot on the diagonal (expected → named):")
	for _, c := range cells {
		fmt.Fprintf(w, "  %d × %s → %s\n", count[c], c.expected, c.named)
	}
}

// writeAgain prints how to run again what was not right.
func (r *Report) writeAgain(w io.Writer) {
	first := true
	for i := range r.Rows {
		x := &r.Rows[i]
		if x.Result != Wrong && x.Result != Inconclusive {
			continue
		}
		if first {
			fmt.Fprintln(w, "\nagain:")
			first = false
		}
		fmt.Fprintf(w, "  %s   # %s: %s\n", x.Again(), x.Result, x.Why)
	}
}

// Again is the command that builds the row's network once more and diagnoses it: every parameter that is not as it is by default. What is lost at random, and
// what the kernels draw for themselves (sequence numbers, timestamp offsets), is another each time.
func (x *Row) Again() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vipprobe lab run %s", x.Scenario)
	sc, _ := Find(x.Scenario)
	usual := defaults(sc.all())
	for _, name := range slices.Sorted(maps.Keys(x.Parameters)) {
		if v := x.Parameters[name]; v != usual[name] {
			fmt.Fprintf(&b, " --set %s=%s", name, v)
		}
	}
	if x.Loss > 0 && x.Parameters[pathLoss] != strconv.FormatFloat(x.Loss, 'f', -1, 64) {
		fmt.Fprintf(&b, " --loss %g", 100*x.Loss)
	}
	return b.String()
}

func dash(s string) string { return cmp.Or(s, "–") }

// level is the firmest level named, or empty.
func (x *Row) level() string {
	if len(x.Named) == 0 {
		return ""
	}
	return strongest(x.Named).String()
}

// loss is the loss in force as people write it.
func (x *Row) loss() string {
	if x.Loss == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*x.Loss)
}

// lossNote is the loss as part of a name; nothing where there is none.
func (x *Row) lossNote() string {
	if x.Loss == 0 {
		return ""
	}
	return ", loss " + x.loss()
}

// rowView is a row as JSON.
type rowView struct {
	Name       string             `json:"name"`
	Seed       int                `json:"seed"`
	NearMiss   bool               `json:"near_miss"`
	Parameters map[string]string  `json:"parameters"`
	Loss       float64            `json:"loss"`
	Expected   []diagnose.Verdict `json:"expected"`
	Verdicts   []diagnose.Verdict `json:"verdicts"`
	Level      string             `json:"level"`
	Result     Result             `json:"result"`
	Why        string             `json:"why"`
	Again      string             `json:"again"`
	Seconds    float64            `json:"seconds"`
}

// WriteJSON prints {"scenarios":[…],"right":…,"inconclusive":…,"wrong":…,"skipped":…}.
func (r *Report) WriteJSON(w io.Writer) error {
	doc := struct {
		Scenarios    []rowView `json:"scenarios"`
		Right        int       `json:"right"`
		Inconclusive int       `json:"inconclusive"`
		Wrong        int       `json:"wrong"`
		Skipped      int       `json:"skipped"`
	}{[]rowView{}, r.Count(Right), r.Count(Inconclusive), r.Count(Wrong), r.Count(Skipped)}
	for i := range r.Rows {
		x := &r.Rows[i]
		doc.Scenarios = append(doc.Scenarios, rowView{x.Scenario, x.Seed, x.NearMiss != "", x.Parameters, math.Round(x.Loss*1e6) / 1e6, notNil(x.Expected),
			notNil(firm(x.Named)), x.level(), x.Result, x.Why, x.Again(), math.Round(x.Took.Seconds()*1000) / 1000})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func notNil(v []diagnose.Verdict) []diagnose.Verdict {
	if v == nil {
		return []diagnose.Verdict{}
	}
	return v
}

// The JUnit form: a wrong verdict is a failure; what was not decided or not tried is skipped, with its reason.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Skipped *junitMessage `xml:"skipped,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit prints the report as one JUnit test suite.
func (r *Report) WriteJUnit(w io.Writer) error {
	s := junitSuite{Name: "vipprobe lab", Tests: len(r.Rows), Failures: r.Count(Wrong),
		Skipped: r.Count(Inconclusive) + r.Count(Skipped), Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
	for i := range r.Rows {
		x := &r.Rows[i]
		c := junitCase{Class: x.Scenario, Name: fmt.Sprintf("%s seed %d", cmp.Or(x.NearMiss, "fault"), x.Seed) + x.lossNote(),
			Time: fmt.Sprintf("%.3f", x.Took.Seconds())}
		switch x.Result {
		case Wrong:
			c.Failure = &junitMessage{x.Why + "; again: " + x.Again()}
		case Inconclusive, Skipped:
			c.Skipped = &junitMessage{string(x.Result) + ": " + x.Why}
		case Right:
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
