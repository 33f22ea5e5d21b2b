// Vipprobe finds out from outside why connections to a VIP stall, and proves it. This package is wiring and the command line only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
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
	fmt.Fprintf(stderr, "vipprobe: %v\n", err)
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return exitCode(err)
}

// exitCode maps an error to its class.
func exitCode(err error) int {
	var env *prober.EnvironmentError
	var unsupported *topo.Unsupported
	if errors.As(err, &env) || errors.As(err, &unsupported) || errors.Is(err, os.ErrPermission) {
		return exitEnvironment
	}
	return exitUsage
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "vipprobe",
		Short: "Find out why connections to a VIP stall, and prove it",
		Long: "vipprobe opens bursts of concurrent connections to VIPs and real servers, times every handshake on the wire, counts lost SYNs,\n" +
			"and names the cause of stalls with its evidence.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(probeCommand(), diagnoseCommand(), demoCommand(), serveCommand(), doctorCommand(), labCommand(), versionCommand())
	return root
}
