package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
)

// titleWidth is the column of a value's title.
const titleWidth = 28

// renderProfiles writes profiles for people: each host, in what it differs from the baseline, and who agrees with whom.
func renderProfiles(p *printer, measured []prober.Profiled, golden *profile.Profile, verbose bool) error {
	var known []*profile.Profile
	for i := range measured {
		if measured[i].Err == nil {
			known = append(known, &measured[i].Profile)
		}
	}
	if len(known) <= 2 || verbose {
		for _, x := range known {
			p.profile(x, verbose)
		}
	}
	if golden != nil {
		p.f("%s\n", p.tint(bold, fmt.Sprintf("against the baseline %s", golden.Addr)))
		for _, x := range known {
			p.against(golden, x)
		}
		return p.err
	}
	if len(known) > 1 {
		p.groups(known)
	}
	return p.err
}

// profile writes one host.
func (p *printer) profile(x *profile.Profile, verbose bool) {
	head := x.Addr.String()
	if x.Target != head {
		head = x.Target + " (" + head + ")"
	}
	p.f("%s   %d SYNs, %d segments in all, %s\n", p.tint(bold, head), x.SYNs, x.Segments, short(x.Took.Round(100*time.Millisecond)))
	var left, unasked []string
	for i := range x.Values {
		v := &x.Values[i]
		t, _ := profile.TraitOf(v.Name)
		switch {
		case v.Known():
		case v.Why == profile.NotAsked:
			unasked = append(unasked, fmt.Sprintf("%s (%s)", t.Title, t.OptIn))
			continue
		default:
			left = append(left, t.Title+": "+v.Why)
			continue
		}
		text := v.Text
		if v.HasNumber && v.Unit != "" && v.Unit != "s" {
			text += " " + v.Unit
		}
		if v.State == profile.Varies {
			text = p.tint(yellow, text) + "   (flows disagree: there are several hosts behind this address)"
		}
		p.f("  %s%s\n", pad(t.Title, titleWidth), text)
		if verbose {
			p.f("%s\n", p.paragraph(strings.Repeat(" ", titleWidth+2), fmt.Sprintf("%s (%s; cost: %s)", v.How, restsOn(v), t.Cost), titleWidth+2))
		}
	}
	if len(left) > 0 {
		p.f("%s\n", p.paragraph("  "+pad("not measured", titleWidth), strings.Join(left, "; "), titleWidth+2))
	}
	if len(unasked) > 0 {
		p.f("%s\n", p.paragraph("  "+pad("not asked for", titleWidth), strings.Join(unasked, ", "), titleWidth+2))
	}
	p.f("\n")
}

// restsOn says how far a value can be trusted.
func restsOn(v *profile.Value) string {
	text := map[profile.Confidence]string{profile.Agreed: "all agree", profile.Single: "seen once", profile.Bounded: "a range", profile.Disputed: "flows disagree"}[v.Confidence()]
	if v.Seen > 1 {
		text += fmt.Sprintf(", seen %d times", v.Seen)
	}
	return text
}

// against writes in what a host differs from the baseline.
func (p *printer) against(golden, x *profile.Profile) {
	list := profile.Compare(golden, x)
	word, tint := "alike", green
	switch {
	case differs(list):
		word, tint = "DIFFERS", red
	case len(list) > 0:
		word, tint = "differs", yellow
	}
	p.f("%s  %s\n", p.tint(tint, pad(word, len("DIFFERS"))), x.Addr)
	p.differences(list)
}

// differences writes a list of them, each with what it means.
func (p *printer) differences(list []profile.Difference) {
	if len(list) == 0 {
		p.f("  no difference in what both know\n")
		return
	}
	for i := range list {
		d := &list[i]
		tints := map[profile.Weight]colour{profile.Grave: red, profile.Notable: yellow}
		p.f("  %s  %s\n", p.tint(tints[d.Trait.Weight], pad(d.Trait.Weight.String(), len("informative"))), d.String())
		p.f("%s\n", p.paragraph(strings.Repeat(" ", 15), d.Trait.Means, 15))
	}
}

// groups writes which hosts agree: the largest group, then the odd ones out.
func (p *printer) groups(known []*profile.Profile) {
	for i, g := range profile.Group(known) {
		var names []string
		for _, m := range g.Members {
			names = append(names, known[m].Addr.String())
		}
		what := fmt.Sprintf("%d alike", len(names))
		if i > 0 {
			what = fmt.Sprintf("%d odd", len(names))
		}
		p.f("%s\n", p.paragraph(p.tint(bold, what)+": ", strings.Join(names, ", "), 4))
		if i > 0 {
			p.differences(g.Differs)
		}
	}
}
