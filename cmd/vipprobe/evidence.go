package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
)

// evidenceFlags say where the evidence goes.
type evidenceFlags struct {
	dir     string
	payload int
}

func (f *evidenceFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "evidence", "", "write a bundle to this new or empty directory: capture.pcapng with a comment on every frame, observations, diagnosis, "+
		"report, host; only frames of the probe's own flows")
	fs.IntVar(&f.payload, "evidence-payload", 0, "octets of every segment's payload to keep in the capture, at most 4096; default: headers only")
}

// keeper writes the evidence of one run. A nil keeper writes nothing.
type keeper struct {
	dir    *evidence.Dir
	frames int
	err    error
}

// open makes the directory ready and lets the module record.
func (f *evidenceFlags) open(m *prober.Module) (*keeper, error) {
	switch {
	case f.payload < 0 || f.payload > 4096:
		return nil, usageError{fmt.Errorf("--evidence-payload %d: want 0 to 4096", f.payload)}
	case f.dir == "" && f.payload > 0:
		return nil, usageError{fmt.Errorf("--evidence-payload: only --evidence keeps frames")}
	case f.dir == "":
		return nil, nil
	}
	dir, err := evidence.Open(f.dir)
	if err != nil {
		return nil, usageError{fmt.Errorf("--evidence: %w", err)}
	}
	m.Record = prober.Recording{On: true, Payload: f.payload}
	return &keeper{dir: dir}, nil
}

// close gives up a directory that nothing was written to.
func (k *keeper) close() {
	if k != nil {
		_ = k.dir.Close()
	}
}

// keep numbers the frames, writes the bundle, and returns the report with a line about it. What fails is
// said after the report, which is worth more.
func (k *keeper) keep(p *prober.Prober, m prober.Module, results []result, report func(*printer) error) func(*printer) error {
	if k == nil {
		return report
	}
	var rounds []prober.Round
	for i := range results {
		rounds = append(rounds, results[i].rounds...)
	}
	stored := prober.Store(rounds)
	k.frames = evidence.Number(stored)
	k.err = k.write(p, m, rounds, stored, results, report)
	return func(out *printer) error {
		if err := report(out); err != nil || k.err != nil {
			return err
		}
		out.f("\n%s\n", out.item("evidence", fmt.Sprintf("%s: %s (%s), %s, %s, %s, %s", k.dir.Name(), evidence.CaptureFile, k.figures(stored),
			evidence.ReportFile, evidence.DiagnosisFile, evidence.ObservationsFile, evidence.HostFile)))
		return out.err
	}
}

// figures say how many frames the capture holds, and how many it lacks.
func (k *keeper) figures(stored []evidence.Round) string {
	over, dropped := evidence.Lost(stored)
	text := fmt.Sprintf("%d frames", k.frames)
	if over > 0 {
		text += fmt.Sprintf("; %d over the bound were not kept", over)
	}
	if dropped > 0 {
		text += fmt.Sprintf("; %d were not captured", dropped)
	}
	return text
}

func (k *keeper) write(p *prober.Prober, m prober.Module, rounds []prober.Round, stored []evidence.Round, results []result, report func(*printer) error) error {
	var text, doc bytes.Buffer
	out := &printer{w: &text}
	if err := report(out); err != nil {
		return err
	}
	for i := range rounds {
		out.sentences(&rounds[i])
	}
	if err := view.WriteJSON(&doc, document(results)); err != nil {
		return err
	}
	version, revision := buildVersion()
	now := time.Now().UTC()
	h := p.Vantage(rounds, m)
	h.Program, h.CommandLine, h.Written = fmt.Sprintf("vipprobe %s (revision %s)", version, revision), os.Args, now
	h.Hardware, h.Recording = fmt.Sprintf("%s, %d processors", runtime.GOARCH, runtime.NumCPU()), evidence.Figures(stored)
	return k.dir.Write(evidence.Bundle{
		Origin:    evidence.Origin{Program: h.Program, Hardware: h.Hardware, OS: h.OS},
		Stored:    evidence.Stored{Program: h.Program, Written: now, Rounds: stored},
		Host:      h,
		Diagnosis: doc.Bytes(), Report: text.Bytes(),
	})
}

// instead puts the error of writing the bundle in the place of the command's own result, once that was printed.
func (k *keeper) instead(err error) error {
	if k != nil && k.err != nil {
		return k.err
	}
	return err
}

// sentences are for the team that owns the balancer or the server: one for each cause, to be pasted as it stands.
func (p *printer) sentences(r *prober.Round) {
	if r.Err != nil {
		return
	}
	p.f("\nTo paste to whoever is to mend it:\n")
	for i := range r.Diagnosis.Causes {
		p.f("\n%s\n", sentence(r, &r.Diagnosis.Causes[i]))
	}
	if len(r.Diagnosis.Causes) == 0 {
		p.f("\n%s: %s.\n", seen(r), r.Diagnosis.Headline)
	}
}

// sentence says who saw what, when, where in the capture, and what to do.
func sentence(r *prober.Round, f *diagnose.Finding) string {
	s := fmt.Sprintf("%s: %s (%s), %s", seen(r), f.Verdict, f.Level, strings.TrimSuffix(f.Summary, "."))
	if frames := frameList(r.Cites(f)); frames != "" {
		s += fmt.Sprintf("; see %s of the capture", frames)
	}
	if f.Remedy != "" && f.Verdict != diagnose.Healthy {
		s += "; what to do: " + strings.TrimSuffix(f.Remedy, ".")
	}
	return s + "."
}

// seen is what was probed, from where and when.
func seen(r *prober.Round) string {
	from := ""
	for _, a := range r.Attempts() {
		if src := a.Flow.Src.Addr(); src.IsValid() && !src.IsUnspecified() {
			from = " from " + src.String()
			break
		}
	}
	start := r.Started.UTC()
	return fmt.Sprintf("%s seen%s between %s and %s UTC", called(r), from, start.Format(time.DateTime), start.Add(r.Duration).Format(time.TimeOnly))
}

// manyRanges is how many ranges of frames a sentence names.
const manyRanges = 8

// frameList is "frames 12, 15-18"; empty where there are none.
func frameList(numbers []int) string {
	ranges := evidence.Ranges(numbers)
	if len(ranges) == 0 {
		return ""
	}
	word := "frames"
	if len(ranges) == 1 && ranges[0][0] == ranges[0][1] {
		word = "frame"
	}
	var parts []string
	for _, r := range ranges[:min(len(ranges), manyRanges)] {
		parts = append(parts, rangeText(r))
	}
	text := word + " " + strings.Join(parts, ", ")
	if more := len(ranges) - manyRanges; more > 0 {
		text += fmt.Sprintf(" and %d more ranges", more)
	}
	return text
}

func rangeText(r [2]int) string {
	if r[0] == r[1] {
		return fmt.Sprint(r[0])
	}
	return fmt.Sprintf("%d-%d", r[0], r[1])
}

// cellList is what of frame numbers has room in a table: the first range, and how many more there are.
func cellList(numbers []int) string {
	switch ranges := evidence.Ranges(numbers); len(ranges) {
	case 0:
		return ""
	case 1:
		return rangeText(ranges[0])
	default:
		return fmt.Sprintf("%s … +%d", rangeText(ranges[0]), len(ranges)-1)
	}
}
