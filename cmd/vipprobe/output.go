package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
)

// output is where a command's result goes. Its methods may be called at the same time.
type output struct {
	format         string
	jsonFD         int
	stdout, stderr io.Writer
	verbose        bool

	mu  sync.Mutex
	err error // the first of writing
}

func (f *probeFlags) sink(cmd *cobra.Command) *output {
	return &output{format: f.output, jsonFD: f.jsonFD, stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), verbose: f.verbose}
}

// done takes a target that is finished: with ndjson its lines are written at once.
func (o *output) done(r *result) {
	if o.format != "ndjson" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range r.rounds {
		o.line(view.NewRound(&r.rounds[i]))
	}
	if r.err != nil {
		o.line(view.NewTargetError(r.target, r.err))
	}
}

func (o *output) line(v any) {
	if o.err == nil {
		o.err = view.WriteLine(o.stdout, v)
	}
}

// finish writes the result in the other formats, a sentence for each target that could not be probed, and turns it all into an exit code.
func (o *output) finish(ctx context.Context, results []result, code int, table func(*printer) error) error {
	doc := document(results)
	if o.jsonFD > 0 {
		if err := writeFD(o.jsonFD, doc); err != nil {
			return err
		}
	}
	switch o.format {
	case "json":
		o.err = view.WriteJSON(o.stdout, doc)
	case "table", "markdown":
		p := newPrinter(o.stdout)
		p.verbose = o.verbose
		o.err = table(p)
	}
	if o.err != nil {
		return o.err
	}
	for _, err := range failures(results) {
		complain(o.stderr, err)
	}
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if code != exitPass {
		return exitError(code)
	}
	return nil
}

// failures are why targets, or addresses of theirs, could not be probed.
func failures(results []result) []error {
	var out []error
	for _, r := range results {
		if r.err != nil {
			out = append(out, r.err)
		}
		for i := range r.rounds {
			err := r.rounds[i].Err
			if limit, ok := errors.AsType[*prober.BudgetError](err); ok && limit.Limit == "half_open" {
				err = fmt.Errorf("%w: see --max-half-open", err)
			}
			if err = errors.Join(err, r.cut(&r.rounds[i])); err != nil {
				out = append(out, err)
			}
		}
	}
	return out
}

// document is the JSON result of a command.
func document(results []result) view.Document {
	var all []prober.Round
	var errs []view.TargetError
	for _, r := range results {
		all = append(all, r.rounds...)
		if r.err != nil {
			errs = append(errs, view.NewTargetError(r.target, r.err))
		}
	}
	return view.NewDocument(all, errs)
}

// writeFD writes the JSON result to a descriptor that the parent process opened.
func writeFD(fd int, doc view.Document) error {
	file := os.NewFile(uintptr(fd), "json-fd")
	if file == nil {
		return fmt.Errorf("--json-fd %d: not an open descriptor", fd)
	}
	if err := view.WriteLine(file, doc); err != nil {
		return fmt.Errorf("--json-fd %d: %w", fd, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--json-fd %d: %w", fd, err)
	}
	return nil
}
