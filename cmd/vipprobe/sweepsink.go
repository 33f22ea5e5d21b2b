package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/sweep"
)

// sweeping is a sweep under way: what is known of it, and where that goes. Its methods are called one at a time.
type sweeping struct {
	flags  *sweepFlags
	stderr io.Writer
	out    *bufio.Writer
	stdout io.Writer
	csv    *csv.Writer
	err    error // the first of writing

	tally     sweep.Tally
	live      *liveLine
	last      prober.SweepProgress
	waited    bool // it said that it waits for room
	report    *prober.SweepReport
	began     time.Time
	fault     error // why not everything was sent
	cut       bool  // interrupted
	diagnoses []result
}

func newSweeping(cmd *cobra.Command, f *sweepFlags) *sweeping {
	s := &sweeping{flags: f, stderr: cmd.ErrOrStderr(), stdout: cmd.OutOrStdout(), out: bufio.NewWriter(cmd.OutOrStdout()), began: time.Now(),
		live: newLiveLine(cmd.ErrOrStderr(), f.verbose)}
	s.tally.Each = s.target
	switch f.output {
	case "csv":
		s.csv = csv.NewWriter(s.out)
		s.keep(s.csv.Write(csvHeader()))
	case "json":
		s.write("{\"results\":[")
	}
	return s
}

func (s *sweeping) keep(err error) { s.err = errors.Join(s.err, err) }

func (s *sweeping) write(text string) {
	if s.err == nil {
		_, s.err = s.out.WriteString(text)
	}
}

// watch is what a sweep tells.
func (s *sweeping) watch() *prober.SweepWatch {
	return &prober.SweepWatch{Repeats: s.flags.repeats, Over: s.tally.Add, LeftOut: s.leftOut, Progress: s.progress}
}

func (s *sweeping) leftOut(dst netip.AddrPort, err error) {
	state, why := sweep.NotSent, err
	if prober.NoNeighbor(err) {
		s.tally.LeaveOut(dst, s.flags.shots, sweep.Unreachable, "nobody answers ARP or ND for it, or for the next hop")
		return
	}
	if denied, ok := errors.AsType[*prober.NotAllowedError](err); ok {
		why = errors.New(denied.Why)
	} else if env, ok := errors.AsType[*prober.EnvironmentError](err); ok {
		why = env.Err
	}
	s.tally.LeaveOut(dst, s.flags.shots, state, why.Error())
}

// target writes one that is over.
func (s *sweeping) target(t *sweep.Target) {
	if s.err != nil {
		return
	}
	switch s.flags.output {
	case "ndjson":
		s.keep(view.WriteLine(s.out, view.NewSweepTarget(t)))
	case "json":
		text := "\n  "
		if s.tally.Targets > 1 {
			text = ",\n  "
		}
		s.write(text)
		s.json(view.NewSweepTarget(t))
	case "csv":
		s.keep(s.csv.Write(csvRow(view.NewSweepTarget(t))))
	}
}

func (s *sweeping) json(v any) {
	b, err := json.Marshal(v)
	s.keep(err)
	s.write(string(b))
}

func csvHeader() []string {
	return []string{"target", "outcome", "stalled", "shots", "syns", "accepted", "refused", "timed_out", "unreachable", "min_ns", "max_ns", "reason"}
}

func csvRow(v view.SweepTarget) []string {
	row := []string{v.Target, v.Outcome}
	for _, n := range []int{v.Stalled, v.Shots, v.SYNs, v.Counts["accepted"], v.Counts["refused"], v.Counts["timed_out"], v.Counts["unreachable"]} {
		row = append(row, strconv.Itoa(n))
	}
	for _, ns := range []int64{v.MinNs, v.MaxNs} {
		text := ""
		if ns > 0 {
			text = strconv.FormatInt(ns, 10)
		}
		row = append(row, text)
	}
	return append(row, v.Reason)
}

// progress shows how far it is, and hands on what was written.
func (s *sweeping) progress(p prober.SweepProgress) {
	s.last = p
	s.flush()
	if p.Unanswered > 0 && !s.waited {
		s.waited = true
		s.live.clear()
		fmt.Fprintf(s.stderr, "vipprobe: %s flows have no answer, as many as may be so within %s: it goes on as they expire; --max-unanswered permits more\n",
			count(p.Unanswered), plan.PortQuarantine)
	}
	s.live.show(s.position(p))
}

func (s *sweeping) flush() {
	if s.csv != nil {
		s.csv.Flush()
		s.keep(s.csv.Error())
	}
	if s.err == nil {
		s.err = s.out.Flush()
	}
}

// position is how far it is, in a line.
func (s *sweeping) position(p prober.SweepProgress) string {
	if p.Asking > 0 {
		return fmt.Sprintf("asking for the link addresses of %d neighbours", p.Asking)
	}
	parts := []string{fmt.Sprintf("%s of %s SYNs sent, %s over", count(p.Sent), count(p.Probes), count(p.Over))}
	for _, o := range sweep.Outcomes() {
		if n := s.tally.By[o]; n > 0 {
			parts = append(parts, count(n)+" "+wordOfSweep(o, n))
		}
	}
	text := strings.Join(parts, ", ")
	if left := p.Probes - p.Sent; left > 0 && p.Sent > 0 && p.Unanswered == 0 {
		text += fmt.Sprintf("; %s left", (time.Duration(float64(left) / s.flags.rate * float64(time.Second))).Round(time.Second))
	}
	return text
}

// over takes what the sweep ended with.
func (s *sweeping) over(ctx context.Context, r *prober.SweepReport, err error) {
	s.tally.Close()
	s.live.clear()
	s.report, s.cut = r, ctx.Err() != nil
	unreached := s.tally.Targets > 0 && s.tally.By[sweep.Unreached] == s.tally.Targets
	if err != nil && !s.cut && (r != nil || !unreached) { // that nobody is there is a result
		s.fault = err
	}
}

// finish writes the rest, and turns it all into an exit code.
func (s *sweeping) finish(ctx context.Context) error {
	switch s.flags.output {
	case "table":
		p := newPrinter(s.out)
		p.colour, p.width = wantsColour(s.stdout), widthOf(s.stdout)
		s.render(p)
		s.keep(p.err)
	case "ndjson":
		for i := range s.diagnoses {
			for k := range s.diagnoses[i].rounds {
				s.keep(view.WriteLine(s.out, view.NewRound(&s.diagnoses[i].rounds[k])))
			}
		}
		s.keep(view.WriteLine(s.out, map[string]view.SweepSummary{"summary": s.summary()}))
	case "json":
		s.write("\n],\n")
		if len(s.diagnoses) > 0 {
			s.write("\"diagnoses\":")
			s.json(document(s.diagnoses))
			s.write(",\n")
		}
		s.write("\"summary\":")
		s.json(s.summary())
		s.write("}\n")
	}
	s.flush()
	if s.err != nil {
		return s.err
	}
	for _, err := range failures(s.diagnoses) {
		complain(s.stderr, err)
	}
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if s.fault != nil {
		return s.fault
	}
	if code := s.exit(); code != exitPass {
		return exitError(code)
	}
	return nil
}

// exit: what is not well outweighs what could not be sent, and that what is not known.
func (s *sweeping) exit() int {
	by := &s.tally.By
	switch {
	case by[sweep.Stalls]+by[sweep.Mixed]+by[sweep.Quiet]+by[sweep.Unreached]+by[sweep.Refuses] > 0:
		return exitFinding
	case by[sweep.Unsent] > 0:
		return exitEnvironment
	case by[sweep.OutcomeUnknown] > 0:
		return exitInconclusive
	}
	return exitPass
}

func (s *sweeping) summary() view.SweepSummary {
	v := view.NewSweepSummary(&s.tally, s.report)
	v.Interrupted = s.cut
	if s.fault != nil {
		v.Error = s.fault.Error()
	}
	return v
}

// liveLine is a line on a terminal that is written again and again, or now and then a line of its own for whoever asked for it elsewhere.
type liveLine struct {
	w           io.Writer
	live, lines bool
	shown       bool
	width       int
	next        time.Time
}

func newLiveLine(w io.Writer, verbose bool) *liveLine {
	live := isTerminal(w) && os.Getenv("TERM") != "dumb"
	return &liveLine{w: w, live: live, lines: verbose && !live, width: widthOf(w)}
}

func (l *liveLine) show(text string) {
	now := time.Now()
	switch {
	case !l.live && !l.lines || now.Before(l.next):
	case l.live:
		l.next, l.shown = now.Add(200*time.Millisecond), true
		if r := []rune(text); len(r) >= l.width {
			text = string(r[:l.width-2]) + "…"
		}
		fmt.Fprintf(l.w, "\r\x1b[K%s", text) // ECMA-48 §8.3.41: erase to the end of the line
	default:
		l.next = now.Add(time.Second)
		fmt.Fprintln(l.w, text)
	}
}

func (l *liveLine) clear() {
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.shown, l.next = false, time.Time{}
}
