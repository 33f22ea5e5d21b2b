package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/evidence"
)

// replay judges the observations of a bundle again, without a network, and prints the report.
func (f *probeFlags) replay(cmd *cobra.Command, args []string, from string) error {
	if err := f.checkOutput(); err != nil {
		return err
	}
	if len(args) > 0 {
		return usageError{fmt.Errorf("--from: the targets are those of %s; %q is not asked for", from, args[0])}
	}
	var wrong error
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if !slices.Contains([]string{"from", "output", "json-fd", "verbose", "explain"}, flag.Name) && wrong == nil {
			wrong = usageError{fmt.Errorf("--%s: has no place beside --from, which probes nothing", flag.Name)}
		}
	})
	if wrong != nil {
		return wrong
	}
	s, err := evidence.Read(from)
	if err != nil {
		return usageError{fmt.Errorf("--from: %w", err)}
	}
	out := f.sink(cmd)
	var results []result
	for _, r := range prober.Replay(s.Rounds) {
		results = append(results, result{target: r.Target, rounds: []prober.Round{r}})
		out.done(&results[len(results)-1])
	}
	return out.finish(cmd.Context(), results, diagnoseExit(results), f.report(results))
}
