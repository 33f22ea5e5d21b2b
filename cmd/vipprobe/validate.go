package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/report"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/targets"
)

// validateFlags are those of the validate command.
type validateFlags struct {
	probeFlags
	file     string
	baseline string
	state    string
	html     string
	dryRun   bool
	schema   bool
}

var validateFormats = []string{"table", "json", "ndjson", "junit", "github", "markdown"}

func validateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate -f ROLLOUT",
		Short: "Hold new hosts against a policy before they join a pool",
		Long: "validate measures every candidate of a rollout file and holds it against the file's checks: connects cold and warm, a\n" +
			"diagnosis, a profile, a golden host. What a check cannot tell is unknown, and no pass.\n\n" +
			"  candidates: [web31:443, web32:443]\n  baseline: web01:443\n  measure: {neighbor_queue: true, backlog: 256}\n" +
			"  checks:\n    - stall_ratio < 0.001\n    - cold.p99 < 5ms\n    - no finding >= suspected\n    - remote_neighbor_queue >= 64\n" +
			"    - timestamps = on\n    - like baseline except mss\n\n" +
			"Exit 0: all pass; 1: a check fails; 2: the command line or a file is wrong; 3: this machine or its network denies\n" +
			"it; 4: none fails, some are unknown; 130: interrupted: with --state the next run goes on from there.",
		Example: "  vipprobe validate -f rollout.yml --dry-run\n  vipprobe validate -f rollout.yml -o junit > report.xml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "file", "f", "", "rollout file: candidates, checks, what may be measured")
	fs.StringVar(&f.baseline, "baseline", "", "golden host or stored profile, in place of the file's")
	fs.StringVarP(&f.output, "output", "o", "table", strings.Join(validateFormats, ", "))
	fs.StringVar(&f.html, "html", "", "also write one self-contained HTML page to this file")
	fs.StringVar(&f.state, "state", "", "keep what is finished in this file, and go on from there where it exists")
	fs.BoolVar(&f.dryRun, "dry-run", false, "show the plan: hosts, packets, seconds, what can disturb; send nothing")
	fs.BoolVar(&f.schema, "schema", false, "print the JSON Schema of -o json, and nothing else")
	fs.StringVar(&f.config, "config.file", "", "configuration file with limits")
	fs.StringVar(&f.source, "source", "", "source address, which must be this host's")
	fs.StringVar(&f.iface, "interface", "", "interface to leave by")
	fs.StringVar(&f.ports, "source-ports", "", "LO-HI, the lower half for connects, the upper for raw SYNs; default: outside net.ipv4.ip_local_port_range")
	fs.BoolVarP(&f.four, "ipv4", "4", false, "only IPv4 addresses of a name")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "only IPv6 addresses of a name")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "list checks that pass as well, and say on stderr what is tried")
	return cmd
}

func (f *validateFlags) run(cmd *cobra.Command) error {
	if f.schema {
		return report.Schema(cmd.OutOrStdout())
	}
	if f.file == "" {
		return usageError{errors.New("want a rollout file: -f FILE")}
	}
	if !slices.Contains(validateFormats, f.output) {
		return usageError{fmt.Errorf("--output %q: want one of %s", f.output, strings.Join(validateFormats, ", "))}
	}
	r, err := targets.LoadRollout(f.file)
	if err != nil {
		return usageError{err}
	}
	if f.baseline != "" {
		r.Baseline = f.baseline
	}
	if f.dryRun {
		p := newPrinter(cmd.OutOrStdout())
		p.rolloutPlan(r)
		return p.err
	}
	if err := writable(f.html); err != nil {
		return usageError{fmt.Errorf("--html: %w", err)}
	}
	state, err := openState(f.state, policyOf(r))
	if err != nil {
		return usageError{err}
	}
	defer state.close()
	v, err := f.measure(cmd, r, state)
	if err != nil {
		return err
	}
	return f.finish(cmd, v)
}

// policyOf is a digest of all that decides a result: the checks, what may be measured, and the baseline with what it holds where it is a file.
func policyOf(r *targets.Rollout) string {
	h := sha256.New()
	if file, err := os.Open(r.Baseline); err == nil {
		_, _ = io.Copy(h, io.LimitReader(file, maxImport)) // what cannot be read is refused when it is read as a baseline
		_ = file.Close()
	}
	for i := range r.Checks {
		fmt.Fprintln(h, r.Checks[i].Text)
	}
	o := &r.Profile
	fmt.Fprintln(h, r.Baseline, r.Connects, r.Burst, o.Patience, o.Backlog, o.Queue != nil, o.MayPrime, string(o.Request), o.Prime.With)
	return hex.EncodeToString(h.Sum(nil))
}

// measure validates the candidates that are not finished yet.
func (f *validateFlags) measure(cmd *cobra.Command, r *targets.Rollout, state *stateFile) (*view.Validation, error) {
	began := time.Now()
	golden, names, err := f.prepareRollout(r)
	if err != nil {
		return nil, err
	}
	var todo []string
	line := map[string]int{}
	for _, c := range r.Candidates {
		line[c.Target] = c.Line
		if !state.has(c.Target, "") {
			todo = append(todo, c.Target)
		}
	}
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	f.module, f.burst, f.count, f.timeout, f.ladder, f.maxHalfOpen = "connect", r.Burst, 1, 9500*time.Millisecond, "kernel", 16
	m, err := f.selectModule(cmd, cfg)
	if err != nil {
		return nil, err
	}
	m.Burst, f.halfOpen = r.Burst, r.Profile.Backlog
	ctx := cmd.Context()
	far, err := openVantages(r)
	if err != nil {
		return nil, err
	}
	defer far.close()
	p, err := f.open(ctx, cmd, cfg, m, append(names, todo...))
	if err != nil {
		return nil, err
	}
	v := &view.Validation{File: f.file, Baseline: r.Baseline, Started: began.UTC(), Candidates: []view.Candidate{}}
	golden, err = f.goldenHost(ctx, p, r, m, golden)
	if err == nil {
		var found []view.Candidate
		elsewhere := far.begin(ctx, r, golden, state)
		found, err = f.candidates(cmd, p, r, m, golden, todo, line, state)
		others, unkept := elsewhere()
		err = errors.Join(err, unkept)
		v.Candidates = inOrder(r, slices.Concat(state.done, found, others))
	}
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	v.TookNS = int64(time.Since(began))
	return v, v.Conclude()
}

// prepareRollout reads the baseline where it is a file, and names it where it is a host.
func (f *validateFlags) prepareRollout(r *targets.Rollout) (*profile.Profile, []string, error) {
	if r.Baseline == "" {
		return nil, nil, nil
	}
	golden, isFile, err := (&profileFlags{baseline: r.Baseline}).golden()
	if err != nil || isFile {
		return golden, nil, err
	}
	return nil, []string{r.Baseline}, nil
}

// goldenHost measures the baseline where it is a host.
func (f *validateFlags) goldenHost(ctx context.Context, p *prober.Prober, r *targets.Rollout, m prober.Module, golden *profile.Profile) (*profile.Profile, error) {
	if r.Baseline == "" || golden != nil || !slices.ContainsFunc(r.Checks, func(c targets.RolloutCheck) bool { return c.Subject == rollout.Baseline }) {
		return golden, nil
	}
	o := r.Profile
	o.Module = m
	got, err := p.Profile(ctx, r.Baseline, o)
	if err != nil {
		return nil, err
	}
	for i := range got {
		if got[i].Err == nil {
			return &got[i].Profile, nil
		}
		err = errors.Join(err, got[i].Err)
	}
	return nil, fmt.Errorf("the baseline could not be measured: %w", err)
}

// candidates measures those that are left, and keeps each as it is done.
func (f *validateFlags) candidates(cmd *cobra.Command, p *prober.Prober, r *targets.Rollout, m prober.Module, golden *profile.Profile, todo []string,
	line map[string]int, state *stateFile,
) ([]view.Candidate, error) {
	o := prober.ValidateOptions{Module: m, Profile: r.Profile, Baseline: golden, Connects: r.Connects, Parallel: r.Parallel, Seconds: r.Seconds}
	var lines []int
	for i := range r.Checks {
		o.Checks, lines = append(o.Checks, r.Checks[i].Check), append(lines, r.Checks[i].Line)
	}
	said := newProgress(cmd.ErrOrStderr(), f.verbose)
	if f.verbose {
		o.Progress = func(target, what string) { said.f("%s: %s", target, what) }
	}
	began, done := time.Now(), 0
	var failed error
	finished := map[string]int{}
	o.Finished = func(v prober.Validated) {
		if finished[v.Target]++; finished[v.Target] == 1 {
			done++
		}
		c := view.NewCandidate(&v, line[v.Target], lines)
		failed = errors.Join(failed, state.add(&c))
		if f.output == "ndjson" {
			failed = errors.Join(failed, view.WriteLine(cmd.OutOrStdout(), c))
		}
		left := time.Since(began) / time.Duration(done) * time.Duration(len(todo)-done)
		said.f("%d of %d  %s  %s, about %s left", done, len(todo), v.Target, v.State(), left.Round(time.Second))
	}
	var out []view.Candidate
	for _, v := range p.Validate(cmd.Context(), todo, o) {
		out = append(out, view.NewCandidate(&v, line[v.Target], lines))
	}
	return out, failed
}

// inOrder sorts candidates as the file has them.
func inOrder(r *targets.Rollout, list []view.Candidate) []view.Candidate {
	place := map[string]int{}
	for i, c := range slices.Concat(r.Candidates, r.Pool) {
		place[c.Target] = i
	}
	slices.SortStableFunc(list, func(a, b view.Candidate) int {
		return cmp.Or(cmp.Compare(place[a.Target], place[b.Target]), cmp.Compare(a.Vantage, b.Vantage))
	})
	return list
}

// finish writes the result and turns it into an exit code.
func (f *validateFlags) finish(cmd *cobra.Command, v *view.Validation) error {
	out := cmd.OutOrStdout()
	var err error
	switch f.output {
	case "json":
		err = view.WriteJSON(out, v)
	case "junit":
		err = report.JUnit(out, v)
	case "github":
		err = report.GitHub(out, v)
	case "markdown":
		err = report.Markdown(out, v)
	case "table":
		p := newPrinter(out)
		p.verbose = f.verbose
		p.validation(v)
		err = p.err
	}
	if err != nil {
		return err
	}
	if f.html != "" {
		if err := writeHTML(f.html, v); err != nil {
			return err
		}
	}
	switch {
	case cmd.Context().Err() != nil:
		return exitError(exitInterrupted)
	case v.Failed > 0:
		return exitError(exitFinding)
	case v.Unknown > 0:
		return exitError(exitInconclusive)
	}
	return nil
}

// writable reports why a file cannot be written, before minutes are spent on what it is to hold. It makes an empty one where there is none; "" is
// no file.
func writable(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666) //nolint:gosec // as os.Create has it: the umask decides
	if err != nil {
		return err
	}
	return file.Close()
}

func writeHTML(path string, v *view.Validation) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return errors.Join(report.HTML(file, v), file.Close())
}
