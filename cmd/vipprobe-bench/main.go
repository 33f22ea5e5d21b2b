// Command vipprobe-bench measures vipprobe's engine beside its peers: zmap, masscan, hping3, nmap, nping and blackbox_exporter, whichever are
// installed, and net.Dialer. It runs all of them in turn between two network namespaces of its own and prints one table; it touches no other
// network. As root it takes about four minutes, and never more than -for; see -h. "vipprobe-bench scale" measures scheduled rounds of the engine against the number of targets,
// "vipprobe-bench service" the whole of vipprobe serve: with its results, a scrape, and readers of page and API.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/bench"
	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func main() {
	// The first thread must never be another host's: topo takes its namespace for home.
	runtime.LockOSThread()
	topo.MaybeChild()
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == workerName:
		os.Exit(worker(args[1:]))
	case len(args) > 0 && args[0] == bench.WorkerName:
		os.Exit(exit(bench.Worker(context.Background(), args[1:], os.Stdout)))
	case len(args) > 0 && args[0] == "scale":
		os.Exit(enter(func() int { return scale(args[1:]) }))
	case len(args) > 2 && args[0] == onCoreName:
		os.Exit(onCore(args[1:]))
	case len(args) > 0 && args[0] == "service":
		os.Exit(enter(func() int { return serviceBench(args[1:]) }))
	}
	o, output, err := options(args, os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	os.Exit(enter(func() int { return exit(run(o, output, os.Stdout)) }))
}

func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "vipprobe-bench:", err)
	return 3
}

func options(args []string, errs io.Writer) (o bench.Options, output string, err error) {
	f := flag.NewFlagSet("vipprobe-bench", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&output, "o", "table", "output: table or json")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds, 1 to 99")
	f.DurationVar(&o.For, "for", 5*time.Minute, "no longer than this in all: the last contestants of the last round are then left out, and said to be")
	only := f.String("only", "", "parts to run, separated by commas: "+strings.Join(bench.Parts(), ", "))
	quiet := f.Bool("q", false, "no progress on standard error")
	if err := f.Parse(args); err != nil {
		return o, "", err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	o.Progress = errs
	if *quiet {
		o.Progress = io.Discard
	}
	if err := check(&o, output, f.Args()); err != nil {
		fmt.Fprintln(errs, "vipprobe-bench:", err)
		return o, "", err
	}
	return o, output, nil
}

func check(o *bench.Options, output string, rest []string) error {
	for _, p := range o.Only {
		if !slices.Contains(bench.Parts(), p) {
			return fmt.Errorf("-only: no part %q; there are %s", p, strings.Join(bench.Parts(), ", "))
		}
	}
	switch {
	case output != "table" && output != "json":
		return fmt.Errorf("-o: %q is neither table nor json", output)
	case o.For < time.Second:
		return fmt.Errorf("-for: %s is less than a second", o.For)
	case o.Rounds < 1 || o.Rounds > 99:
		return fmt.Errorf("-rounds: %d is not within 1 and 99", o.Rounds)
	case len(rest) > 0:
		return fmt.Errorf("%q: no arguments are expected", rest[0])
	}
	return nil
}

func run(o bench.Options, output string, w io.Writer) error {
	if !topo.Inside() {
		return fmt.Errorf("private namespaces are needed: %w", topo.Supported())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	return write(report, output, w)
}

func write(r *figures.Report, output string, w io.Writer) error {
	if output == "json" {
		return r.WriteJSON(w)
	}
	return r.WriteTable(w)
}

// enter runs inside private namespaces; for root without a user namespace: the cores that a device is received on (rps_cpus) are root's to choose,
// and tcpdump insists on becoming another user.
func enter(run func() int) int {
	if topo.Inside() || os.Geteuid() != 0 {
		return topo.Enter(run)
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	topo.ReexecPrivileged(cmd)
	code, err := topo.Wait(cmd)
	return max(code, exit(err))
}
