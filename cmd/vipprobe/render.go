package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// printer keeps the first write error.
type printer struct {
	w      io.Writer
	colour bool
	width  int // of a line, in characters
	// explain tells all: every burst, every reason, every step of the reasoning.
	explain bool
	// verbose also shows what is unremarkable.
	verbose bool
	err     error
}

// newPrinter colours what a person on a terminal reads, and keeps to the terminal's width.
func newPrinter(w io.Writer) *printer {
	return &printer{w: w, colour: wantsColour(w), width: widthOf(w)}
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// renderProbe writes what probe found: several addresses as a table, first contact and repeat side by side, then each address that has
// something to say; one address with all that is known.
func renderProbe(p *printer, results []result, compare bool) error {
	rows := rowsOf(results)
	if len(rows) > 1 {
		p.table(rows)
	}
	for i := range rows {
		r := rows[i].round
		if r == nil || r.Err != nil || len(rows) > 1 && rows[i].word == wordOK {
			continue
		}
		if len(rows) > 1 {
			p.f("\n")
		}
		p.block(r)
		p.remedies(r)
	}
	if len(rows) == 1 && (rows[0].round == nil || rows[0].round.Err != nil) {
		p.f("%s  not probed\n", rows[0].target)
	}
	if compare {
		p.compare(results)
	}
	return p.err
}

// called is the target as asked for, and what it resolved to.
func called(r *prober.Round) string {
	if !r.Addr.IsValid() || r.Addr.String() == r.Target {
		return r.Target
	}
	return r.Target + " (" + r.Addr.Addr().String() + ")"
}

// How many characters the attempts of one row of a block may take, and how many of these a column of frame numbers needs.
const (
	blockMarks  = 40
	framesWidth = 16
)

// pad fills text up to width characters, which are not octets.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// framesOf are the numbers that the frames of a burst have in the capture file; none where none was written.
func framesOf(o *observe.Observation) []int {
	var out []int
	if o.Recorded == nil {
		return nil
	}
	for i := range o.Recorded.Frames {
		if n := o.Recorded.Frames[i].Number; n > 0 {
			out = append(out, n)
		}
	}
	return out
}

func attemptsOf(obs []observe.Observation) []*observe.Attempt {
	r := prober.Round{Observations: obs}
	return r.Attempts()
}

// bursts are the observations of one row of a block: one, or several of one label in which every attempt ended alike.
type bursts struct {
	label    string
	connects bool // by the kernel
	asks     bool // one TSval after the other, so that a repeated SYN is no stall
	from, to int  // which repeats they are; 0: none
	n        int
	mark     byte // of every attempt; 0: they differ
	drops    uint32
	attempts []*observe.Attempt
	frames   []int // in the capture file, where one was written
}

// gather makes the rows of a block out of a round's observations.
func gather(r *prober.Round) []bursts {
	var out []bursts
	for i := range r.Observations {
		o := &r.Observations[i]
		b := bursts{label: labelOf(o, i), connects: o.Kind == plan.KindConnect, asks: asksOn(o.Kind), n: 1, drops: o.CaptureDrops, attempts: attemptsOf(r.Observations[i : i+1]), frames: framesOf(o)}
		if b.label == labelRepeat && len(r.Observations) > 2 {
			b.from, b.to = i, i
		}
		if m := marksOf(b.attempts); m != "" && strings.Count(m, m[:1]) == len(m) && o.CaptureDrops == 0 {
			b.mark = m[0]
		}
		if last := len(out) - 1; last >= 0 && b.mark != 0 && out[last].mark == b.mark && out[last].label == b.label {
			out[last].n++
			out[last].to = b.to
			out[last].attempts = append(out[last].attempts, b.attempts...)
			out[last].frames = append(out[last].frames, b.frames...)
			continue
		}
		out = append(out, b)
	}
	return out
}

const labelRepeat = "repeat"

// labelOf names a burst: those of a probe are first contact and its repeats, those of a diagnosis say themselves what they are.
func labelOf(o *observe.Observation, i int) string {
	switch {
	case o.Kind != plan.KindConnect && o.Kind != plan.KindSYN, o.Label != string(o.Kind):
		return cmp.Or(o.Label, string(o.Kind), "burst")
	case i == 0:
		return "first contact"
	}
	return labelRepeat
}

func (b *bursts) name() string {
	switch {
	case b.from > 0 && b.n > 1:
		return fmt.Sprintf("%ss %d-%d", b.label, b.from, b.to)
	case b.from > 0:
		return fmt.Sprintf("%s %d", b.label, b.from)
	case b.n > 1:
		return fmt.Sprintf("%s ×%d", b.label, b.n)
	}
	return b.label
}

// asksOn reports whether the flows of a kind's bursts are asked with one TSval after the other.
func asksOn(k plan.Kind) bool {
	return k == plan.KindCells || k == plan.KindOracle || k == plan.KindFollow
}

func (b *bursts) count() string {
	s := prober.Summarize(b.attempts)
	if s.Attempts == 0 {
		return "-"
	}
	text := fmt.Sprintf("%d/%d", s.Outcomes[observe.Accepted], s.Attempts)
	if s.Stalled > 0 && !b.asks {
		text += fmt.Sprintf(", %d stalled", s.Stalled)
	}
	if b.drops > 0 {
		text += fmt.Sprintf(", %d frames not captured", b.drops)
	}
	return text
}

// block writes all that is known of one address: the verdict, the bursts, the strip.
func (p *printer) block(r *prober.Round) {
	p.headline(r)
	p.f("\n")
	rows := gather(r)
	p.bursts(rows)
	p.strips(rows)
	p.exchanges(r)
	if r.Kind == prober.KindNeighbor {
		p.neighbor(r)
	}
	p.asides(r)
}

// headline is the line on top: who, and what it comes to.
func (p *printer) headline(r *prober.Round) {
	c := red
	switch {
	case r.Diagnosis.Healthy():
		c = green
	case len(r.Diagnosis.Causes) == 0 || r.Diagnosis.Causes[0].Level <= diagnose.Suspected:
		c = yellow
	}
	text := p.paragraph(called(r)+": ", r.Diagnosis.Headline, 2)
	who := len(called(r)) + 1
	p.f("%s%s\n", p.tint(bold, text[:who]), p.tint(c, text[who:]))
}

// bursts writes a row for each; nothing where there is none.
func (p *printer) bursts(rows []bursts) {
	if len(rows) == 0 {
		return
	}
	const head, times, timesWidth = "connections", "RTT least / median / most", len("RTT least / median / most")
	label, marks, count := 13, len(head), len("accepted")
	all, counted := "", ""
	most, frames := blockMarks, ""
	if slices.ContainsFunc(rows, func(b bursts) bool { return len(b.frames) > 0 }) {
		most, frames = blockMarks-framesWidth, "frames"
	}
	for i := range rows {
		m := marksOf(rows[i].attempts)
		label = max(label, utf8.RuneCountInString(rows[i].name()))
		marks = max(marks, utf8.RuneCountInString(shorten(m, most)))
		count = max(count, len(rows[i].count()))
		all += m
		if len(m) > most {
			counted = countedLegend
		}
	}
	line := func(name, marked, counted, times, frames string) {
		p.f("%s\n", strings.TrimRight(fmt.Sprintf("  %s  %s  %s  %s  %s", pad(name, label), pad(marked, marks), pad(counted, count), pad(times, timesWidth), frames), " "))
	}
	line("", head, "accepted", times, frames)
	for i := range rows {
		line(rows[i].name(), shorten(marksOf(rows[i].attempts), most), rows[i].count(), rtts(rows[i].attempts), cellList(rows[i].frames))
		for _, why := range reasons(rows[i].attempts) {
			p.f("%s\n", p.paragraph(strings.Repeat(" ", label+4), why, label+4))
		}
	}
	if all != "" {
		p.f("%s\n", p.paragraph(strings.Repeat(" ", label+4), legend(all)+counted, label+4))
	}
}

// rtts is the least, the median and the greatest round trip.
func rtts(attempts []*observe.Attempt) string {
	all := prober.Summarize(attempts).RTTs
	if len(all) == 0 {
		return ""
	}
	return short(all[0]) + " / " + short(all[(len(all)-1)/2]) + " / " + short(all[len(all)-1])
}

// strips shows when the answers came; nothing where none did.
func (p *printer) strips(rows []bursts) {
	label := 13
	answered := false
	for i := range rows {
		label = max(label, utf8.RuneCountInString(rows[i].name()))
		answered = answered || strip(rows[i].attempts) != ""
	}
	if !answered {
		return
	}
	p.f("\n  %s  %s\n", pad("answered after", label), stripAxis())
	for i := range rows {
		if s := strip(rows[i].attempts); s != "" {
			p.f("  %s  %s\n", pad(rows[i].name(), label), s)
		}
	}
}

// asides are what one should know of this host to read the rest.
func (p *printer) asides(r *prober.Round) {
	const indent = 17
	if stalls(r) {
		p.f("\n%s\n", p.paragraph("  ladder here    ", fmt.Sprintf("%s s (kernel %s)", r.Ladder, r.Kernel), indent))
	}
	if r.TCP != nil {
		p.dialogue(r, indent)
	}
	for i, u := range unmeasured(r) {
		if i == 0 {
			p.f("\n")
		}
		p.f("%s\n", p.paragraph("  not measured   ", u, indent))
	}
}

// dialogue is what a tcp module found beyond the handshake.
func (p *printer) dialogue(r *prober.Round, indent int) {
	p.f("\n")
	if t := r.TCP; t.TLSVersion != "" {
		p.f("%s\n", p.paragraph("  TLS            ", fmt.Sprintf("%s, %s, the first certificate expires on %s", t.TLSVersion, cmp.Or(t.Subject, "no subject"),
			t.EarliestExpiry.UTC().Format(time.DateOnly)), indent))
	}
	if r.Success {
		p.f("  dialogue       as expected\n")
	} else {
		p.f("%s\n", p.tint(red, p.paragraph("  failed         ", r.Why, indent)))
	}
}

// remedies are what to do about the causes that a probe names by itself; a diagnosis says more.
func (p *printer) remedies(r *prober.Round) {
	const indent = 17
	for i := range r.Diagnosis.Causes {
		if c := &r.Diagnosis.Causes[i]; c.Verdict != diagnose.Healthy && c.Remedy != "" {
			p.f("\n%s\n", p.paragraph("  what to do     ", c.Remedy, indent))
		}
	}
}

func stalls(r *prober.Round) bool {
	return slices.ContainsFunc(r.Attempts(), (*observe.Attempt).Stalled)
}

func unmeasured(r *prober.Round) []string {
	var out []string
	for i := range r.Observations {
		for _, u := range r.Observations[i].Unmeasured {
			if !slices.Contains(out, u) {
				out = append(out, u)
			}
		}
	}
	return out
}
