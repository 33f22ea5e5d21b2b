package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// writeFD writes the JSON result to a descriptor that the parent process opened.
func writeFD(fd int, doc view.Document) error {
	file := os.NewFile(uintptr(fd), "json-fd")
	if file == nil {
		return fmt.Errorf("--json-fd %d: not an open descriptor", fd)
	}
	if err := view.WriteLine(file, doc); err != nil {
		return fmt.Errorf("--json-fd %d: %w", fd, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--json-fd %d: %w", fd, err)
	}
	return nil
}

// renderDiagnosis writes what a tired person wants to read: one verdict line, why, the strip, what to do.
func renderDiagnosis(w io.Writer, results []result) error {
	p := &printer{w: w}
	for _, r := range results {
		for i := range r.rounds {
			p.diagnosis(&r.rounds[i])
		}
	}
	return p.err
}

func (p *printer) diagnosis(r *prober.Round) {
	if r.Err != nil {
		p.f("%s  not probed: %v\n", r.Target, r.Err)
		return
	}
	p.f("%s\n\n", paragraph(r.Target+": ", r.Diagnosis.Headline, 0))
	marks := ""
	for i := range r.Observations {
		o := &r.Observations[i]
		marks += p.observation(o.Label, o)
	}
	p.f("  %-14s %s\n\n  %-14s %s\n", "", legend(marks), "handshakes", stripAxis())
	for i := range r.Observations {
		p.f("  %-14s %s\n", r.Observations[i].Label, strip(&r.Observations[i]))
	}
	if stalls(r) {
		p.f("  %-14s %s s (kernel %s)\n", "ladder here", r.Ladder, r.Kernel)
	}
	for _, u := range unmeasured(r) {
		p.f("  %-14s %s\n", "not measured", u)
	}
	for i := range r.Diagnosis.Causes {
		p.finding(&r.Diagnosis.Causes[i])
	}
	for i := range r.Diagnosis.Notes {
		n := &r.Diagnosis.Notes[i]
		p.f("\n%s", paragraph("note      ", fmt.Sprintf("%s (%s): %s", n.Verdict, n.Level, n.Summary), 10))
		if n.Settle != "" {
			p.f("\n%s", paragraph("          ", "to settle it: "+n.Settle, 10))
		}
		p.f("\n")
	}
	p.f("\n")
}

func (p *printer) finding(f *diagnose.Finding) {
	p.f("\n%s\n", paragraph("cause     ", fmt.Sprintf("%s, %s", f.Verdict, f.Level), 10))
	for i, e := range f.Evidence {
		head := "          "
		if i == 0 {
			head = "why       "
		}
		p.f("%s\n", paragraph(head, e, 10))
	}
	if f.Disproof != "" {
		p.f("%s\n", paragraph("unless    ", f.Disproof, 10))
	}
	if f.Remedy != "" {
		p.f("%s\n", paragraph("do        ", f.Remedy, 10))
	}
}

// lineWidth is where text is broken.
const lineWidth = 110

// paragraph breaks text at spaces, with a hanging indent behind head.
func paragraph(head, text string, indent int) string {
	var b strings.Builder
	b.WriteString(head)
	col := len(head)
	for i, word := range strings.Fields(text) {
		if i > 0 && col+1+len(word) > lineWidth {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = indent
		} else if i > 0 {
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += len([]rune(word))
	}
	return b.String()
}
