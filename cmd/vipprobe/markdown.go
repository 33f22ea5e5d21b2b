package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

// markdown writes diagnoses for a ticket or a wiki: GitHub's Markdown, with what was measured as preformatted text.
func markdown(p *printer, results []result) error {
	for _, r := range results {
		if len(r.rounds) == 0 {
			p.f("## %s: not probed\n\n", code(r.target))
		}
		for i := range r.rounds {
			p.markdownRound(&r.rounds[i])
		}
	}
	return p.err
}

func (p *printer) markdownRound(r *prober.Round) {
	if r.Err != nil {
		p.f("## %s: not probed\n\n%s\n\n", code(called(r)), escape(r.Err.Error()))
		return
	}
	p.f("## %s: %s\n\n", code(called(r)), escape(r.Diagnosis.Headline))
	for i := range r.Diagnosis.Causes {
		p.markdownCause(&r.Diagnosis.Causes[i])
	}
	p.f("### Measured\n\n```\n%s```\n\n", p.plainly(func(q *printer) { q.measured(r) }))
	if len(r.Diagnosis.Notes) > 0 {
		p.f("### Notes\n\n")
		for i := range r.Diagnosis.Notes {
			n := &r.Diagnosis.Notes[i]
			p.f("- %s (%s): %s", code(string(n.Verdict)), n.Level, escape(n.Summary))
			if n.Settle != "" {
				p.f("; to settle it: %s", escape(n.Settle))
			}
			p.f("\n")
		}
		p.f("\n")
	}
	if len(r.Diagnosis.Testimony) > 0 {
		p.f("### What the servers' own counters say\n\n")
		for i := range r.Diagnosis.Testimony {
			t := &r.Diagnosis.Testimony[i]
			p.f("- %s, %s: %s\n", code(string(t.Verdict)), t.Effect, escape(t.Why))
		}
		p.f("\n")
	}
	if len(r.Untested) > 0 {
		p.f("### Untested, since %s\n\n", escape(r.Why))
		for _, w := range r.Untested {
			p.f("- %s: %s\n", w.Kind, escape(w.Why))
		}
		p.f("\n")
	}
	if p.explain && len(r.Reasoning) > 0 {
		p.f("### How it was found\n\n")
		for i := range r.Reasoning {
			t := &r.Reasoning[i]
			p.f("%d. **%s**: %s\n", i+1, escape(t.Label), escape(t.Asked))
			for _, l := range thoughtLines(t) {
				p.f("   - %s: %s\n", l.head, escape(l.text))
			}
		}
		p.f("\n")
	}
}

func (p *printer) markdownCause(c *diagnose.Cause) {
	p.f("**%s**, %s\n\n", code(string(c.Verdict)), c.Level)
	for _, e := range c.Evidence {
		p.f("- %s\n", escape(e))
	}
	if len(c.Evidence) > 0 {
		p.f("\n")
	}
	if len(c.Arms) > 0 {
		p.f("| arm | TSval | asked | answered | silent | p |\n|---|--:|--:|--:|--:|--:|\n")
		for i := range c.Arms {
			a := armOf(&c.Arms[i])
			p.f("| %s | %s | %d | %d | %d | %s |\n", escape(a.name), a.tsval, c.Arms[i].N, c.Arms[i].Answered, c.Arms[i].Silent, a.chance)
		}
		p.f("\n")
	}
	if c.Verdict != diagnose.Healthy && c.Remedy != "" {
		p.f("**What to do:** %s\n\n", escape(c.Remedy))
	}
	if c.Disproof != "" {
		p.f("**What would disprove it:** %s\n\n", escape(c.Disproof))
	}
	e, ok := catalogue.Find(c.Verdict)
	if !ok || c.Verdict == diagnose.Healthy {
		return
	}
	p.f("**What to count:**\n\n")
	for _, n := range e.Counters {
		p.f("- %s: %s, %s\n", escape(n.Where), code(n.Name), escape(n.Reads))
	}
	p.f("\n")
}

// plainly is what write prints without colour, without the empty line that it begins with.
func (p *printer) plainly(write func(*printer)) string {
	var b bytes.Buffer
	write(&printer{w: &b, width: p.width, explain: p.explain})
	return strings.TrimLeft(b.String(), "\n")
}

// code sets text as code; what is probed or read holds no backquote that could end it.
func code(text string) string { return "`" + strings.ReplaceAll(text, "`", "'") + "`" }

// escape keeps the characters of prose that Markdown would take for its own.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, "`", "\\`", `<`, `\<`, `|`, `\|`, `[`, `\[`).Replace(text)
}

// armText is one arm as every report writes it.
type armText struct{ name, tsval, chance string }

func armOf(a *diagnose.Arm) armText {
	t := armText{a.Name, "-", "-"}
	if a.HasTSval {
		t.tsval = fmt.Sprint(uint32(a.TSval))
	}
	if a.P > 0 {
		t.chance = fmt.Sprintf("%.1g", a.P)
	}
	return t
}
