package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// watchSettings writes what two namespaces have set otherwise, and what that does.
func (p *printer) watchSettings(s *watchSink) {
	differ := testimony.Differences(s.settings[0], s.settings[1])
	if len(differ) == 0 {
		p.f("%s\n", p.tint(bold, "settings: none differs"))
		return
	}
	a, b := s.names()
	p.f("%s\n", p.tint(bold, fmt.Sprintf("settings that differ: %s | %s", a, b)))
	name := 0
	for i := range differ {
		name = max(name, len(differ[i].Name))
	}
	for i := range differ {
		d := &differ[i]
		p.f("%s\n", p.paragraph("  "+pad(d.Name, name)+"  ", orAbsent(d.A)+" | "+orAbsent(d.B), name+4))
		if !d.Known {
			continue
		}
		born := map[testimony.Birth]string{
			testimony.FromDefault: "; a new namespace has the kernel's default", testimony.FromFirst: "; a new namespace takes the first one's",
			testimony.WholeMachine: "; the machine has one",
		}[d.Setting.Born]
		p.f("%s\n", p.paragraph("      ", d.Setting.Means+born, 6))
	}
	p.f("\n")
}

func orAbsent(value string) string {
	if value == "" {
		return "absent"
	}
	return value
}

// names are what the two places are called.
func (s *watchSink) names() (a, b string) {
	if len(s.last) != 2 {
		return "A", "B"
	}
	return s.last[0].Place, s.last[1].Place
}

// watchSideBySide writes the rates of two places beside each other, of the last interval or since the beginning.
func (p *printer) watchSideBySide(s *watchSink, readings []watch.Reading, whole bool) {
	if len(readings) != 2 {
		return
	}
	a, b := &readings[0], &readings[1]
	of := func(r *watch.Reading) (map[string]int64, time.Duration) {
		if whole {
			return r.Whole, r.Since
		}
		return r.Interval, r.Span
	}
	left, leftSpan := of(a)
	right, rightSpan := of(b)
	both := map[string]int64{}
	for _, m := range []map[string]int64{left, right} {
		for name, n := range m {
			both[name] += n
		}
	}
	head := "per second"
	if leftSpan > 0 {
		head += ", " + short(leftSpan.Round(time.Millisecond))
	}
	p.watchHead(head, column(a.Place), column(b.Place))
	numbers := func(m *testimony.Moved) (string, string) {
		return rate(left[m.Counter.Name], leftSpan), rate(right[m.Counter.Name], rightSpan)
	}
	sections := testimony.Sections(both)
	if len(sections) == 0 {
		p.f("  nothing moved\n")
	}
	for _, section := range sections {
		p.f("%s\n", p.tint(bold, section.Topic.Title()))
		for i := range section.Moved {
			m := &section.Moved[i]
			row := counterRow{name: m.Counter.Name, tint: tintOf(&m.Counter)}
			row.first, row.second = numbers(m)
			if m.Counter.Scope == testimony.Machine {
				row.first, row.second = "", row.first // one counter for both
			}
			if whole || s.first(m.Counter.Name) {
				row.means = meaning(&m.Counter, false)
			}
			p.watchRow(&row)
		}
	}
	for i := range readings {
		p.watchSide(&readings[i], whole)
	}
}

// watchSide is what of one of two places does not stand beside the other's.
func (p *printer) watchSide(r *watch.Reading, whole bool) {
	report, delta := r.Peers, r.Interval
	if whole {
		report, delta = r.PeersWhole, r.Whole
	}
	if report != nil || r.PeersErr != nil || r.Err != nil || len(r.Reset) > 0 {
		p.f("%s\n", p.tint(bold, r.Place))
	}
	p.watchPeers(report, delta["Tcp.RetransSegs"], r.PeersErr)
	p.watchFoot(&watch.Reading{Err: r.Err, Reset: r.Reset})
}

// column shortens a place's name to a column's width, from its front: the end of a path tells.
func column(place string) string {
	if n := len(place) - (numberWidth - 2); n > 0 {
		return "…" + strings.ToValidUTF8(place[n+1:], "")
	}
	return place
}
