package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// plotHeight is how many rows of a plot hold points.
const plotHeight = 12

// clockMark is the character of a clock, and with it which of two is seen where they meet: the last.
func clockMark(w diagnose.Whose) rune {
	switch w {
	case diagnose.OwnKernel:
		return 'o'
	case diagnose.Others:
		return 'x'
	case diagnose.Remembered:
		return '*'
	}
	return '?'
}

// clocks plots the timestamp clocks that a verdict is about, TSval against time: a SYN below what the server remembers is refused.
func (p *printer) clocks(all []diagnose.ClockSeries) {
	if len(all) == 0 {
		return
	}
	p.f("\n")
	for _, line := range plotClocks(all, cmp.Or(p.width, lineWidth)) {
		p.f("%s\n", line)
	}
}

// plotted is what all points share: TSvals are placed by their serial distance from one of them, so that the circle's seam is nowhere near.
type plotted struct {
	ref        wire.TSval
	lo, hi     int64 // of the distances
	start      time.Time
	span       time.Duration
	cols, rows int
}

// plotClocks draws series of points no wider than width.
func plotClocks(all []diagnose.ClockSeries, width int) []string {
	f := frameOf(all)
	const indent, label = "  ", 10
	f.cols, f.rows = max(width-len(indent)-label-3, 20), plotHeight
	grid := make([][]rune, f.rows)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", f.cols))
	}
	labels := make([]string, f.rows)
	for _, s := range all {
		f.extend(grid, &s)
	}
	for _, s := range all {
		for _, pt := range s.Points {
			grid[f.row(pt.TSval)][f.col(pt.At)] = clockMark(s.Of)
		}
		last := s.Points[len(s.Points)-1].TSval
		labels[f.row(last)] = fmt.Sprint(uint32(last))
	}
	out := []string{fmt.Sprintf("%sTSval against time", indent)}
	for i := range grid {
		out = append(out, strings.TrimRight(fmt.Sprintf("%s%*s | %s", indent, label, labels[i], string(grid[i])), " "))
	}
	end := fmt.Sprintf("%.1f s", f.span.Seconds())
	out = append(out, fmt.Sprintf("%s%*s +-%s", indent, label, "", strings.Repeat("-", f.cols)),
		fmt.Sprintf("%s%*s   0%*s", indent, label, "", f.cols-1, end))
	for _, s := range all {
		out = append(out, indent+legendOf(&s))
	}
	return out
}

func frameOf(all []diagnose.ClockSeries) plotted {
	f := plotted{ref: all[len(all)-1].Points[0].TSval, start: all[0].Points[0].At}
	end := f.start
	for _, s := range all {
		for _, pt := range s.Points {
			d := int64(pt.TSval.Sub(f.ref))
			f.lo, f.hi = min(f.lo, d), max(f.hi, d)
			if pt.At.Before(f.start) {
				f.start = pt.At
			}
			if pt.At.After(end) {
				end = pt.At
			}
		}
	}
	f.span = end.Sub(f.start)
	return f
}

// extend dots the line of a clock of one known rate, so that it can be compared with others where it was not seen.
func (f *plotted) extend(grid [][]rune, s *diagnose.ClockSeries) {
	if s.Of != diagnose.OwnKernel || s.Hz == 0 {
		return
	}
	first := s.Points[0]
	for c := range f.cols {
		t := f.start.Add(time.Duration(float64(f.span) * float64(c) / float64(f.cols-1)))
		v := first.TSval.Add(int64(t.Sub(first.At).Seconds() * float64(s.Hz)))
		if r := f.row(v); r >= 0 && r < f.rows {
			grid[r][c] = '.'
		}
	}
}

// row is counted from the top, where the newest TSvals are.
func (f *plotted) row(v wire.TSval) int {
	d := int64(v.Sub(f.ref))
	return int(math.Round(float64(f.hi-d) / float64(max(f.hi-f.lo, 1)) * float64(f.rows-1)))
}

func (f *plotted) col(t time.Time) int {
	return int(math.Round(float64(t.Sub(f.start)) / float64(max(f.span, 1)) * float64(f.cols-1)))
}

// legendOf is one clock in words: whose, from where to where, how fast.
func legendOf(s *diagnose.ClockSeries) string {
	first, last := s.Points[0], s.Points[len(s.Points)-1]
	text := fmt.Sprintf("%c %-24s  %d", clockMark(s.Of), s.Of, first.TSval)
	if len(s.Points) > 1 {
		text += fmt.Sprintf(" to %d in %.1f s", last.TSval, last.At.Sub(first.At).Seconds())
	}
	rate := ""
	switch {
	case s.Hz != 0:
		rate = fmt.Sprintf("%d Hz", s.Hz)
	case s.Note != "":
		rate = s.Note
	}
	if rate = cmp.Or(rate, "rate not known"); s.HzHigh > 0 {
		rate += fmt.Sprintf(" (%.0f to %.0f ticks a second)", s.HzLow, s.HzHigh)
	}
	return text + ", " + rate
}
