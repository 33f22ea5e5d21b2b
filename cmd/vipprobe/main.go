// Vipprobe finds out from outside why connections to a VIP stall, and proves it. This package is wiring and the command line only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// Exit codes, the same for every command.
const (
	exitPass         = 0
	exitFinding      = 1
	exitUsage        = 2
	exitEnvironment  = 3
	exitInconclusive = 4
	exitInterrupted  = 130
)

// exitError carries an exit code that is no error to print.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func main() {
	topo.MaybeChild()
	os.Exit(run())
}

// run is the program: its arguments, its signals, its exit code. The first signal ends what is under way with a partial report. Another one
// ends the process, but not within a second: a terminal's Ctrl-C reaches a child twice, by itself and through its parent.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	disarm := context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	defer disarm()
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// execute runs the command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &code):
		return int(code)
	}
	complain(stderr, err)
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return exitCode(err)
}

// complain prints an error, each of its lines with the program's name in front.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "vipprobe: %s\n", strings.TrimSuffix(line, "\n"))
	}
}

// exitCode maps an error to its class: what this machine or its network denies is 3, everything else that went wrong is the caller's.
func exitCode(err error) int {
	var usage usageError
	var env *prober.EnvironmentError
	var paused *prober.PausedError
	var unsupported *topo.Unsupported
	var lookup *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &env), errors.As(err, &paused), prober.Replayed(err), errors.As(err, &unsupported), errors.Is(err, os.ErrPermission):
		return exitEnvironment
	case errors.As(err, &lookup):
		if lookup.IsNotFound {
			return exitUsage
		}
		return exitEnvironment
	case errors.As(err, &errno):
		return exitEnvironment
	}
	return exitUsage
}

func rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "vipprobe",
		Short: "Find out why connections to a VIP stall, and prove it",
		Long: "vipprobe opens bursts of concurrent connections to VIPs and real servers, times every handshake on the wire,\n" +
			"counts lost SYNs, and names the cause of stalls with its evidence.",
		Version:      versionLine(),
		SilenceUsage: true, SilenceErrors: true,
	})
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", lineWidth)))
	root.AddCommand(probeCommand(), diagnoseCommand(), sweepCommand(), profileCommand(), validateCommand(), explainCommand(), demoCommand(), serveCommand(), watchCommand(), doctorCommand(), labCommand(), targetsCommand(), manCommand(), versionCommand())
	return root
}
