package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// validation writes the result for people: who failed and why first, then who is alike, the verdict last.
func (p *printer) validation(v *view.Validation) {
	tints := map[string]colour{string(rollout.Pass): green, string(rollout.Fail): red, string(rollout.Unknown): yellow}
	var passed []string
	for i := range v.Candidates {
		c := &v.Candidates[i]
		name := c.Target
		if c.Addr != "" && c.Addr != c.Target {
			name += " (" + c.Addr + ")"
		}
		if c.Vantage != "" {
			name += " from " + c.Vantage
		}
		if c.State == string(rollout.Pass) && !p.verbose {
			passed = append(passed, name)
			continue
		}
		p.f("%s  %s   %d SYNs, %s\n", p.tint(tints[c.State], pad(c.State, len("unknown"))), p.tint(bold, name), c.SYNs, short(time.Duration(c.TookNS).Round(100*time.Millisecond)))
		if c.Error != "" {
			p.f("%s\n", p.paragraph(strings.Repeat(" ", 9), c.Error, 9))
		}
		for k := range c.Checks {
			if x := &c.Checks[k]; x.State != string(rollout.Pass) || p.verbose {
				p.checkResult(x, tints[x.State])
			}
		}
	}
	if len(passed) > 0 {
		p.f("%s\n", p.paragraph(p.tint(green, pad("pass", len("unknown")))+"  ", strings.Join(passed, ", "), 9))
	}
	p.alike(v.Groups)
	p.f("%s\n", p.tint(bold, fmt.Sprintf("%d passed, %d failed, %d unknown in %s", v.Passed, v.Failed, v.Unknown, short(time.Duration(v.TookNS).Round(100*time.Millisecond)))))
}

func (p *printer) checkResult(x *view.CheckResult, tint colour) {
	text := x.Check
	if x.Got != "" {
		text += ": got " + x.Got
	}
	p.f("  %s  %s\n", p.tint(tint, pad(x.State, len("unknown"))), text)
	if x.Why != "" {
		p.f("%s\n", p.paragraph(strings.Repeat(" ", 11), x.Why, 11))
	}
}

// alike writes the groups of candidates, the odd ones with what sets them apart.
func (p *printer) alike(groups []view.ProfileGroup) {
	if len(groups) < 2 {
		return
	}
	p.f("\n%s\n", p.paragraph(p.tint(bold, fmt.Sprintf("%d alike", len(groups[0].Addrs)))+": ", strings.Join(groups[0].Addrs, ", "), 4))
	for _, g := range groups[1:] {
		var how []string
		for _, d := range g.Differs {
			how = append(how, fmt.Sprintf("%s %s, not %s", d.Name, d.Got, d.Want))
		}
		p.f("%s\n", p.paragraph(p.tint(bold, fmt.Sprintf("%d odd", len(g.Addrs)))+": ", strings.Join(g.Addrs, ", ")+": "+strings.Join(how, "; "), 4))
	}
	p.f("\n")
}
