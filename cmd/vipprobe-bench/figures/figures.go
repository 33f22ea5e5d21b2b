// Package figures holds what a benchmark measured, round by round, and makes medians, ratios within a round and a table of it. It measures
// nothing itself.
package figures

import (
	"math"
	"slices"
	"time"
)

// Ours begins the name of every contestant that is this program.
const Ours = "vipprobe"

// Row is one figure of one contestant: a value for each round. A round that gave none is NaN.
type Row struct {
	Figure     string    `json:"figure"`
	Contestant string    `json:"contestant"`
	Unit       string    `json:"unit"`
	Values     []float64 `json:"values"`
}

// Target is a bound that a figure should keep: of a ratio between two contestants in the same round, or of one contestant's own value.
type Target struct {
	Figure string  `json:"figure"`
	Over   string  `json:"over,omitempty"` // the contestant whose value is divided; empty: no ratio
	Of     string  `json:"of"`
	Least  float64 `json:"at_least,omitempty"`
	Most   float64 `json:"at_most,omitempty"`
	Unit   string  `json:"unit,omitempty"`
}

// Verdict is a target as it was met.
type Verdict struct {
	Target
	Values []float64 `json:"values"`
	Median float64   `json:"median"`
	Known  bool      `json:"measured"`
	Met    bool      `json:"met"`
}

// Host is where it was measured.
type Host struct {
	Kernel   string            `json:"kernel"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Versions map[string]string `json:"versions"` // of the contestants; "not installed"
}

// Report is one run of the benchmark.
type Report struct {
	Host     Host          `json:"host"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took_ns"`
	Rounds   int           `json:"rounds"`
	Rows     []Row         `json:"rows"`
	Verdicts []Verdict     `json:"targets"`
	Notes    []Note        `json:"notes"`
	Failures []string      `json:"failures,omitempty"`
}

// Note is how one contestant was run.
type Note struct {
	Contestant string `json:"contestant"`
	Figure     string `json:"figure"`
	Command    string `json:"command"`
}

// Add enters the value of one round, counted from 0.
func (r *Report) Add(figure, contestant, unit string, round int, value float64) {
	row := r.row(figure, contestant)
	if row == nil {
		r.Rows = append(r.Rows, Row{Figure: figure, Contestant: contestant, Unit: unit})
		row = &r.Rows[len(r.Rows)-1]
	}
	for len(row.Values) <= round {
		row.Values = append(row.Values, math.NaN())
	}
	row.Values[round] = value
}

func (r *Report) row(figure, contestant string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Figure == figure && r.Rows[i].Contestant == contestant {
			return &r.Rows[i]
		}
	}
	return nil
}

// Note keeps how a contestant was run, once.
func (r *Report) Note(figure, contestant, command string) {
	n := Note{contestant, figure, command}
	if !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// Judge holds the targets against what was measured, and brings the rows of each figure together.
func (r *Report) Judge(targets []Target) {
	r.Verdicts = nil
	for _, t := range targets {
		v := Verdict{Target: t}
		if of := r.row(t.Figure, t.Of); of != nil {
			v.Values = of.Values
			if t.Over != "" {
				v.Values = Ratios(r.row(t.Figure, t.Over), of)
			}
		}
		v.Median, v.Known = Median(v.Values)
		v.Met = v.Known && (t.Least == 0 || v.Median >= t.Least) && (t.Most == 0 || v.Median <= t.Most)
		v.Values = measured(v.Values)
		r.Verdicts = append(r.Verdicts, v)
	}
	for i := range r.Rows {
		r.Rows[i].Values = measured(r.Rows[i].Values)
	}
	first := map[string]int{}
	for i := range r.Rows {
		if _, known := first[r.Rows[i].Figure]; !known {
			first[r.Rows[i].Figure] = i
		}
	}
	slices.SortStableFunc(r.Rows, func(a, b Row) int { return first[a.Figure] - first[b.Figure] })
}

// Ratios divides the values of the same rounds. A missing row gives none.
func Ratios(over, of *Row) []float64 {
	if over == nil || of == nil {
		return nil
	}
	var out []float64
	for i := range min(len(over.Values), len(of.Values)) {
		if q := over.Values[i] / of.Values[i]; !math.IsNaN(q) && !math.IsInf(q, 0) {
			out = append(out, q)
		}
	}
	return out
}

// Median is the middle value, or the mean of the two in the middle; false where nothing was measured.
func Median(values []float64) (float64, bool) {
	s := slices.Sorted(slices.Values(measured(values)))
	switch n := len(s); {
	case n == 0:
		return 0, false
	case n%2 == 1:
		return s[n/2], true
	default:
		return (s[n/2-1] + s[n/2]) / 2, true
	}
}

func measured(values []float64) []float64 {
	out := []float64{}
	for _, v := range values {
		if !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	return out
}

// Quantile is the value below which the share q of the sorted values lies, by nearest rank; 0 of none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
