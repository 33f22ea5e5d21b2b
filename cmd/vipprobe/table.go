package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// The first word of a row.
const (
	wordOK    = "ok"
	wordStall = "stall" // all accepted, too many of them late
	wordFail  = "fail"
	wordCut   = "cut" // interrupted
	wordNone  = "-"   // not probed
)

// row is one address, or a target without any.
type row struct {
	word   string
	target string
	round  *prober.Round // nil: the target gave none
}

func rowsOf(results []result) []row {
	var rows []row
	for _, r := range results {
		if len(r.rounds) == 0 {
			rows = append(rows, row{word: wordNone, target: r.target})
		}
		for i := range r.rounds {
			x := &r.rounds[i]
			rows = append(rows, row{word: wordOf(x), target: called(x), round: x})
		}
	}
	return rows
}

func wordOf(r *prober.Round) string {
	s := prober.Summarize(r.Attempts())
	switch {
	case r.Err != nil:
		return wordNone
	case r.Success:
		return wordOK
	case s.Outcomes[observe.OutcomeUnknown] > 0:
		return wordCut
	case s.Attempts > 0 && s.Outcomes[observe.Accepted] == s.Attempts && s.Stalled > 0:
		return wordStall
	}
	return wordFail
}

// The table's columns; those of target and marks are as wide as they must be.
const (
	wordWidth  = 5
	cellMarks  = 16
	countWidth = 9
	waitWidth  = 8
)

// columns are the widths of one table.
type columns struct{ target, marks, cells int }

// fit finds the widths for rows: a target that does not fit has a line of its own.
func fit(rows []row) columns {
	c := columns{target: len("target"), marks: len("first contact") - countWidth, cells: 1}
	for i := range rows {
		c.target = max(c.target, utf8.RuneCountInString(rows[i].target))
		if r := rows[i].round; r != nil {
			for _, a := range halves(r) {
				c.marks = max(c.marks, utf8.RuneCountInString(shorten(marksOf(a), cellMarks)))
			}
			c.cells = max(c.cells, len(halves(r)))
		}
	}
	c.target = min(c.target, lineWidth-wordWidth-2-c.cells*(2+c.marks+1+countWidth+1+waitWidth))
	return c
}

// countedLegend explains what shorten makes of a large burst.
const countedLegend = "; 3×1 stands for 111"

// halves are the attempts of first contact, and those of all repeats where there were any.
func halves(r *prober.Round) [][]*observe.Attempt {
	if len(r.Observations) < 2 {
		return [][]*observe.Attempt{r.Attempts()}
	}
	return [][]*observe.Attempt{attemptsOf(r.Observations[:1]), attemptsOf(r.Observations[1:])}
}

// table writes a row for each address.
func (p *printer) table(rows []row) {
	c := fit(rows)
	head := []string{pad("", wordWidth), pad("target", c.target)}
	for _, what := range []string{"first contact", "repeats"}[:c.cells] {
		head = append(head, pad(what, c.marks+1+countWidth)+fmt.Sprintf(" %*s", waitWidth, "slowest"))
	}
	p.f("%s\n", p.tint(bold, strings.Join(head, "  ")))
	marks, counted := "", ""
	for i := range rows {
		p.row(&rows[i], c)
		if rows[i].round == nil {
			continue
		}
		for _, half := range halves(rows[i].round) {
			m := marksOf(half)
			marks += m
			if len(m) > cellMarks {
				counted = countedLegend
			}
		}
	}
	if marks != "" {
		p.f("%s\n", p.paragraph(strings.Repeat(" ", wordWidth+2), "a character is a connection: "+legend(marks)+counted, wordWidth+2))
	}
}

func (p *printer) row(r *row, c columns) {
	tints := map[string]colour{wordOK: green, wordStall: yellow, wordFail: red, wordCut: yellow}
	word := p.tint(tints[r.word], pad(r.word, wordWidth))
	if r.word == wordNone {
		p.f("%s  %s  not probed\n", word, pad(r.target, c.target))
		return
	}
	if utf8.RuneCountInString(r.target) > c.target {
		p.f("%s  %s\n", word, r.target)
		p.f("%s", strings.Repeat(" ", wordWidth+2+c.target))
	} else {
		p.f("%s  %s", word, pad(r.target, c.target))
	}
	for _, attempts := range halves(r.round) {
		p.f("  %s", cell(attempts, c.marks))
	}
	p.f("\n")
}

// cell is one half of a row: marks, how many were accepted, the slowest answer.
func cell(attempts []*observe.Attempt, marks int) string {
	s := prober.Summarize(attempts)
	wait := "-"
	if d := slowest(attempts); d > 0 {
		wait = short(d)
	}
	count := fmt.Sprintf("%d/%d", s.Outcomes[observe.Accepted], s.Attempts)
	return pad(shorten(marksOf(attempts), cellMarks), marks) + " " + pad(count, countWidth) + " " +
		strings.Repeat(" ", max(0, waitWidth-utf8.RuneCountInString(wait))) + wait
}
