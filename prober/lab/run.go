package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Run builds a scenario, has it diagnosed, and returns the row that Score would have made of it. set are its parameters, as of --set; a
// set that is that of one of its near misses is judged by its label, any other by the fault's own.
func Run(ctx context.Context, name string, set map[string]string, d Diagnoser) (Row, error) {
	sc, ok := Find(name)
	if !ok {
		return Row{}, fmt.Errorf("no scenario %q: see lab list", name)
	}
	run, err := sc.Start(ctx, set)
	if err != nil {
		return Row{}, err
	}
	defer run.Close()
	label, miss := sc.labelFor(run.Params)
	row := Row{Scenario: sc.Name, Seed: 1, NearMiss: miss, Parameters: run.Params, Expected: label.Verdicts}
	began := time.Now()
	row.Named, err = d(ctx, run.Question())
	row.Took = time.Since(began)
	if err != nil {
		return row, fmt.Errorf("scenario %s: %w", name, err)
	}
	row.Result, row.Why = label.Judge(row.Named)
	return row, nil
}

// Shell builds a scenario and gives the user a shell (or the command args) on its client, until that ends. It returns the exit status
// of what was run.
func Shell(ctx context.Context, name string, set map[string]string, args []string, in *os.File, out, errs io.Writer) (int, error) {
	sc, ok := Find(name)
	if !ok {
		return 0, fmt.Errorf("no scenario %q: see lab list", name)
	}
	run, err := sc.Start(ctx, set)
	if err != nil {
		return 0, err
	}
	defer run.Close()
	fmt.Fprintf(errs, "%s: %s\nYou are on the client. Target %s", sc.Name, sc.Story, strings.Join(run.Targets(), " "))
	if m := run.Members(); len(m) > 0 {
		fmt.Fprintf(errs, ", members %s", strings.Join(m, " "))
	}
	fmt.Fprintln(errs, ". Leave with exit; nothing remains.")
	if len(args) == 0 {
		args = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
	}
	cmd := run.Client().Command(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	cmd.Env = append(os.Environ(), "TARGET="+run.Target(), "PS1="+sc.Name+"$ ")
	err = run.Client().Run(cmd)
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		return exit.ExitCode(), nil
	}
	return 0, err
}
