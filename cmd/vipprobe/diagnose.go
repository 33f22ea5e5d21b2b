package main

import (
	"context"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
)

func diagnoseCommand() *cobra.Command {
	var f probeFlags
	var o prober.DiagnoseOptions
	cmd := &cobra.Command{
		Use:   "diagnose TARGET...",
		Short: "Run experiments until the cause of stalls is named or ruled out",
		Long: "diagnose begins with a burst of ordinary connects, and goes on with the experiments that separate the causes left, until one is\n" +
			"proven, all are ruled out, or its time is spent. Exit 0: healthy; 1: a cause is named; 4: inconclusive.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.checkOutput(); err != nil {
				return err
			}
			return f.diagnose(cmd, args, o)
		},
	}
	f.register(cmd)
	cmd.Flags().Float64Var(&o.Seconds, "max-seconds", 60, "time for a whole diagnosis")
	cmd.Flags().BoolVar(&o.MayPrime, "i-own-this-path", false, "nobody else reaches the target from this source address: permits connections that the server "+
		"closes first, after which a server with per-host PAWS refuses older clocks from this address for a minute")
	return cmd
}

func (f *probeFlags) diagnose(cmd *cobra.Command, args []string, o prober.DiagnoseOptions) error {
	f.module, f.count, f.ladder = "connect", 1, "kernel"
	m, err := f.selectModule(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	p, err := f.open(ctx, args)
	if err != nil {
		return err
	}
	o.Module = m
	results := diagnoseAll(ctx, p, args, o)
	if err := p.Close(); err != nil {
		return err
	}
	err = f.report(cmd, ctx, results, func(w io.Writer) error { return renderDiagnosis(w, results) })
	if err != nil && !isFinding(err) {
		return err
	}
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	if code := diagnoseExit(results); code != exitPass {
		return exitError(code)
	}
	return nil
}

func isFinding(err error) bool {
	code, ok := err.(exitError)
	return ok && int(code) != exitInterrupted
}

func diagnoseAll(ctx context.Context, p *prober.Prober, targets []string, o prober.DiagnoseOptions) []result {
	results := make([]result, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			rounds, err := p.Diagnose(ctx, t, o)
			results[i] = result{target: t, rounds: rounds, err: err}
		})
	}
	wg.Wait()
	return results
}

// diagnoseExit: any named cause but health is a finding; nothing named at all is inconclusive.
func diagnoseExit(results []result) int {
	code := exitPass
	for _, r := range results {
		if r.err != nil {
			code = max(code, exitCode(r.err))
		}
		for i := range r.rounds {
			switch round := &r.rounds[i]; {
			case round.Err != nil:
				code = max(code, exitCode(round.Err))
			case round.Diagnosis.Healthy():
			case len(round.Diagnosis.Causes) > 0:
				return exitFinding
			default:
				code = max(code, exitInconclusive)
			}
		}
	}
	return code
}
