package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// manCommand writes the manual's pages, for packages: one a command, vipprobe.1, vipprobe-probe.1, … Their date is that of the sources, so
// that the same sources give the same pages.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual's pages to a directory", Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("man: want one directory, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			version, _ := buildVersion()
			date := buildTime()
			literally(root)
			header := &doc.GenManHeader{Section: "1", Source: "vipprobe " + version, Manual: "vipprobe", Date: &date}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return usageError{fmt.Errorf("write the manual to %s: %w", args[0], err)}
			}
			return nil
		},
	}
}

// literally keeps what stands in the texts of a command and those below it from being read as Markdown, which the generator takes them for.
// It changes the commands: nothing else may be done with them.
func literally(cmd *cobra.Command) {
	escape := strings.NewReplacer(`\`, `\\`, "_", `\_`, "*", `\*`, "<", `\<`, "[", `\[`, "`", "\\`", "#", `\#`, "&", `\&`)
	cmd.Long = escape.Replace(cmd.Long)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = escape.Replace(f.Usage) })
	for _, c := range cmd.Commands() {
		literally(c)
	}
}

// buildTime is when the commit that was built was made; the beginning of 2026 where the toolchain recorded none.
func buildTime() time.Time {
	if at, err := time.Parse(time.RFC3339, buildSetting("vcs.time")); err == nil {
		return at.UTC()
	}
	return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
}
