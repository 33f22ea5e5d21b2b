package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func labScoreCommand() *cobra.Command {
	var o lab.ScoreOptions
	var output string
	var parallel, burst int
	var loss float64
	cmd := &cobra.Command{
		Use:   "score",
		Short: "Diagnose every scenario and near miss, and hold the answers against the labels",
		Long: "score runs every scenario and its near misses in networks of their own, lets `vipprobe diagnose` loose on each target, which knows nothing but\n" +
			"the address, and compares. Exit 1 when a diagnosis named a cause that is not there.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "table", "json", "junit":
			default:
				return usageError{fmt.Errorf("--output %q: want table, json or junit", output)}
			}
			if err := lab.CheckLoss(loss); err != nil {
				return usageError{err}
			}
			if o.Seeds < 1 || parallel < 0 {
				return usageError{fmt.Errorf("--seeds %d, --parallel %d: want 1 or more seeds, and 0 or more at once", o.Seeds, parallel)}
			}
			if !topo.Inside() {
				return insideAs(cmd, os.Args[1:], o.Only != "" && needsRoot(o.Only))
			}
			o.Parallel, o.Loss = parallel, loss/100
			o.Diagnose = lab.Exec(func(q lab.Question) []string { return sized(append(grants(q.Grants), exchanged(q.Exchange)...), burst) })
			if output == "table" {
				o.Progress = func(r lab.Row) { fmt.Fprintln(cmd.ErrOrStderr(), scored(&r)) }
			}
			report, err := lab.Score(cmd.Context(), o)
			if report != nil {
				if werr := writeScore(cmd, report, output, o.Pairs); werr != nil {
					return werr
				}
			}
			if err != nil {
				return err
			}
			if report.Failed() {
				return exitError(exitFinding)
			}
			return nil
		},
	}
	scoreFlags(cmd.Flags(), &o, &parallel, &loss, &output)
	cmd.Flags().IntVar(&burst, "burst", 0, "concurrent connections of a burst; 0: as diagnose has it by itself")
	return cmd
}

// scored is a row in a line, with how to run it again where it was not right.
func scored(r *lab.Row) string {
	line := fmt.Sprintf("%-12s %s %s", r.Result, r.Scenario, r.NearMiss)
	if r.Result == lab.Wrong || r.Result == lab.Inconclusive {
		line += fmt.Sprintf(": %s: %s", r.Why, r.Again())
	}
	return line
}

func scoreFlags(fs *pflag.FlagSet, o *lab.ScoreOptions, parallel *int, loss *float64, output *string) {
	fs.IntVar(&o.Seeds, "seeds", 1, "how many times everything is done, with seeds 1, 2, …")
	fs.IntVar(&o.FirstSeed, "first-seed", 1, "the first of them")
	fs.StringVar(&o.Only, "only", "", "shell pattern of scenario names")
	fs.StringVar((*string)(&o.Expect), "expect", "", "verdict: only scenarios and near misses labelled with it alone, as in --expect healthy --seeds 10")
	fs.StringToStringVar(&o.Set, "set", nil, "parameter=value, may be repeated: only scenarios that have it, and no near miss that sets it itself")
	fs.BoolVar(&o.Draw, "random-parameters", false, "draw the parameters of every row at random, by its seed, within the ranges that lab list shows: of the fault, "+
		"of the way to it, of the client's kernel; what is to be named follows them")
	fs.BoolVar(&o.Pairs, "pairs", false, "only the pairs of faults that people take for each other, with a table of how they were told apart")
	fs.BoolVar(&o.Slow, "slow", false, "also scenarios of a minute and more")
	fs.IntVar(parallel, "parallel", 0, "scenarios at once; 0: eight a processor, most of which wait")
	fs.Float64Var(loss, "loss", 0, "random loss of TCP segments each way before the client, in percent: each row draws 0 to this much; naming that "+
		"loss beside the right cause is right, naming it alone or nothing inconclusive")
	fs.StringVar(&o.Evidence, "evidence", "", "directory, made if need be, that keeps the evidence of every diagnosis that was not right: diagnose --from reads it")
	fs.StringVarP(output, "output", "o", "table", "table, json or junit")
}

func writeScore(cmd *cobra.Command, r *lab.Report, output string, pairs bool) error {
	switch output {
	case "json":
		return r.WriteJSON(cmd.OutOrStdout())
	case "junit":
		return r.WriteJUnit(cmd.OutOrStdout())
	}
	if err := r.WriteTable(cmd.OutOrStdout()); err != nil || !pairs {
		return err
	}
	return r.WritePairs(cmd.OutOrStdout())
}

// sized adds a burst size to the flags of a diagnosis; 0 leaves it to the diagnosis.
func sized(flags []string, burst int) []string {
	if burst == 0 {
		return flags
	}
	return append(flags, "--burst", strconv.Itoa(burst))
}
