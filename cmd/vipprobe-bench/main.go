// Command vipprobe-bench measures vipprobe in private network namespaces, and prints what it found. It needs no privilege where the kernel
// permits user namespaces, and touches nothing outside of them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

const usage = `usage: vipprobe-bench scale [flags]

scale   the cost of scheduled rounds against the number of targets, and of SYNs in flight
`

func main() {
	// The first thread must never be another host's: topo takes its namespace for home.
	runtime.LockOSThread()
	topo.MaybeChild()
	if len(os.Args) > 1 && os.Args[1] == workerName {
		os.Exit(worker(os.Args[2:]))
	}
	if len(os.Args) < 2 || os.Args[1] != "scale" {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(enter(func() int { return scale(os.Args[2:]) }))
}

// enter runs inside private namespaces; for root without a user namespace, because the cores that a device is received on (rps_cpus) are root's
// to choose.
func enter(run func() int) int {
	if topo.Inside() || os.Geteuid() != 0 {
		return topo.Enter(run)
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	topo.ReexecPrivileged(cmd)
	code, err := topo.Wait(cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}
