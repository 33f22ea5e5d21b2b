package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func labCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "lab",
		Short: "Make faults on demand in private namespaces, and see them diagnosed",
	})
	cmd.AddCommand(labListCommand(), labRunCommand(), labShellCommand(), labScoreCommand())
	return cmd
}

func labListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [PATTERN]", Short: "List the scenarios, their parameters and near misses", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern := ""
			if len(args) == 1 {
				pattern = args[0]
			}
			list, err := lab.List(pattern)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				return usageError{fmt.Errorf("lab list: no scenario matches %q", pattern)}
			}
			p := newPrinter(cmd.OutOrStdout())
			for i := range list {
				p.scenario(&list[i])
			}
			p.f("every scenario\n")
			for _, x := range lab.Common() {
				p.param(x)
			}
			return p.err
		},
	}
}

func (p *printer) scenario(s *lab.Scenario) {
	p.f("%-26s %s\n", s.Name, labels(s.Label.Verdicts))
	p.f("%s\n", p.paragraph("  ", s.Story, 2))
	for _, x := range s.Params {
		p.param(x)
	}
	for _, n := range s.NearMisses {
		p.f("    --near %q   %s\n", n.Name, labels(n.Label.Verdicts))
	}
	if s.Root != "" {
		p.f("    needs root: %s\n", s.Root)
	}
}

func (p *printer) param(x lab.Param) {
	p.f("    --set %s=%s   %s (%s)\n", x.Name, x.Default, x.Help, x.Range)
}

// labels joins verdicts.
func labels[T ~string](list []T) string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, string(v))
	}
	return strings.Join(out, " + ")
}

// scenarioFlags choose a scenario's variant.
type scenarioFlags struct {
	set  map[string]string
	near string
	loss float64
}

func (f *scenarioFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringToStringVar(&f.set, "set", nil, "parameter=value, may be repeated")
	cmd.Flags().Float64Var(&f.loss, "loss", 0, "random loss of TCP segments each way before the client, in percent")
	cmd.Flags().StringVar(&f.near, "near", "", "a near miss of the scenario, by name")
}

// wantScenario refuses a command line that does not name one scenario.
func wantScenario(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s: want one scenario, not %d; see vipprobe lab list", cmd.CommandPath(), len(args))}
	}
	return nil
}

// start builds the scenario inside the private namespaces and returns what it should be named.
func (f *scenarioFlags) start(ctx context.Context, name string) (*lab.Running, lab.Label, error) {
	s, ok := lab.Find(name)
	if !ok {
		return nil, lab.Label{}, usageError{fmt.Errorf("lab: no scenario %q; see vipprobe lab list", name)}
	}
	if err := lab.CheckLoss(f.loss); err != nil {
		return nil, lab.Label{}, usageError{err}
	}
	s = s.WithLoss(f.loss / 100)
	set := map[string]string{}
	if f.near != "" {
		i := slices.IndexFunc(s.NearMisses, func(n lab.NearMiss) bool { return n.Name == f.near })
		if i < 0 {
			return nil, lab.Label{}, usageError{fmt.Errorf("lab: scenario %s has no near miss %q", name, f.near)}
		}
		maps.Copy(set, s.NearMisses[i].Set)
	}
	maps.Copy(set, f.set)
	run, err := s.Start(ctx, set)
	return run, s.LabelOf(set), err
}

// needsRoot reports whether every scenario that matches a pattern needs root.
func needsRoot(pattern string) bool {
	list, err := lab.List(pattern)
	return err == nil && len(list) > 0 && !slices.ContainsFunc(list, func(s lab.Scenario) bool { return s.Root == "" })
}

func labRunCommand() *cobra.Command {
	var f scenarioFlags
	var dir string
	cmd := &cobra.Command{
		Use: "run NAME", Short: "Build a scenario, diagnose its target from the client, and show what had been hidden", Args: wantScenario,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !topo.Inside() {
				return insideAs(cmd, os.Args[1:], needsRoot(args[0]))
			}
			run, label, err := f.start(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer run.Close()
			return labRun(cmd, run, label, dir)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&dir, "evidence", "", "have the diagnosis write its evidence to this new or empty directory")
	return cmd
}

func labRun(cmd *cobra.Command, run *lab.Running, label lab.Label, dir string) error {
	out := cmd.OutOrStdout()
	var flags []string
	if dir != "" {
		flags = []string{"--evidence", dir}
	}
	fmt.Fprintf(out, "$ vipprobe diagnose %s\n\n", strings.Join(append([]string{run.Target()}, flags...), " "))
	doc, err := runDiagnose(cmd.Context(), run, out, cmd.ErrOrStderr(), flags...)
	if err != nil {
		return err
	}
	named := verdicts(doc)
	slices.Sort(named)
	want := slices.Sorted(slices.Values(label.Verdicts))
	fmt.Fprintf(out, "scenario %s: %s\nhidden: %s   named: %s\n", run.Scenario.Name, paragraph("", run.Scenario.Story, 0), labels(want), labels(named))
	if loss := run.Scenario.Loss; loss > 0 {
		fmt.Fprintf(out, "added: %g %% random loss each way before the client\n", 100*loss)
	}
	if !label.Names(named) {
		return exitError(exitFinding)
	}
	return nil
}

func labShellCommand() *cobra.Command {
	var f scenarioFlags
	cmd := &cobra.Command{
		Use: "shell NAME", Short: "Build a scenario and open a shell on its client, to try any tool", Args: wantScenario,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !topo.Inside() {
				return insideAs(cmd, os.Args[1:], needsRoot(args[0]))
			}
			ctx := cmd.Context()
			run, _, err := f.start(ctx, args[0])
			if err != nil {
				return err
			}
			defer run.Close()
			fmt.Fprintf(cmd.OutOrStdout(), "%s\nYou are on the client. The target is %s, its real servers %v. Leave with exit.\n", paragraph("", run.Scenario.Story, 0),
				run.Target(), run.Members())
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			child := run.Client().Command(ctx, shell)
			child.Stdin, child.Stdout, child.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
			err = run.Client().Run(child)
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return exitError(exit.ExitCode())
			}
			return err
		},
	}
	f.register(cmd)
	return cmd
}
