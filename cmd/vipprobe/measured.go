package main

import (
	"fmt"
	"slices"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// measured is what a diagnosis measured: the bursts that say something, the rest in a row, and the strip.
func (p *printer) measured(r *prober.Round) {
	rows := gather(r)
	if !p.explain {
		rows = condense(rows)
	}
	p.f("\n")
	p.bursts(rows)
	if !p.explain {
		rows = lump(rows)
	}
	p.strips(rows)
	if p.explain || aboutNeighbours(r) {
		p.exchanges(r)
	}
	p.transferred(r)
	p.asides(r)
	p.figures(r.Diagnosis.Measurements)
	p.responders(&r.Diagnosis.Responders)
}

// aboutNeighbours reports whether link addresses bear on what a round came to: a cause of theirs, or none at all.
func aboutNeighbours(r *prober.Round) bool {
	d := &r.Diagnosis
	return len(d.Causes) == 0 || slices.ContainsFunc(d.Causes, func(c diagnose.Cause) bool { return c.Verdict.Subject() == diagnose.SubjectNeighbor })
}

// stripRows is how many rows of a strip the eye compares.
const stripRows = 4

// lump joins all rows of a long strip but the first two: when answers came to first contact and repeat is told apart from the rest.
func lump(rows []bursts) []bursts {
	if len(rows) <= stripRows {
		return rows
	}
	rest := bursts{label: "all others", n: 1}
	for i := range rows[2:] {
		rest.add(&rows[2+i])
	}
	rest.n = 1
	return append(slices.Clone(rows[:2]), rest)
}

// condense makes one row of the bursts of one experiment, and one of all experiments in which everything was accepted at once. First
// contact, its repeats and every other burst of connects that did not go well keep theirs.
func condense(rows []bursts) []bursts {
	var kept, fine []bursts
	for i := range rows {
		switch b := rows[i]; {
		case i < 2 && b.connects:
			kept = append(kept, b)
		case b.mark == '.':
			fine = append(fine, b)
		case len(kept) > 0 && kept[len(kept)-1].label == b.label && !b.connects:
			kept[len(kept)-1].add(&b)
		default:
			kept = append(kept, b)
		}
	}
	if len(fine) < 2 {
		return append(kept, fine...)
	}
	rest := bursts{mark: '.'}
	for i := range fine {
		rest.add(&fine[i])
	}
	rest.label, rest.n = fmt.Sprintf("%d others", rest.n), 1
	return append(kept, rest)
}

// add joins another burst to a row.
func (b *bursts) add(o *bursts) {
	b.n += o.n
	b.drops += o.drops
	b.attempts = append(slices.Clip(b.attempts), o.attempts...)
	b.frames = append(slices.Clip(b.frames), o.frames...)
	if b.mark != o.mark {
		b.mark = 0
	}
}

// figures are what a diagnosis measured as numbers; how is told where there is none, or where all is asked for.
func (p *printer) figures(list []diagnose.Measurement) {
	for i := range list {
		m := &list[i]
		p.f("\n%s\n", p.item("measured", fmt.Sprintf("%s: %s", m.Name, m)))
		p.f("%s\n", p.item("", m.How))
	}
}

// responders are those that answer at the address, a line each; that clocks could not tell them apart is told where all is asked for.
func (p *printer) responders(r *diagnose.Responders) {
	if told := r.Told(); p.explain && told != "" {
		p.f("\n%s\n", p.item("answering", told))
	}
	for i := range r.List {
		x, head := &r.List[i], ""
		if i == 0 {
			p.f("\n")
			head = "answering"
		}
		p.f("%s\n", p.item(head, "- "+x.String()))
	}
	for _, s := range r.Apart {
		p.f("%s\n", p.item("", s))
	}
}
