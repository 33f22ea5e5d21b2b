package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteJSON writes the report as JSON, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	p := &writer{w: t}
	p.f("%s, %s, %d cores; medians of %d rounds, %s in all\n\n", r.Host.Kernel, r.Host.CPU, r.Host.Cores, r.Rounds, r.Took.Round(time.Second))
	p.f("figure\tcontestant\tmedian\tleast … most\n")
	last := ""
	for i := range r.Rows {
		row := &r.Rows[i]
		median, ok := Median(row.Values)
		if !ok {
			continue
		}
		name := row.Figure
		if name == last {
			name = ""
		}
		last = row.Figure
		s := slices.Sorted(slices.Values(row.Values))
		p.f("%s\t%s\t%s %s\t%s … %s\n", name, row.Contestant, number(median), row.Unit, number(s[0]), number(s[len(s)-1]))
	}
	p.f("\ntarget\twanted\tmedian\t\n")
	for i := range r.Verdicts {
		p.verdict(&r.Verdicts[i])
	}
	p.err = orElse(p.err, t.Flush)
	r.notes(&writer{w: w, err: p.err})
	return p.err
}

func orElse(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func (p *writer) verdict(v *Verdict) {
	what := v.Figure + ": " + v.Of
	if v.Over != "" {
		what = v.Figure + ": " + v.Over + " / " + v.Of
	}
	wanted := "≥ " + number(v.Least)
	if v.Most != 0 {
		wanted = "≤ " + number(v.Most)
	}
	state := "MISSED"
	switch {
	case !v.Known:
		p.f("%s\t%s\t–\tnot measured\n", what, strings.TrimSpace(wanted+" "+v.Unit))
		return
	case v.Met:
		state = "met"
	}
	p.f("%s\t%s\t%s\t%s\n", what, strings.TrimSpace(wanted+" "+v.Unit), number(v.Median), state)
}

func (r *Report) notes(p *writer) {
	p.f("\nCPU is user and system time of the whole process. What the kernel does for a packet at the other end of a veth pair is done within\n")
	p.f("the sender's system call and is charged to every sender alike, unless it has a core of its own. Ratios are of the same round.\n\n")
	for _, n := range r.Notes {
		p.f("%s, %s:\n    %s\n", n.Figure, n.Contestant, n.Command)
	}
	p.f("\n")
	for _, name := range slices.Sorted(maps.Keys(r.Host.Versions)) {
		p.f("%s: %s\n", name, r.Host.Versions[name])
	}
	for _, f := range r.Failures {
		p.f("not measured: %s\n", f)
	}
}

// number shows three digits that mean something.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 99 && v < 100:
		return fmt.Sprintf("%.4g", v)
	case v >= 1000 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// writer keeps the first error.
type writer struct {
	w   io.Writer
	err error
}

func (p *writer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
