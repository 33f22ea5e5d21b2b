package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// GitHub writes workflow commands that GitHub shows beside the lines of the rollout file: an error where a check failed, a warning where it
// could not be told.
func GitHub(w io.Writer, v *view.Validation) error {
	for i := range v.Candidates {
		c := &v.Candidates[i]
		if c.Error != "" && len(c.Checks) == 0 {
			if err := annotate(w, "warning", v.File, c.Line, called(c), c.Error); err != nil {
				return err
			}
		}
		for k := range c.Checks {
			level := map[string]string{string(rollout.Fail): "error", string(rollout.Unknown): "warning"}[c.Checks[k].State]
			if level == "" {
				continue
			}
			if err := annotate(w, level, v.File, c.Line, called(c), sentence(&c.Checks[k])); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d passed, %d failed, %d unknown\n", v.Passed, v.Failed, v.Unknown)
	return err
}

func annotate(w io.Writer, level, file string, line int, title, message string) error {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	_, err := fmt.Fprintf(w, "::%s file=%s,line=%d,title=%s::%s\n", level, property.Replace(file), max(line, 1), property.Replace(title), data.Replace(message))
	return err
}

// Markdown writes a summary for a pull request or a ticket.
func Markdown(w io.Writer, v *view.Validation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Validation of %d hosts: %d passed, %d failed, %d unknown\n\n", len(v.Candidates), v.Passed, v.Failed, v.Unknown)
	if v.Failed+v.Unknown > 0 {
		b.WriteString("| host | check | result | found | why |\n|---|---|---|---|---|\n")
	}
	for i := range v.Candidates {
		c := &v.Candidates[i]
		if c.Error != "" && len(c.Checks) == 0 {
			fmt.Fprintf(&b, "| %s | it can be measured | unknown | | %s |\n", cell(called(c)), cell(c.Error))
		}
		for k := range c.Checks {
			if x := &c.Checks[k]; x.State != string(rollout.Pass) {
				fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", cell(called(c)), cell(x.Check), x.State, cell(x.Got), cell(x.Why))
			}
		}
	}
	for i, g := range v.Groups {
		what := "alike"
		if i > 0 {
			what = "odd: "
			for k, d := range g.Differs {
				if k > 0 {
					what += "; "
				}
				what += d.Name + " " + d.Got + ", not " + d.Want
			}
		}
		fmt.Fprintf(&b, "\n%d %s: %s\n", len(g.Addrs), cell(what), cell(strings.Join(g.Addrs, ", ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is text that stays in its cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(s)
}
