package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// mark is one attempt in one character: a dot for accepted at once, the number of repeats for a stall, a letter for the rest.
func mark(a *observe.Attempt) byte {
	switch a.Outcome {
	case observe.Accepted:
		switch {
		case a.Late == observe.LateSlow:
			return 's'
		case a.Retransmissions == 0:
			return '.'
		case a.Retransmissions < 10:
			return byte('0' + a.Retransmissions)
		}
		return '+'
	case observe.Refused:
		return 'R'
	case observe.Reset:
		return 'X'
	case observe.TimedOut:
		return 'T'
	case observe.Unreachable:
		return 'U'
	case observe.LocalDrop:
		return 'L'
	case observe.NotSent, observe.OutcomeUnknown:
	}
	return '-'
}

// legend explains the marks that occur.
func legend(marks string) string {
	var parts []string
	for _, l := range []struct{ set, text string }{
		{".", ". at once"}, {"123456789+", "1-9 SYNs repeated"}, {"s", "s slow answer"}, {"R", "R refused"}, {"X", "X reset"},
		{"T", "T timed out"}, {"U", "U unreachable"}, {"L", "L never left this host"}, {"-", "- not sent"},
	} {
		if strings.ContainsAny(marks, l.set) {
			parts = append(parts, l.text)
		}
	}
	return strings.Join(parts, ", ")
}

// The strip's axis: logarithmic from 10 µs to 100 s, so that the 1, 3 and 7 s bands have their place.
const (
	stripWidth = 64
	stripFrom  = 1e-5
	stripTo    = 1e2
)

func stripColumn(d time.Duration) int {
	x := math.Log10(max(d.Seconds(), stripFrom)/stripFrom) / math.Log10(stripTo/stripFrom)
	return min(stripWidth-1, int(x*stripWidth))
}

// stripAxis labels the decades and the bands of SYN repeats.
func stripAxis() string {
	line := []byte(strings.Repeat("-", stripWidth))
	for _, l := range []struct {
		at   time.Duration
		text string
	}{{10 * time.Microsecond, "10us"}, {100 * time.Microsecond, "|100us"}, {time.Millisecond, "|1ms"}, {10 * time.Millisecond, "|10ms"},
		{100 * time.Millisecond, "|100ms"}, {time.Second, "|1s"}, {3 * time.Second, "|3"}, {7 * time.Second, "|7"}, {15 * time.Second, "|15s"}} {
		copy(line[stripColumn(l.at):], l.text)
	}
	return string(line)
}

// strip counts the handshakes of a burst by duration: a digit a column, + from ten on.
func strip(o *observe.Observation) string {
	var counts [stripWidth]int
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if a.Outcome == observe.Accepted || a.Outcome == observe.Refused {
			counts[stripColumn(waited(a))]++
		}
	}
	line := []byte(strings.Repeat(" ", stripWidth))
	for i, n := range counts {
		switch {
		case n == 0:
		case n < 10:
			line[i] = byte('0' + n)
		default:
			line[i] = '+'
		}
	}
	return strings.TrimRight(string(line), " ")
}

// waited is how long whoever connected had to wait: by the kernel's own clock for a kernel connect, else by the tap.
func waited(a *observe.Attempt) time.Duration {
	if k := a.Kernel; k != nil && !k.Completed.IsZero() {
		return max(k.Completed.Sub(k.Started), a.Handshake)
	}
	return a.Handshake
}

// renderProbe writes the table of probe: a row per address, first contact and repeats side by side.
func renderProbe(w io.Writer, results []result, compare bool) error {
	p := &printer{w: w}
	for _, r := range results {
		for i := range r.rounds {
			p.round(&r.rounds[i])
		}
	}
	if compare {
		p.compare(results)
	}
	return p.err
}

// printer keeps the first write error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func name(i int) string {
	if i == 0 {
		return "first contact"
	}
	return fmt.Sprintf("repeat %d", i)
}

func (p *printer) round(r *prober.Round) {
	p.f("%s", r.Target)
	if r.Addr.String() != r.Target {
		p.f(" (%s)", r.Addr)
	}
	p.f("  %s", r.Module)
	if r.Err != nil {
		p.f("  not probed: %v\n", r.Err)
		return
	}
	p.f("\n")
	marks := ""
	for i := range r.Observations {
		o := &r.Observations[i]
		marks += p.observation(name(i), o)
	}
	if marks != "" {
		p.f("  %-14s %s\n", "", legend(marks))
	}
	p.f("  %-14s %s\n", "", stripAxis())
	for i := range r.Observations {
		p.f("  %-14s %s\n", name(i), strip(&r.Observations[i]))
	}
	if stalls(r) {
		p.f("  ladder here    %s s (kernel %s)\n", r.Ladder, r.Kernel)
	}
	for _, u := range unmeasured(r) {
		p.f("  not measured   %s\n", u)
	}
	p.f("  %s\n\n", r.Diagnosis.Headline)
}

func (p *printer) observation(label string, o *observe.Observation) string {
	var b strings.Builder
	var all []*observe.Attempt
	for i := range o.Attempts {
		b.WriteByte(mark(&o.Attempts[i]))
		all = append(all, &o.Attempts[i])
	}
	s := prober.Summarize(all)
	p.f("  %-14s %s  %d/%d accepted, %d stalled", label, shorten(b.String()), s.Outcomes[observe.Accepted], s.Attempts, s.Stalled)
	if n := len(s.RTTs); n > 0 {
		p.f(", RTT %s / %s / %s", round(s.RTTs[0]), round(s.RTTs[n/2]), round(s.RTTs[n-1]))
	}
	if o.CaptureDrops > 0 {
		p.f(", %d capture drops", o.CaptureDrops)
	}
	p.f("\n")
	for reason, n := range reasons(all) {
		p.f("  %-14s %d x %s\n", "", n, reason)
	}
	return b.String()
}

// shorten keeps a long burst's marks on one line.
func shorten(marks string) string {
	if len(marks) <= 64 {
		return marks
	}
	return marks[:48] + fmt.Sprintf("…(%d)", len(marks))
}

func reasons(all []*observe.Attempt) map[string]int {
	m := map[string]int{}
	for _, a := range all {
		if a.Reason != "" {
			m[a.Reason]++
		}
	}
	return m
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

func stalls(r *prober.Round) bool {
	for _, a := range r.Attempts() {
		if a.Retransmissions > 0 {
			return true
		}
	}
	return false
}

func unmeasured(r *prober.Round) []string {
	seen := map[string]bool{}
	var out []string
	for i := range r.Observations {
		for _, u := range r.Observations[i].Unmeasured {
			if !seen[u] {
				seen[u] = true
				out = append(out, u)
			}
		}
	}
	return out
}

// compare says where a VIP and its real servers differ.
func (p *printer) compare(results []result) {
	if len(results) < 2 {
		return
	}
	p.f("VIP beside its real servers, probed in the same second\n")
	for i, r := range results {
		kind := "VIP"
		if i > 0 {
			kind = "real"
		}
		for k := range r.rounds {
			s := prober.Summarize(r.rounds[k].Attempts())
			median := "-"
			if n := len(s.RTTs); n > 0 {
				median = round(s.RTTs[n/2]).String()
			}
			p.f("  %-5s %-24s %3d attempts, %3d not accepted, %3d stalled, median RTT %s\n", kind, r.rounds[k].Addr, s.Attempts,
				s.Attempts-s.Outcomes[observe.Accepted], s.Stalled, median)
		}
	}
	p.f("  %s\n", diagnose.CompareVIP(bad(results[:1]), bad(results[1:])))
}

// bad counts attempts and those that stalled or failed.
func bad(results []result) diagnose.Share {
	var s diagnose.Share
	for _, r := range results {
		for k := range r.rounds {
			for _, a := range r.rounds[k].Attempts() {
				s.N++
				if a.Stalled() || a.Outcome != observe.Accepted {
					s.Bad++
				}
			}
		}
	}
	return s
}
