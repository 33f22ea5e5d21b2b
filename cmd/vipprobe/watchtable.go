package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// Widths of the table of counters; what is explained stands behind the numbers, or below where a line is too short for both.
const (
	counterWidth = 33
	numberWidth  = 12
	behindWidth  = 100
)

// counterRow is a line of the table: two numbers, and what the counter means.
type counterRow struct {
	name, first, second, means string
	tint                       colour
}

// rate is n by span, "" where the span is not known.
func rate(n int64, span time.Duration) string {
	if span <= 0 {
		return ""
	}
	v := float64(n) / span.Seconds()
	switch {
	case n == 0:
		return "·"
	case v < 9.95:
		return strconv.FormatFloat(math.Max(v, 0.01), 'f', 2, 64)
	case v < 99.5:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return testimony.Count(int64(math.Round(v)))
}

func right(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}

// watchRow writes one line of the table.
func (p *printer) watchRow(r *counterRow) {
	line := "  " + pad(r.name, counterWidth-2) + right(r.first, numberWidth) + right(r.second, numberWidth)
	const behind = counterWidth + 2*numberWidth + 2
	switch {
	case r.means == "":
		p.f("%s\n", p.tint(r.tint, strings.TrimRight(line, " ")))
	case cmp.Or(p.width, lineWidth) >= behindWidth:
		text := p.paragraph(strings.Repeat(" ", behind), r.means, behind)
		p.f("%s  %s\n", p.tint(r.tint, line), text[behind:])
	default:
		p.f("%s\n%s\n", p.tint(r.tint, strings.TrimRight(line, " ")), p.paragraph("      ", r.means, 6))
	}
}

// watchHead writes whose counters they are and what the columns are.
func (p *printer) watchHead(who, first, second string) {
	head := pad(who, counterWidth)
	if utf8.RuneCountInString(who) >= counterWidth {
		p.f("%s\n", p.tint(bold, who))
		head = pad("", counterWidth)
	}
	p.f("%s\n", p.tint(bold, strings.TrimRight(head+right(first, numberWidth)+right(second, numberWidth), " ")))
}

// tintOf: what speaks for a fault by itself stands out.
func tintOf(c *testimony.Counter) colour {
	for _, claim := range c.Claims {
		if claim.Weight == testimony.Names && !claim.Verdict.Benign() {
			return red
		}
	}
	return plain
}

// meaning is what one more of a counter stands for, and with also what else moves it.
func meaning(c *testimony.Counter, also bool) string {
	text := c.Means
	if c.Scope == testimony.Machine {
		text += " [the whole machine's]"
	}
	if also && c.Also != "" {
		text += "; also moved by: " + c.Also
	}
	return text
}

// speaksFor is the verdicts that a section's counters speak for: those they name, and where there are none those they fit.
func speaksFor(s *testimony.Section) string {
	for _, w := range []testimony.Weight{testimony.Names, testimony.Fits} {
		var list []string
		for _, v := range s.Topic.Verdicts() {
			if slices.ContainsFunc(s.Moved, func(m testimony.Moved) bool { return m.Counter.Says(v) == w }) {
				list = append(list, string(v))
			}
		}
		if len(list) > 0 {
			return map[testimony.Weight]string{testimony.Names: "names ", testimony.Fits: "fits "}[w] + strings.Join(list, ", ")
		}
	}
	return ""
}

// watchTopics writes the sections of a delta; numbers gives a counter's two columns, explain whether its words are told.
func (p *printer) watchTopics(delta map[string]int64, also bool, explain func(string) bool, numbers func(*testimony.Moved) (string, string)) {
	for _, s := range testimony.Sections(delta) {
		p.f("%s\n", p.tint(bold, s.Topic.Title()))
		for i := range s.Moved {
			m := &s.Moved[i]
			r := counterRow{name: m.Counter.Name, tint: tintOf(&m.Counter)}
			r.first, r.second = numbers(m)
			if explain(m.Counter.Name) {
				r.means = meaning(&m.Counter, also)
			}
			p.watchRow(&r)
		}
		for _, text := range testimony.Remarks(s.Topic, delta) {
			p.f("%s\n", p.paragraph("  = ", text, 4))
		}
		if text := speaksFor(&s); text != "" && explain(s.Topic.String()) {
			p.f("%s\n", p.paragraph("  → ", text, 4))
		}
	}
}

// watchOther writes what rose and has no explanation.
func (p *printer) watchOther(delta map[string]int64, numbers func(*testimony.Moved) (string, string)) {
	other := testimony.Unexplained(delta)
	if len(other) == 0 {
		return
	}
	p.f("%s\n", p.tint(bold, "without an explanation"))
	for i := range other {
		r := counterRow{name: other[i].Counter.Name}
		r.first, r.second = numbers(&other[i])
		p.watchRow(&r)
	}
}

// watchFoot writes what a reading lacks.
func (p *printer) watchFoot(r *watch.Reading) {
	if r.Err != nil {
		p.f("%s\n", p.paragraph("not read  ", r.Err.Error(), 10))
	}
	if len(r.Reset) > 0 {
		p.f("%s\n", p.paragraph("reset     ", strings.Join(r.Reset, ", ")+": fell, and count anew from here", 10))
	}
	if len(r.Missing) > 0 {
		p.f("%s\n", p.paragraph("absent    ", strings.Join(r.Missing, "; "), 10))
	}
}

// watchIntro is what stands above everything: for two places what they have set otherwise.
func (p *printer) watchIntro(s *watchSink) {
	if s.settings != nil && !s.live {
		p.watchSettings(s)
	}
}

// watchInterval shows one interval: on a terminal the table anew with what moved since the beginning, else what moved in it.
func (p *printer) watchInterval(s *watchSink, readings []watch.Reading) {
	if s.live {
		var b bytes.Buffer
		q := *p
		q.w = &b
		q.watchScreen(s, readings)
		p.f("\x1b[H\x1b[2J%s", cut(b.String(), p.height())) // ECMA-48 §8.3.21, §8.3.39
		return
	}
	if s.settings != nil {
		p.watchSideBySide(s, readings, false)
		return
	}
	for i := range readings {
		p.watchStep(s, &readings[i])
	}
}

// watchScreen is the whole table as it stands.
func (p *printer) watchScreen(s *watchSink, readings []watch.Reading) {
	if s.settings != nil {
		p.watchSideBySide(s, readings, true)
	} else {
		for i := range readings {
			r := &readings[i]
			p.watchHead(fmt.Sprintf("%s, %s", r.Place, r.Since.Round(time.Second)), "per second", "sum")
			numbers := func(m *testimony.Moved) (string, string) {
				return rate(r.Interval[m.Counter.Name], r.Span), testimony.Count(m.By)
			}
			p.watchBody(s, r, r.Whole, false, numbers)
			p.watchPeers(r.PeersWhole, r.Whole["Tcp.RetransSegs"], r.PeersErr)
			p.watchFoot(r)
		}
	}
	p.f("%s", p.tint(yellow, "Ctrl-C ends it with the sum"))
}

func (p *printer) watchBody(s *watchSink, r *watch.Reading, delta map[string]int64, also bool, numbers func(*testimony.Moved) (string, string)) {
	if len(testimony.Sections(delta)) == 0 && r.Err == nil {
		p.f("  nothing moved\n")
	}
	p.watchTopics(delta, also, func(string) bool { return true }, numbers)
	if s.flags.all {
		p.watchOther(delta, numbers)
	}
}

// watchStep is one interval of one place, appended; what a counter means is told the first time.
func (p *printer) watchStep(s *watchSink, r *watch.Reading) {
	numbers := func(m *testimony.Moved) (string, string) { return "+" + testimony.Count(m.By), rate(m.By, r.Span) }
	p.watchHead(fmt.Sprintf("%s  %s", r.At.Format("15:04:05"), r.Place), "rose by", "per second")
	if len(testimony.Sections(r.Interval)) == 0 && r.Err == nil {
		p.f("  nothing moved\n")
	}
	p.watchTopics(r.Interval, false, s.first, numbers)
	if s.flags.all {
		p.watchOther(r.Interval, numbers)
	}
	p.watchPeers(r.Peers, r.Interval["Tcp.RetransSegs"], r.PeersErr)
	p.watchFoot(&watch.Reading{Err: r.Err, Reset: r.Reset})
}

// first reports whether words are needed for the first time.
func (s *watchSink) first(name string) bool {
	if s.told == nil {
		s.told = map[string]bool{}
	}
	told := s.told[name]
	s.told[name] = true
	return !told
}

// watchSum is all that was watched.
func (p *printer) watchSum(s *watchSink, readings []watch.Reading) {
	if s.n > 1 {
		p.f("\n")
	}
	if s.settings != nil {
		if s.live {
			p.watchSettings(s)
		}
		p.watchSideBySide(s, readings, true)
		return
	}
	for i := range readings {
		r := &readings[i]
		who := "sum of " + r.Place
		if r.Since > 0 {
			who = fmt.Sprintf("sum of %s, %s", r.Place, short(r.Since.Round(time.Millisecond)))
		}
		p.watchHead(who, "rose by", map[bool]string{true: "per second"}[r.Since > 0])
		numbers := func(m *testimony.Moved) (string, string) { return testimony.Count(m.By), rate(m.By, r.Since) }
		p.watchBody(s, r, r.Whole, true, numbers)
		p.watchPeers(r.PeersWhole, r.Whole["Tcp.RetransSegs"], r.PeersErr)
		p.watchFoot(r)
	}
}

// height is the terminal's, 0 where there is none.
func (p *printer) height() int {
	f, ok := p.w.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Row)
}

// cut keeps as many lines as a screen has and says how many are left out.
func cut(text string, height int) string {
	lines := strings.Split(text, "\n")
	if height <= 1 || len(lines) <= height {
		return text
	}
	return strings.Join(lines[:height-1], "\n") + fmt.Sprintf("\n… %d more lines; the sum has them all", len(lines)-height+1)
}
