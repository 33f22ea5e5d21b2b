package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/targets"
	"github.com/vipprobe/vipprobe/targets/discovery"
)

func targetsCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "targets", Short: "Check and list the targets of a configuration, and import them from load balancers"})
	cmd.AddCommand(targetsCheckCommand(), targetsListCommand(), targetsImportCommand())
	return cmd
}

func targetsCheckCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "check", Short: "Read a configuration, and say what is wrong with it by line and column", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := targets.Load(file)
			if err != nil {
				return usageError{err}
			}
			for _, w := range c.Warnings() {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d modules, %d jobs\n", file, len(c.ModuleNames()), len(c.Jobs()))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config.file", "vipprobe.yml", "configuration file")
	return cmd
}

// listFlags are those of targets list.
type listFlags struct {
	file, output, shard string
	wait                time.Duration
}

func targetsListCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what the jobs would probe, after discovery and relabelling, and what they would not",
		Long: "list runs the discovery of every job until each block has found something, relabels that, and shows it. It probes nothing.\n" +
			"It exits 3 where a block has found nothing in time.",
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.file, "config.file", "vipprobe.yml", "configuration file")
	fs.StringVarP(&f.output, "output", "o", "table", "table or json")
	fs.DurationVar(&f.wait, "wait", 10*time.Second, "how long to wait for discovery")
	fs.StringVar(&f.shard, "shard", "", "only this part, INDEX/COUNT")
	return cmd
}

func (f *listFlags) list(cmd *cobra.Command) error {
	if f.output != "table" && f.output != "json" {
		return usageError{fmt.Errorf("--output %q: want table or json", f.output)}
	}
	shard := targets.Shard{}
	if f.shard != "" {
		var err error
		if shard, err = targets.ParseShard(f.shard); err != nil {
			return usageError{fmt.Errorf("--shard: %w", err)}
		}
	}
	c, err := targets.Load(f.file)
	if err != nil {
		return usageError{err}
	}
	found, err := discovered(cmd.Context(), c, f.wait, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = listJSON(cmd.OutOrStdout(), found, shard)
	} else {
		err = listTable(cmd.OutOrStdout(), found, shard)
	}
	if err != nil {
		return err
	}
	for i := range found {
		if found[i].Waiting > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "job %s: %d of its discovery blocks found nothing within %s\n", found[i].Job.Name, found[i].Waiting, f.wait)
			err = exitError(exitEnvironment)
		}
	}
	return err
}

// discovered runs the discovery of a configuration until every block has found something, or the time is over.
func discovered(ctx context.Context, c *targets.Config, wait time.Duration, stderr io.Writer) ([]discovery.Found, error) {
	changed := make(chan struct{}, 1)
	d, err := discovery.New(discovery.Options{Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := d.Apply(c.Jobs()); err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		found := d.Found()
		if !slices.ContainsFunc(found, func(f discovery.Found) bool { return f.Waiting > 0 }) {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return d.Found(), nil
		}
	}
}

// listed is a target as JSON.
type listed struct {
	Job    string            `json:"job"`
	Target string            `json:"target"`
	Labels map[string]string `json:"labels,omitempty"`
	// Dropped says why it is not probed; empty: it is.
	Dropped string `json:"dropped,omitempty"`
	Why     string `json:"why,omitempty"`
}

func listings(found []discovery.Found, shard targets.Shard) []listed {
	out := []listed{}
	for i := range found {
		job := found[i].Job.Name
		for _, t := range found[i].Targets {
			if shard.Has(t.Address) {
				out = append(out, listed{Job: job, Target: t.Address, Labels: t.Labels})
			}
		}
		for _, x := range found[i].Dropped {
			out = append(out, listed{Job: job, Target: x.Address, Labels: x.Labels, Dropped: string(x.Why), Why: x.Text})
		}
	}
	return out
}

func listJSON(w io.Writer, found []discovery.Found, shard targets.Shard) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(listings(found, shard))
}

func listTable(w io.Writer, found []discovery.Found, shard targets.Shard) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "job\ttarget\tlabels")
	for _, l := range listings(found, shard) {
		text := spelledLabels(l.Labels)
		if l.Dropped != "" {
			text = "not probed: " + l.Why
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", l.Job, l.Target, text)
	}
	return tw.Flush()
}

func spelledLabels(l map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, fmt.Sprintf("%s=%q", k, l[k]))
	}
	return strings.Join(parts, " ")
}
