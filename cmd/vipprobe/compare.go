package main

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// compare says where a VIP and its real servers differ.
func (p *printer) compare(results []result) {
	p.f("\n%s\n", p.tint(bold, "the VIP beside its real servers, probed in the same second"))
	for i, r := range results {
		kind := "VIP"
		if i > 0 {
			kind = "real"
		}
		if len(r.rounds) == 0 {
			p.f("  %-5s %-26s not probed\n", kind, r.target)
		}
		for k := range r.rounds {
			s := prober.Summarize(r.rounds[k].Attempts())
			if s.Attempts == 0 {
				p.f("  %-5s %-26s not probed\n", kind, called(&r.rounds[k]))
				continue
			}
			median := "-"
			if n := len(s.RTTs); n > 0 {
				median = short(s.RTTs[(n-1)/2])
			}
			known := s.Attempts - s.Outcomes[observe.OutcomeUnknown]
			text := ""
			if known < s.Attempts {
				text = fmt.Sprintf(", %d interrupted", s.Attempts-known)
			}
			p.f("  %-5s %-26s %3d attempts, %3d not accepted, %3d stalled, median RTT %s%s\n", kind, called(&r.rounds[k]), known,
				known-s.Outcomes[observe.Accepted], s.Stalled, median, text)
		}
	}
	p.f("%s\n", p.paragraph("  ", diagnose.CompareVIP(bad(results[:1]), bad(results[1:])), 2))
}

// bad counts attempts and those that stalled or failed.
func bad(results []result) diagnose.Share {
	var s diagnose.Share
	for _, r := range results {
		for k := range r.rounds {
			for _, a := range r.rounds[k].Attempts() {
				if a.Outcome == observe.OutcomeUnknown {
					continue // interrupted: it might have been accepted
				}
				s.N++
				if a.Stalled() || a.Outcome != observe.Accepted {
					s.Bad++
				}
			}
		}
	}
	return s
}

// wantCompared refuses a comparison without anything to compare with.
func (f *probeFlags) wantCompared(targets []string) error {
	if f.compare && len(targets) < 2 {
		return usageError{fmt.Errorf("--compare: want a VIP and at least one of its real servers, only %s is named", targets[0])}
	}
	return nil
}
