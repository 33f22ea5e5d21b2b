package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// reasoning tells how a diagnosis was come to: each question and why it was asked, what was seen, what that ruled out, what was left.
func (p *printer) reasoning(r *prober.Round) {
	if len(r.Reasoning) == 0 {
		return
	}
	p.f("\n%s\n", p.tint(bold, "how it was found"))
	for i := range r.Reasoning {
		t := &r.Reasoning[i]
		p.f("%s\n", p.paragraph(fmt.Sprintf("%3d  ", i+1), t.Label+": "+t.Asked, 5))
		for _, l := range thoughtLines(t) {
			text := p.paragraph(strings.Repeat(" ", 13), l.text, 13)
			p.f("     %s%s\n", p.tint(bold, pad(l.head, 8)), text[13:])
		}
	}
	p.f("%s\n", p.paragraph("     ", "odds are shares of the causes weighed, from rough likelihoods: they choose the next question, and no verdict rests on them", 5))
}

// line is one aspect of a step.
type line struct{ head, text string }

func thoughtLines(t *experiment.Thought) []line {
	lines := []line{
		{"because", t.Why},
		{"cost", costOf(t)},
		{"seen", t.Seen},
	}
	if len(t.Named) > 0 {
		var named []string
		for i := range t.Named {
			named = append(named, fmt.Sprintf("%s (%s)", t.Named[i].Verdict, t.Named[i].Level))
		}
		lines = append(lines, line{"named", strings.Join(named, ", ")})
	}
	if len(t.Out) > 0 {
		lines = append(lines, line{"out", ruledOut(t.Out)})
	}
	return append(lines, line{"left", possible(t.Possible)})
}

func costOf(t *experiment.Thought) string {
	text := fmt.Sprintf("%s, %d SYNs", short(t.Took), t.SYNs)
	if t.Connections > 0 {
		text += fmt.Sprintf(", %d connections", t.Connections)
	}
	return text + "; " + t.Harm
}

// ruledOut groups causes by what speaks against them, in the order in which they come.
func ruledOut(list []diagnose.Suspect) string {
	var reasons []string
	by := map[string][]string{}
	for _, s := range list {
		if !slices.Contains(reasons, s.Because) {
			reasons = append(reasons, s.Because)
		}
		by[s.Because] = append(by[s.Because], string(s.Verdict))
	}
	parts := make([]string, 0, len(reasons))
	for _, why := range reasons {
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.Join(by[why], ", "), cmp.Or(why, "all of it together")))
	}
	return strings.Join(parts, "; ")
}

// possible lists what may still be, by odds, those below one in a hundred counted only.
func possible(list []diagnose.Suspect) string {
	const least = 0.01
	var parts []string
	small := 0
	for _, s := range list {
		if s.Odds < least {
			small++
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %.0f %%", s.Verdict, 100*s.Odds))
	}
	switch {
	case len(list) == 0:
		return "nothing else"
	case small > 0:
		parts = append(parts, fmt.Sprintf("%d below 1 %%", small))
	}
	return strings.Join(parts, ", ")
}
