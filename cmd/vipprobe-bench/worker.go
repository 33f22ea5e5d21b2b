package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/targets"
)

// workerName is the argument of the process that is measured.
const workerName = "scale-worker"

// worker is a prober like the service's, with one job, on one core.
func worker(args []string) int {
	var r scaleRun
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &r) != nil {
		fmt.Fprintln(os.Stderr, "vipprobe-bench: a worker was started by hand")
		return 2
	}
	runtime.GOMAXPROCS(2) // on one core: what collects metrics and what probes take turns as the kernel has them
	var one unix.CPUSet
	one.Set(r.CPU)
	if err := bindAll(&one); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	s, err := measured(&r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return 1
	}
	return 0
}

// bindAll keeps every thread of this process to the cores of the set: those that begin later have what the thread has that begins them.
func bindAll(set *unix.CPUSet) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has ended meanwhile
			return fmt.Errorf("bind to one core: %w", err)
		}
	}
	return nil
}

// job is what is measured.
func (r *scaleRun) job() prober.Job {
	m, _ := prober.BuiltinModule(prober.KindSYN)
	m.Burst = r.Burst
	if r.Dark {
		m.Timeout = 35 * time.Second
	}
	j := prober.Job{Name: "scale", Module: m, Interval: r.Interval, Targets: make([]string, r.Targets)}
	base := prefix
	if r.Dark {
		base = dark
	}
	a := netip.MustParsePrefix(base).Addr().Next()
	for i := range j.Targets {
		j.Targets[i] = netip.AddrPortFrom(a, port).String()
		a = a.Next()
	}
	return j
}

func measured(r *scaleRun) (*scaled, error) {
	allow, err := prober.ParseAllow([]string{"10.64.0.0/10"})
	if err != nil {
		return nil, err
	}
	const plenty = 1e7
	p, err := prober.New(prober.Options{Allow: allow, EngineOptions: prober.EngineOptions{InFlight: 1 << 19, RingBytes: 64 << 20, Limits: prober.Limits{
		PerTargetRate: plenty, PerTargetBurst: plenty, GlobalRate: plenty, GlobalBurst: plenty, HalfOpen: max(r.Burst, 16), Unanswered: plenty}}})
	if err != nil {
		return nil, err
	}
	if err := p.Host().CaptureError; err != nil {
		return nil, fmt.Errorf("no capture: %w", err)
	}
	m := api.NewMetrics(api.MetricsOptions{Version: "bench", Detail: targets.Detail(detail(r.Scrape))})
	c := &counting{Metrics: m, keep: r.Scrape != "off"}
	s := &scaled{scaleRun: *r}
	s.Idle = resident()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Schedule(ctx, []prober.Job{r.job()}, c) })
	wait(ctx, r.Warm)
	c.begin()
	before := usage0()
	drops := p.Capture()
	wg.Go(func() { c.scrape(ctx, s) })
	if r.Dark {
		s.InFlight = watch(ctx, p, r.Span)
	} else {
		wait(ctx, r.Span)
	}
	after := usage0()
	c.end(s)
	s.User, s.System = after.user-before.user, after.system-before.system
	s.Drops = p.Capture().Drops - drops.Drops
	s.RSS = resident()
	cancel()
	wg.Wait()
	return s, p.Close()
}

func detail(scrape string) string {
	if scrape == "off" {
		return "none"
	}
	return scrape
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// watch is the most SYNs in flight that were seen within d.
func watch(ctx context.Context, p *prober.Prober, d time.Duration) (most int) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		wait(ctx, 50*time.Millisecond)
		most = max(most, p.Capture().InFlight)
	}
	return most
}

// counting is a sink that counts what it hands on.
type counting struct {
	*api.Metrics
	keep                                  bool
	on                                    atomic.Bool
	rounds, probes, answers, ill, skipped atomic.Int64
	mu                                    sync.Mutex
	lags                                  []time.Duration
}

func (c *counting) begin() { c.on.Store(true) }

func (c *counting) end(s *scaled) {
	c.on.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.lags)
	rank := func(q float64) time.Duration {
		if len(c.lags) == 0 {
			return 0
		}
		return c.lags[int(q*float64(len(c.lags)-1))]
	}
	s.LagP50, s.LagP99, s.LagMax = rank(.5), rank(.99), rank(1)
	s.Rounds, s.Probes, s.Ill, s.Skipped = int(c.rounds.Load()), int(c.probes.Load()), int(c.ill.Load()), int(c.skipped.Load())
	s.Healthy = s.Rounds - s.Ill
	if s.Probes > 0 {
		s.Seen = float64(c.answers.Load()) / float64(s.Probes)
	}
}

// Healthy implements prober.Sink.
func (c *counting) Healthy(job, module string, labels map[string]string, h *prober.Healthy) {
	if c.keep {
		c.Metrics.Healthy(job, module, labels, h)
	}
	if c.on.Load() {
		c.rounds.Add(1)
		c.probes.Add(int64(h.Connections))
		c.answers.Add(int64(h.Connections))
	}
}

// Observe implements prober.Sink.
func (c *counting) Observe(job, module string, labels map[string]string, rounds []prober.Round) {
	if c.keep {
		c.Metrics.Observe(job, module, labels, rounds)
	}
	if !c.on.Load() {
		return
	}
	for i := range rounds {
		s := prober.Summarize(rounds[i].Attempts())
		c.rounds.Add(1)
		c.ill.Add(1)
		c.probes.Add(int64(s.Attempts))
		c.answers.Add(int64(s.Outcomes[observe.Accepted]))
	}
}

// Lag implements prober.Sink.
func (c *counting) Lag(d time.Duration) {
	if c.keep {
		c.Metrics.Lag(d)
	}
	if c.on.Load() {
		c.mu.Lock()
		c.lags = append(c.lags, d)
		c.mu.Unlock()
	}
}

// Skipped implements prober.Sink.
func (c *counting) Skipped(job string, why prober.Skip) {
	if c.keep {
		c.Metrics.Skipped(job, why)
	}
	if c.on.Load() {
		c.skipped.Add(1)
	}
}

// scrape writes the metrics as text every 15 s.
func (c *counting) scrape(ctx context.Context, s *scaled) {
	if !c.keep {
		return
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(c.Metrics)
	wait(ctx, 2*time.Second)
	for ctx.Err() == nil {
		began := time.Now()
		families, err := reg.Gather()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		n := 0
		enc := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
		for _, f := range families {
			n += len(f.GetMetric())
			_ = enc.Encode(f) // io.Discard takes everything
		}
		s.Scrapes++
		s.ScrapeTime += time.Since(began)
		s.Series = n
		wait(ctx, 15*time.Second)
	}
}

type times struct{ user, system time.Duration }

func usage0() times {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return times{time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())}
}

// resident is VmRSS, in KiB.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
