package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// serviceListen is where the service listens, on the loopback of the client's namespace.
const serviceListen = "127.0.0.1:19115"

// serveRow measures one service from its start to its end.
func serveRow(ctx context.Context, client *topo.Host, r serviceRun) (s *served, err error) {
	if r.dir, err = os.MkdirTemp("", "vipprobe-service"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.dir)
	config := filepath.Join(r.dir, "vipprobe.yml")
	if err := os.WriteFile(config, r.config(), 0o600); err != nil {
		return nil, err
	}
	if err := keepOff(0); err != nil {
		return nil, err
	}
	args := []string{onCoreName, "0", r.program, "serve", "--config.file", config, "--web.listen-address", serviceListen, "--log.level", "warn"}
	if r.profile != "" {
		args = append(args, "--web.enable-pprof")
	}
	cmd := client.Command(ctx, "/proc/self/exe", args...)
	cmd.Stderr = os.Stderr
	fmt.Fprintf(os.Stderr, "%d targets × %d every %s…\n", r.Targets, r.Burst, r.Interval)
	if err := client.Start(cmd); err != nil {
		return nil, err
	}
	s, err = measureService(ctx, client, cmd, r)
	if e := stop(cmd); err == nil {
		err = e
	}
	return s, err
}

// stop ends a service as its supervisor would.
func stop(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("end of the service: %w", err)
	}
	return nil
}

// keepOff keeps this process off a core, where there is another.
func keepOff(core int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	if set.Count() < 2 {
		return nil
	}
	set.Clear(core)
	return bindAll(&set)
}

// config has all targets in a file of their own, as service discovery would.
func (r *serviceRun) config() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `allow: [10.64.0.0/10]
metrics_detail: %s
limits: {per_target_rate: 1000000, per_target_burst: 1000000, global_rate: 1000000, global_burst: 1000000, half_open: %d, unanswered: 1000000}
results: {path: %s}
modules:
  raw: {prober: syn, burst: %d, timeout: %s}
jobs:
  - name: fleet
    module: raw
    interval: %s
    targets:
`, r.Detail, max(16, r.Burst), strconv.Quote(r.file()), r.Burst, min(2*time.Second, r.Interval), r.Interval)
	alive, silent := netip.MustParsePrefix(prefix).Addr(), netip.MustParsePrefix(dark).Addr()
	for i := range r.Targets {
		a := &alive
		if i%100 < r.Dark {
			a = &silent
		}
		*a = a.Next()
		fmt.Fprintf(&b, "      - %s\n", netip.AddrPortFrom(*a, port))
	}
	return b.Bytes()
}

func (r *serviceRun) file() string { return filepath.Join(r.dir, "results.db") }

// measureService waits until the service turns, and takes figures before and after the span.
func measureService(ctx context.Context, client *topo.Host, cmd *exec.Cmd, r serviceRun) (*served, error) {
	s := &served{serviceRun: r}
	rd := newReader(client, r.Targets)
	if err := rd.ready(ctx); err != nil {
		return nil, err
	}
	wait(ctx, r.Warm)
	before, err := rd.metrics(ctx)
	if err != nil {
		return nil, err
	}
	reading, enough := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { rd.scrapes(reading) })
	if r.Readers {
		rd.read(reading, &wg)
	}
	if r.profile != "" {
		wg.Go(func() { rd.profiles(ctx, &r) })
	}
	u0, err := usageOf(cmd.Process.Pid)
	if err != nil {
		enough()
		return nil, err
	}
	wait(ctx, r.Span)
	u1, err := usageOf(cmd.Process.Pid)
	enough()
	wg.Wait()
	if err != nil {
		return nil, err
	}
	after, err := rd.metrics(ctx)
	if err != nil {
		return nil, err
	}
	s.User, s.System = u1.user-u0.user, u1.system-u0.system
	s.RSS, s.Peak = u1.rss, u1.peak
	if s.Wrong, err = rd.wrongs(ctx); err != nil && !errors.Is(err, errLater) {
		return nil, err
	}
	s.tell(before, after)
	rd.tell(s)
	if st, err := os.Stat(r.file()); err == nil {
		s.File = st.Size()
	}
	load, err := os.ReadFile("/proc/loadavg")
	s.Load, _, _ = strings.Cut(string(load), " ")
	return s, err
}

// ready waits until the service answers.
func (rd *reader) ready(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for rd.ask(limit, "/-/ready", nil, io.Discard) != nil {
		if wait(limit, 50*time.Millisecond); limit.Err() != nil {
			return errors.New("the service did not become ready within a minute")
		}
	}
	return nil
}

// usage is what a process has used until now.
type usage struct {
	times
	rss, peak int64 // KiB
}

// usageOf reads /proc/PID/stat, whose fields 14 and 15 are user and system time in ticks of a hundredth of a second (proc_pid_stat(5)), and status.
func usageOf(pid int) (u usage, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("the service is gone: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond // behind the name, which ends the second field
	if len(fields) <= stime {
		return u, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	for i, to := range map[int]*time.Duration{utime: &u.user, stime: &u.system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		*to = time.Duration(n) * tick
	}
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("the service is gone: %w", err)
	}
	defer status.Close()
	for sc := bufio.NewScanner(status); sc.Scan(); {
		name, rest, _ := strings.Cut(sc.Text(), ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.rss = n
		case "VmHWM":
			u.peak = n
		}
	}
	return u, nil
}

// dialer connects inside of the client's namespace.
func dialer(client *topo.Host) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = client.Do(func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}
}
