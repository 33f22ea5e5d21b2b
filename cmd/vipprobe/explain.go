package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

func explainCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "explain VERDICT|list",
		Short: "Say of a verdict what it means, how it is proven, what looks like it, and what to do",
		Long: "explain shows what the catalogue holds of a verdict: what users see, how it comes about and where that is written, how it is\n" +
			"proven, what looks like it, what to do by kernel and balancer, which counters confirm it, and the lab scenario that makes it.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%s: want one verdict or \"list\", not %d", cmd.Name(), len(args))}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return append([]string{"list"}, verdictNames()...), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return explain(cmd, args[0], output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return cmd
}

func verdictNames() []string {
	var names []string
	for _, v := range diagnose.Verdicts() {
		names = append(names, string(v))
	}
	return names
}

func explain(cmd *cobra.Command, name, output string) error {
	if output != "text" && output != "json" {
		return usageError{fmt.Errorf("--output %q: want text or json", output)}
	}
	p := newPrinter(cmd.OutOrStdout())
	if name == "list" {
		if output == "json" {
			return view.WriteJSON(p.w, view.NewVerdicts(catalogue.Entries()))
		}
		p.verdicts(catalogue.Entries())
		return p.err
	}
	e, ok := catalogue.Find(diagnose.Verdict(name))
	if !ok {
		return unknownVerdict(name)
	}
	if output == "json" {
		return view.WriteJSON(p.w, view.NewVerdict(&e))
	}
	p.entry(&e)
	return p.err
}

// unknownVerdict names those that share a word with what was asked for.
func unknownVerdict(name string) error {
	var near []string
	for _, v := range verdictNames() {
		words := strings.Split(v, "_")
		if slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(name), notOfWord), func(w string) bool { return slices.Contains(words, w) }) {
			near = append(near, v)
		}
	}
	hint := "vipprobe explain list has them all"
	if len(near) > 0 && len(near) <= 6 {
		hint = strings.Join(near, " or ") + " is meant? " + hint
	}
	return usageError{errors.New("explain: no verdict " + fmt.Sprintf("%q", name) + "; " + hint)}
}

func notOfWord(r rune) bool { return r == '_' || r == '-' || r == ' ' }

// verdicts lists the catalogue by group.
func (p *printer) verdicts(list []catalogue.Entry) {
	name := 0
	for i := range list {
		name = max(name, len(list[i].Verdict))
	}
	for i := range list {
		e := &list[i]
		if i == 0 || list[i-1].Group != e.Group {
			if i > 0 {
				p.f("\n")
			}
			p.f("%s\n", p.tint(bold, string(e.Group)))
		}
		p.f("%s\n", p.paragraph("  "+pad(string(e.Verdict), name)+"  ", e.Title, name+4))
	}
}

// entry writes all that the catalogue holds of a verdict.
func (p *printer) entry(e *catalogue.Entry) {
	p.f("%s\n", p.tint(bold, p.paragraph(string(e.Verdict)+": ", e.Title, 2)))
	if e.Benign {
		p.f("%s\n", p.item("", "a note, not a fault"))
	}
	p.section("seen as", e.Symptoms)
	var parts []string
	for _, f := range e.Mechanism {
		parts = append(parts, fmt.Sprintf("%s [%s]", f.Text, f.Source))
	}
	p.section("how", parts)
	parts = parts[:0]
	for _, s := range e.Proof {
		parts = append(parts, fmt.Sprintf("%s (%s): %s", s.Experiment, s.Level, s.Shows))
	}
	p.section("shown by", parts)
	parts = parts[:0]
	for _, l := range e.LookAlikes {
		parts = append(parts, fmt.Sprintf("%s: %s", l.Verdict, l.Apart))
	}
	p.section("not to be taken for", parts)
	parts = parts[:0]
	for _, r := range e.Remedies {
		parts = append(parts, fmt.Sprintf("%s: %s", r.Where, r.Do))
	}
	p.section("what to do", parts)
	parts = parts[:0]
	for _, c := range e.Counters {
		parts = append(parts, fmt.Sprintf("%s: %s — %s", c.Where, c.Name, c.Reads))
	}
	p.section("what to count", parts)
	if e.Scenario != "" {
		p.section("see it made", []string{"vipprobe lab run " + e.Scenario})
	} else {
		p.section("see it made", []string{"not in the lab: " + e.Unmade})
	}
}

// section is a head and a list below it.
func (p *printer) section(head string, parts []string) {
	p.f("\n%s\n", p.tint(bold, head))
	for _, text := range parts {
		p.f("%s\n", p.paragraph("  - ", text, 4))
	}
}
