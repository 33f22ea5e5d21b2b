package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/sweep"
)

// wordOfSweep is what n targets of an outcome do.
func wordOfSweep(o sweep.Outcome, n int) string {
	one := n == 1
	pick := func(singular, plural string) string {
		if one {
			return singular
		}
		return plural
	}
	switch o {
	case sweep.Answers:
		return pick("answers", "answer")
	case sweep.Stalls:
		return pick("stalls", "stall")
	case sweep.Refuses:
		return pick("refuses", "refuse")
	case sweep.Mixed:
		return "mixed"
	case sweep.Quiet:
		return "silent"
	case sweep.Unreached:
		return "unreachable"
	case sweep.Unsent:
		return "not sent to"
	case sweep.OutcomeUnknown:
	}
	return "unknown"
}

// tintOfSweep: what fails is red, what is late or not known yellow.
func tintOfSweep(o sweep.Outcome) colour {
	switch o {
	case sweep.Mixed, sweep.Quiet, sweep.Unreached, sweep.Refuses:
		return red
	case sweep.Stalls, sweep.Unsent, sweep.OutcomeUnknown:
		return yellow
	case sweep.Answers:
	}
	return green
}

// render writes the report for people.
func (s *sweeping) render(p *printer) {
	if s.tally.Targets == 0 {
		if s.cut {
			p.f("%s\n", p.tint(yellow, "interrupted before a SYN was sent: nothing is known of any target"))
		}
		return // else the error says why
	}
	s.head(p)
	s.times(p)
	for _, o := range sweep.Outcomes() {
		s.odd(p, o)
	}
	if len(s.diagnoses) > 0 {
		p.f("\n")
		p.err = renderDiagnosis(p, s.diagnoses)
		return
	}
	if next := s.tally.Ill(3); len(next) > 0 && !s.cut {
		p.f("\n")
		for i, dst := range next {
			head := strings.Repeat(" ", headWidth)
			if i == 0 {
				head = pad("next", headWidth)
			}
			p.f("%svipprobe diagnose %s\n", head, dst)
		}
	}
}

// headWidth is that of the words before a line.
const headWidth = 13

func (s *sweeping) head(p *printer) {
	var parts []string
	worst := sweep.Answers
	for _, o := range sweep.Outcomes() {
		if n := s.tally.By[o]; n > 0 {
			parts = append(parts, count(n)+" "+wordOfSweep(o, n))
			if worst == sweep.Answers {
				worst = o
			}
		}
	}
	if n := len(parts); s.tally.By[sweep.Answers] > 0 && n > 1 {
		parts = append(parts[n-1:], parts[:n-1]...) // those that are well first
	}
	what := "targets"
	if s.tally.Targets == 1 {
		what = "target"
	}
	text := fmt.Sprintf("%s %s: %s", count(s.tally.Targets), what, strings.Join(parts, ", "))
	if s.cut {
		text += fmt.Sprintf(" (interrupted: %s of %s SYNs sent)", count(s.last.Sent), count(s.last.Probes))
	}
	p.f("%s\n", p.tint(tintOfSweep(worst), p.paragraph("", text, 2)))
}

// times writes how long it and handshakes took.
func (s *sweeping) times(p *printer) {
	if r := s.report; r != nil {
		what := "SYNs"
		if s.tally.SYNs == 1 {
			what = "SYN"
		}
		text := fmt.Sprintf("%s %s in %s, at most %g a second", count(s.tally.SYNs), what, roundSweep(r.LastSent.Sub(r.Started)), s.flags.rate)
		if s.flags.repeats > 0 {
			text += "; unanswered ones again after 1s" + []string{"", "", " and 3s", ", 3s and 7s"}[s.flags.repeats]
		}
		p.f("%s\n", p.paragraph("  ", text, 2))
		if r.CaptureDrops > 0 {
			p.f("%s\n", p.paragraph("  ", fmt.Sprintf("%d frames were not captured: a target without an answer at that time is unknown, not silent", r.CaptureDrops), 2))
		}
	}
	t := s.tally.Times()
	if t.Timed == 0 {
		return
	}
	text := fmt.Sprintf("handshakes: %s at the least, half within %s, 90 %% within %s, 99 %% within %s", short(t.Least), short(t.P50), short(t.P90), short(t.P99))
	if d := s.tally.Slowest; d.Most > 0 {
		text += fmt.Sprintf(", slowest %s (%s)", short(d.Most), d.Dst)
	}
	p.f("%s\n", p.paragraph("  ", text, 2))
}

func roundSweep(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// odd lists the targets of one outcome that is not well.
func (s *sweeping) odd(p *printer, o sweep.Outcome) {
	runs, more := s.tally.Runs(o)
	if o == sweep.Answers || len(runs) == 0 || s.flags.list == 0 {
		return
	}
	// the largest first where not all can be shown, else by their order
	shown := slices.Clone(runs)
	if len(shown) > s.flags.list {
		slices.SortStableFunc(shown, func(a, b sweep.Run) int { return b.N - a.N })
		for _, r := range shown[s.flags.list:] {
			more += r.N
		}
		shown = shown[:s.flags.list]
	}
	width := 0
	for i := range shown {
		width = max(width, utf8.RuneCountInString(labelOfRun(&shown[i])))
	}
	width = min(width, 47)
	p.f("\n")
	for i := range shown {
		r := &shown[i]
		word := strings.Repeat(" ", headWidth)
		if i == 0 {
			word = p.tint(tintOfSweep(o), wordOfSweep(o, 1)) + strings.Repeat(" ", headWidth-utf8.RuneCountInString(wordOfSweep(o, 1)))
		}
		p.f("%s%s\n", word, p.paragraph(pad(labelOfRun(r), width)+"  ", s.detail(r, o), 2+width+headWidth))
	}
	if more > 0 {
		p.f("%s%s more; -o csv, ndjson or json has all\n", strings.Repeat(" ", headWidth), count(more))
	}
}

// labelOfRun is a run's addresses.
func labelOfRun(r *sweep.Run) string {
	if r.N == 1 {
		return r.Worst.Dst.String()
	}
	port := r.Worst.Dst.Port()
	first, last := netip.AddrPortFrom(r.First, port).String(), r.Last.String()
	if r.First.Is6() {
		return fmt.Sprintf("[%s-%s]:%d", r.First, last, port)
	}
	return fmt.Sprintf("%s-%s:%d", strings.TrimSuffix(first, fmt.Sprintf(":%d", port)), last, port)
}

// detail is what is to be said of a run.
func (s *sweeping) detail(r *sweep.Run, o sweep.Outcome) string {
	t := &r.Worst
	text := ""
	if r.N > 1 {
		text = count(r.N) + " targets: "
	}
	switch o {
	case sweep.Stalls:
		if t.Probes > 1 {
			text += fmt.Sprintf("%d of %d SYNs stalled, ", t.Stalled, t.Probes)
		}
		if t.Most == 0 {
			return text + "answered only when the SYN was sent again"
		}
		return text + "answered after " + short(t.Most)
	case sweep.Quiet:
		return text + "no answer to " + times(t.SYNs, "SYN")
	case sweep.Refuses:
		if t.Most > 0 {
			return text + "RST after " + short(t.Most)
		}
		return text + "RST"
	case sweep.Mixed:
		return text + mixture(t)
	case sweep.OutcomeUnknown:
		switch {
		case t.By[sweep.Pending] == 0:
			return text + "the capture lost frames"
		case s.cut:
			return text + "interrupted before an answer"
		}
		return text + "not waited for: the sweep ended early"
	case sweep.Unsent:
		switch {
		case t.Why != "":
			return text + t.Why
		case t.By[sweep.Dropped] > 0:
			return text + "the SYN was not seen leaving: dropped on this host"
		case s.cut:
			return text + "interrupted before"
		}
		return text + "this host did not take the SYN"
	case sweep.Unreached, sweep.Answers:
	}
	return text + t.Why
}

// mixture counts the shots of a target that ended otherwise than each other.
func mixture(t *sweep.Target) string {
	counts := view.NewSweepTarget(t).Counts
	var parts []string
	for _, word := range []string{"accepted", "refused", "timed_out", "unreachable", "not_sent", "local_drop", "unknown"} {
		if n := counts[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(word, "_", " ")))
		}
	}
	if t.Stalled > 0 {
		parts = append(parts, fmt.Sprintf("%d of them stalled", t.Stalled))
	}
	return strings.Join(parts, ", ")
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
