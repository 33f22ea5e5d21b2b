package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

// renderDiagnosis writes what a tired person wants to read: one verdict line, what was seen, why, what to do.
func renderDiagnosis(p *printer, results []result) error {
	first := true
	for _, r := range results {
		if len(r.rounds) == 0 {
			p.f("%s  not probed\n", r.target)
		}
		for i := range r.rounds {
			if !first {
				p.f("\n")
			}
			first = false
			if r.rounds[i].Member {
				p.member(&r.rounds[i])
				continue
			}
			p.diagnosis(&r.rounds[i])
		}
	}
	return p.err
}

// member tells of a real server in one paragraph, as the VIP's own report compares it already, unless something is wrong with it.
func (p *printer) member(r *prober.Round) {
	switch {
	case r.Err != nil:
		p.f("%s\n", p.item("member", fmt.Sprintf("%s  not probed: %v", called(r), r.Err)))
	case r.Diagnosis.Healthy() || len(r.Diagnosis.Causes) == 0:
		p.f("%s\n", p.item("member", called(r)+"  "+r.Diagnosis.Headline))
	default:
		p.f("%s\n", p.item("member", called(r)+", met directly:"))
		p.diagnosis(r)
	}
}

// diagnosis tells of one address: the verdict and why, what was measured, what to do, and what stayed open.
func (p *printer) diagnosis(r *prober.Round) {
	if r.Err != nil {
		p.f("%s  not probed\n", called(r))
		return
	}
	p.headline(r)
	for i := range r.Diagnosis.Causes {
		p.why(r, i)
	}
	p.measured(r)
	p.clocks(r.Diagnosis.Clocks)
	p.testimony(r)
	for i := range r.Diagnosis.Causes {
		p.act(&r.Diagnosis.Causes[i], len(r.Diagnosis.Causes) > 1)
	}
	for i := range r.Diagnosis.Notes {
		n := &r.Diagnosis.Notes[i]
		p.f("\n%s\n", p.item("note", fmt.Sprintf("%s (%s): %s", n.Verdict, n.Level, n.Summary)))
		if n.Settle != "" {
			p.f("%s\n", p.item("", "to settle it: "+n.Settle))
		}
	}
	if r.Kind != prober.KindNeighbor && (p.explain || r.Diagnosis.Healthy() || aboutNeighbours(r)) { // that module says it above
		p.untested(&r.Diagnosis.FirstContact)
	}
	p.budget(r)
	if p.explain {
		p.reasoning(r)
	}
}

// untested says which side's neighbour queue the round could say nothing about.
func (p *printer) untested(c *diagnose.FirstContact) {
	for _, side := range []struct {
		name string
		diagnose.Contact
	}{{"this host's own neighbour queue", c.Local}, {"the far side's neighbour queue", c.Remote}} {
		if !side.Tested && side.Why != "" {
			p.f("\n%s\n", p.item("untested", side.name+": "+side.Why))
		}
	}
}

// mostWhy is how many reasons a tired person reads; --explain has them all.
const mostWhy = 4

// why says what a cause rests on. The headline has told the first cause already; the others begin with their own line.
func (p *printer) why(r *prober.Round, i int) {
	c := &r.Diagnosis.Causes[i]
	if i > 0 {
		p.f("\n%s\n", p.item("and", fmt.Sprintf("%s (%s): %s", c.Verdict, c.Level, c.Summary)))
	}
	list := c.Evidence
	if left := len(list) - mostWhy; left > 0 && !p.explain {
		list = append(slices.Clone(list[:mostWhy]), fmt.Sprintf("%d more with --explain", left))
	}
	if c.P > 0 && c.Level < diagnose.Proven && !slices.ContainsFunc(c.Evidence, func(e string) bool { return strings.Contains(e, "p = ") }) {
		list = append(slices.Clone(list), fmt.Sprintf("chance alone does this with p = %.1g", c.P))
	}
	if frames := frameList(r.Cites(c)); frames != "" {
		list = append(slices.Clone(list), frames+" of the capture")
	}
	head := "why"
	for _, e := range list {
		p.f("%s\n", p.item(head, "- "+e))
		head = ""
	}
	p.arms(r, c.Arms)
}

// act says what to do about a cause, what would refute it, and what to count where.
func (p *printer) act(c *diagnose.Cause, several bool) {
	p.f("\n")
	if several {
		p.f("%s\n", p.item("cause", fmt.Sprintf("%s, %s", c.Verdict, c.Level)))
	}
	if c.Remedy != "" && c.Verdict != diagnose.Healthy {
		p.f("%s\n", p.item("do", c.Remedy))
	}
	if c.Disproof != "" {
		p.f("%s\n", p.item("unless", c.Disproof))
	}
	e, ok := catalogue.Find(c.Verdict)
	if !ok || c.Verdict == diagnose.Healthy {
		return
	}
	head := "count"
	for _, n := range e.Counters[:min(len(e.Counters), mostCounters)] {
		p.f("%s\n", p.item(head, fmt.Sprintf("- %s: %s, %s", n.Where, n.Name, n.Reads)))
		head = ""
	}
	p.f("%s\n", p.item("more", "vipprobe explain "+string(c.Verdict)))
}

// mostCounters is how many counters a report names; the catalogue has them all.
const mostCounters = 2

// budget says what ended a diagnosis early, and what that left unasked.
func (p *printer) budget(r *prober.Round) {
	var open []string
	for _, w := range r.Untested {
		if q := string(w.Kind) + ": " + w.Why; !slices.Contains(open, q) {
			open = append(open, q)
		}
	}
	switch {
	case len(open) > 0:
		p.f("\n%s\n", p.item("untested", r.Why+":"))
		for _, q := range open {
			p.f("%s\n", p.item("", "- "+q))
		}
	case r.Why != "" && !r.Named():
		p.f("\n%s\n", p.item("ended by", r.Why))
	}
}

// arms is the table behind a comparison.
func (p *printer) arms(r *prober.Round, arms []diagnose.Arm) {
	if len(arms) == 0 {
		return
	}
	width := 0
	for i := range arms {
		width = max(width, utf8.RuneCountInString(arms[i].Name))
	}
	frames := make([]string, len(arms))
	recorded := ""
	for i := range arms {
		if frames[i] = cellList(r.CitesArm(arms[i].Name)); frames[i] != "" {
			recorded = "frames"
		}
	}
	line := func(head, name, val, n, answered, silent, chance, frames string) {
		p.f("%s%s\n", p.tint(bold, head), strings.TrimRight(fmt.Sprintf("%s  %10s  %9s  %8s  %6s  %-6s  %s", pad(name, width), val, n, answered, silent, chance, frames), " "))
	}
	line(pad("arms", 10), "", "TSval", "asked", "answered", "silent", "p", recorded)
	for i := range arms {
		a := &arms[i]
		t := armOf(a)
		line(strings.Repeat(" ", 10), t.name, t.tsval, fmt.Sprint(a.N), fmt.Sprint(a.Answered), fmt.Sprint(a.Silent), t.chance, frames[i])
	}
}

// item is a paragraph with a word in front, which hangs out to the left.
func (p *printer) item(head, text string) string {
	const indent = 10
	hang := indent
	if strings.HasPrefix(text, "- ") {
		hang += 2
	}
	return p.tint(bold, pad(head, indent)) + p.paragraph(strings.Repeat(" ", indent), text, hang)[indent:]
}
