package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
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

func (p *printer) diagnosis(r *prober.Round) {
	if r.Err != nil {
		p.f("%s  not probed\n", called(r))
		return
	}
	p.block(r)
	for i := range r.Diagnosis.Causes {
		p.finding(r, &r.Diagnosis.Causes[i])
	}
	p.clocks(r.Diagnosis.Clocks)
	for i := range r.Diagnosis.Notes {
		n := &r.Diagnosis.Notes[i]
		p.f("\n%s\n", p.item("note", fmt.Sprintf("%s (%s): %s", n.Verdict, n.Level, n.Summary)))
		if n.Settle != "" {
			p.f("%s\n", p.item("", "to settle it: "+n.Settle))
		}
	}
	p.untested(&r.Diagnosis.FirstContact)
	if r.Why != "" && !r.Named() {
		p.f("\n%s\n", p.item("ended by", r.Why))
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

// finding writes a cause of a round.
func (p *printer) finding(r *prober.Round, f *diagnose.Finding) {
	what := fmt.Sprintf("%s, %s", f.Verdict, f.Level)
	if f.P > 0 {
		what += fmt.Sprintf(" (by chance: p = %.1g)", f.P)
	}
	name := "cause"
	if f.Verdict == diagnose.Healthy {
		name = "verdict"
	}
	p.f("\n%s\n", p.item(name, what))
	head := "why"
	for _, e := range f.Evidence {
		p.f("%s\n", p.item(head, "- "+e))
		head = ""
	}
	if list := frameList(r.Cites(f)); list != "" {
		p.f("%s\n", p.item(head, "- "+list+" of the capture"))
	}
	p.arms(r, f.Arms)
	if f.Disproof != "" {
		p.f("%s\n", p.item("unless", f.Disproof))
	}
	if f.Remedy != "" && f.Verdict != diagnose.Healthy {
		p.f("%s\n", p.item("do", f.Remedy))
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
		val, chance := "-", "-"
		if a.HasTSval {
			val = fmt.Sprint(uint32(a.TSval))
		}
		if a.P > 0 {
			chance = fmt.Sprintf("%.1g", a.P)
		}
		line(strings.Repeat(" ", 10), a.Name, val, fmt.Sprint(a.N), fmt.Sprint(a.Answered), fmt.Sprint(a.Silent), chance, frames[i])
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
