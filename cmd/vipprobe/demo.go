package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// demoScenario is the fault that the demo builds.
const demoScenario = "arp-client"

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Build a faulty VIP in private namespaces, probe it, and name the cause; needs no root",
		Long: "demo builds a client, a balancer with a VIP (DNAT and masquerade) and two real servers out of network\n" +
			"namespaces that only this process sees, hides a fault in it, and lets `vipprobe diagnose` find it. Exit 0 when\n" +
			"the cause named is the fault that was hidden. Nothing is left behind.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if topo.Inside() {
				return demo(cmd, out)
			}
			fmt.Fprintln(out, "vipprobe demo: a VIP with a hidden fault, in private namespaces of this process …")
			return inside(cmd, os.Args[1:])
		},
	}
}

// inside runs this program again with args in private namespaces of its own, and passes its exit code on.
func inside(cmd *cobra.Command, args []string) error {
	return insideAs(cmd, args, false)
}

// insideAs is inside; privileged keeps root's own capabilities where the user has them, for scenarios that need them.
func insideAs(cmd *cobra.Command, args []string, privileged bool) error {
	privileged = privileged && os.Geteuid() == 0
	if !privileged {
		if err := topo.Supported(); err != nil {
			return err
		}
	}
	// An interrupt reaches the child as well, which ends by itself with what it has.
	child := exec.CommandContext(context.WithoutCancel(cmd.Context()), "/proc/self/exe", args...)
	child.Args[0] = os.Args[0]
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
	if privileged {
		topo.ReexecPrivileged(child)
	} else {
		topo.Reexec(child)
	}
	code, err := topo.Wait(child)
	if err != nil {
		return err
	}
	if code != exitPass {
		return exitError(code)
	}
	return nil
}

// demo builds the scenario, diagnoses its VIP as a user would, and holds the answer against what was hidden.
func demo(cmd *cobra.Command, out io.Writer) error {
	ctx := cmd.Context()
	sc, ok := lab.Find(demoScenario)
	if !ok {
		return fmt.Errorf("demo: the lab has no scenario %s", demoScenario)
	}
	run, err := sc.Start(ctx, nil)
	if err != nil {
		return err
	}
	defer run.Close()
	fmt.Fprintf(out, "built: a client, a balancer with the VIP %s, real servers %v\n$ vipprobe diagnose %s\n\n", run.Target(), run.Members(), run.Target())
	doc, err := runDiagnose(ctx, run, out, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	named := verdicts(doc)
	want := sc.Label.Verdicts
	if !slices.Equal(named, want) {
		fmt.Fprintf(out, "What had been hidden: %v. Named: %v. That is not the same.\n", want, named)
		return exitError(exitFinding)
	}
	fmt.Fprintf(out, "\nWhat had been hidden: %s\n%s\nThe cause that was named is the fault that was hidden. More: vipprobe lab list\n",
		want[0], paragraph("", sc.Story, 0))
	return nil
}

// partingTime is how long a diagnosis that is interrupted may take for its partial report.
const partingTime = 5 * time.Second

// runDiagnose runs `vipprobe diagnose` on the client of a running scenario, with more flags where the user gave some; it sees the target's
// address and nothing else.
func runDiagnose(ctx context.Context, run *lab.Running, out, progress io.Writer, flags ...string) (view.Document, error) {
	var doc view.Document
	r, w, err := os.Pipe()
	if err != nil {
		return doc, fmt.Errorf("open a pipe for the result: %w", err)
	}
	defer r.Close()
	args := append([]string{"diagnose", run.Target(), "--verbose", "--json-fd", "3"}, grants(run.Scenario.Grants)...)
	for _, m := range run.Question().Members {
		args = append(args, "--member", m)
	}
	args = append(append(args, exchanged(run.Question().Exchange)...), flags...)
	asking, stop, err := lab.Depose(ctx, run.Question().Deponents)
	if err != nil {
		return doc, err
	}
	defer stop()
	args = append(args, asking...)
	child := run.Client().Command(ctx, "/proc/self/exe", args...)
	child.Args[0] = os.Args[0]
	child.Stdout, child.Stderr, child.ExtraFiles = out, progress, []*os.File{w}
	child.Cancel, child.WaitDelay = func() error { return child.Process.Signal(os.Interrupt) }, partingTime
	if err := run.Client().Start(child); err != nil {
		return doc, errors.Join(fmt.Errorf("start diagnose on the client: %w", err), w.Close())
	}
	if err := w.Close(); err != nil {
		return doc, fmt.Errorf("close the pipe: %w", err)
	}
	decodeErr := json.NewDecoder(r).Decode(&doc)
	err = child.Wait()
	if ctx.Err() != nil {
		return doc, exitError(exitInterrupted)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return doc, fmt.Errorf("run diagnose on the client: %w", err)
	}
	if decodeErr != nil {
		return doc, fmt.Errorf("diagnose on the client gave no result: %w", errors.Join(decodeErr, err))
	}
	return doc, nil
}

// exchanged are the flags by which the owner of a target says what its service exchanges.
func exchanged(way string) []string {
	if way == "" {
		return nil
	}
	return []string{"--transfer", way}
}

// grants are the flags by which the owner of a target allows what can hurt; the lab owns its targets.
func grants(list []lab.Grant) []string {
	var flags []string
	for _, g := range list {
		switch g {
		case lab.GrantPrime:
			flags = append(flags, "--i-own-this-path")
		case lab.GrantHeal:
			flags = append(flags, "--heal")
		case lab.GrantControl:
			flags = append(flags, "--control-source", lab.ControlSource)
		case lab.GrantHold:
			flags = append(flags, "--hold", "64")
		case lab.GrantHalfOpen:
			flags = append(flags, "--backlog", "160")
		case lab.GrantForget:
			flags = append(flags, "--forget-neighbor")
		case lab.GrantBacklog:
		}
	}
	return flags
}

func verdicts(doc view.Document) []diagnose.Verdict {
	var named []diagnose.Verdict
	for i := range doc.Rounds {
		if d := doc.Rounds[i].Diagnosis; d != nil && !doc.Rounds[i].Member {
			for k := range d.Causes {
				named = append(named, diagnose.Verdict(d.Causes[k].Verdict))
			}
		}
	}
	return named
}
