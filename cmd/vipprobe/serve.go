package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
	"github.com/vipprobe/vipprobe/targets/discovery"
)

type serveFlags struct {
	config, webConfig, logLevel string
	listen                      []string
	systemdSocket               bool
	noCapture                   bool
	shard                       string
	reloadEvery                 time.Duration
	pprof                       bool
	storage                     storageFlags
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve /probe and /metrics, and probe the configuration's jobs on schedule",
		Long: "serve answers /probe as blackbox_exporter does, probes the jobs of its configuration, and exposes what it sees\n" +
			"on /metrics. What rounds gave is kept and served under /api/v1, as /openapi.json describes it.\n" +
			"Only targets on the configuration's allow: list are probed. SIGHUP, or POST /-/reload, reads the configuration\n" +
			"anew; a bad file keeps the old one.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shareCore()
			return f.serve(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config.file", "vipprobe.yml", "configuration file")
	fs.StringSliceVar(&f.listen, "web.listen-address", []string{api.DefaultListen}, "address to listen on, may be repeated")
	fs.StringVar(&f.webConfig, "web.config.file", "", "TLS and authentication of the listener, as Prometheus' exporter-toolkit has it")
	fs.BoolVar(&f.systemdSocket, "web.systemd-socket", false, "take the listener from systemd")
	fs.StringVar(&f.logLevel, "log.level", "info", "debug, info, warn or error")
	fs.BoolVar(&f.noCapture, "no-capture", false, "do not open a capture ring, even where it is permitted")
	fs.StringVar(&f.shard, "shard", "", "probe only this service's part of the jobs' targets, INDEX/COUNT: as hashmod of __address__ in Prometheus")
	fs.DurationVar(&f.reloadEvery, "config.auto-reload-interval", 0, "look this often whether the configuration file has changed, and read it anew; 0: never")
	fs.BoolVar(&f.pprof, "web.enable-pprof", false, "serve the profiles of this process under /debug/pprof/")
	f.storage.register(fs)
	return cmd
}

// shareCore lets the kernel share a single core among all that the service does, unless the environment says how many threads are to run: Go's own
// scheduler lets whoever sorts a long list or writes results run for 10 ms before the schedule's turn comes (runtime/proc.go forcePreemptNS, Go 1.26); in the
// kernel's, a thread that has slept until its time goes before those that have not.
func shareCore() {
	if runtime.GOMAXPROCS(0) == 1 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2)
	}
}

// service is serve in execution: the configuration in force, and what depends on it.
type service struct {
	flags    *serveFlags
	config   atomic.Pointer[targets.Config]
	prober   *prober.Prober
	metrics  *api.Metrics
	results  *results.Store
	rec      *record.Recorder
	log      zerolog.Logger
	schedule *prober.Schedule
	// testimony is what is told of this host; nil: nothing.
	testimony atomic.Pointer[api.Testimony]
	shard     targets.Shard
	discovery *discovery.Discovery
	arranging sync.Mutex
	jobs      atomic.Pointer[[]targets.Job] // those that are scheduled here, in parts
	over      supervisor
}

func (f *serveFlags) serve(ctx context.Context, stderr io.Writer) error {
	level, shard, err := f.read(ctx)
	if err != nil {
		return usageError{err}
	}
	over, err := supervised()
	if err != nil {
		return usageError{err}
	}
	s := &service{flags: f, shard: shard, over: over, log: zerolog.New(stderr).Level(level).With().Timestamp().Logger()}
	cfg, err := targets.Load(f.config)
	if err != nil {
		return usageError{err}
	}
	if _, err := f.storage.apply(cfg.Results()); err != nil {
		return err
	}
	s.config.Store(cfg)
	version, revision := buildVersion()
	s.metrics = api.NewMetrics(api.MetricsOptions{Version: version, Revision: revision})
	s.metrics.SetDetail(cfg.MetricsDetail())
	s.metrics.Reloaded(time.Now(), nil)
	opts := prober.Options{Allow: cfg.Allow()}
	opts.Limits, opts.SourcePorts, opts.NoCapture = cfg.Limits(), cfg.SourcePorts(), f.noCapture
	if s.prober, err = prober.New(opts); err != nil {
		return err
	}
	s.metrics.SetCapture(s.prober.Capture)
	if err := s.testify(cfg); err != nil {
		return errors.Join(usageError{err}, s.prober.Close())
	}
	s.sayReady(cfg)
	if err := s.openResults(ctx); err != nil {
		return errors.Join(err, s.prober.Close())
	}
	s.rec = record.New(s.results, s.origin(), func(err error) { s.log.Error().Err(err).Msg("result not kept whole") })
	s.schedule = s.prober.NewSchedule(sinks{s.metrics, s.rec})
	if err := s.discover(cfg); err != nil {
		return errors.Join(usageError{err}, s.prober.Close(), s.results.Close())
	}
	err = s.run(ctx)
	s.discovery.Close()
	return errors.Join(err, s.prober.Close(), s.results.Close())
}

// read reads the flags, and refuses what can be seen to be wrong before anything is opened.
func (f *serveFlags) read(ctx context.Context) (level zerolog.Level, shard targets.Shard, err error) {
	if level, err = zerolog.ParseLevel(f.logLevel); err != nil {
		return level, shard, fmt.Errorf("--log.level %q: want debug, info, warn or error", f.logLevel)
	}
	if f.shard != "" {
		if shard, err = targets.ParseShard(f.shard); err != nil {
			return level, shard, fmt.Errorf("--shard: %w", err)
		}
	}
	if f.reloadEvery < 0 {
		return level, shard, fmt.Errorf("--config.auto-reload-interval %s: want 0, which is never, or more", f.reloadEvery)
	}
	for _, at := range f.listen {
		if strings.HasPrefix(at, "vsock://") { // the toolkit has these too
			continue
		}
		_, port, err := net.SplitHostPort(at)
		if err == nil {
			_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
		}
		if err != nil {
			return level, shard, fmt.Errorf("--web.listen-address %q: want ADDR:PORT, or :PORT for every address: %w", at, err)
		}
	}
	if err := web.Validate(f.webConfig); err != nil {
		return level, shard, fmt.Errorf("--web.config.file: %w", err)
	}
	return level, shard, nil
}

// sayReady logs what this machine is like and what the configuration may not have meant.
func (s *service) sayReady(cfg *targets.Config) {
	host := s.prober.Host()
	s.log.Info().Str("kernel", host.Kernel).Stringer("ladder", host.Ladder).Stringer("source_ports", host.SourcePorts).AnErr("capture", host.CaptureError).
		Msg("prober ready")
	for _, w := range cfg.Warnings() {
		s.log.Warn().Str("file", cfg.Name()).Msg(w)
	}
}

// run serves until ctx ends: HTTP, schedule and SIGHUP, each waited for.
func (s *service) run(ctx context.Context) error {
	version, _ := buildVersion()
	server, err := api.New(api.Options{Version: version, Prober: s.prober, Config: s.config.Load, Reload: s.reload, Metrics: s.metrics, Logger: s.log,
		Testimony: s.testimony.Load, Results: s.results, Recorder: s.rec, Authenticated: authenticated(s.flags.webConfig), Jobs: s.scheduled,
		Discovery: s.discovery, Pprof: s.flags.pprof})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	s.arrange(true)
	wg.Go(func() { s.schedule.Run(ctx) })
	wg.Go(func() { s.hangups(ctx, server) })
	if s.flags.reloadEvery > 0 {
		wg.Go(func() { s.watching(ctx, server) })
	}
	wg.Go(func() { s.over.watch(ctx, s.schedule.Turning, s.untold) })
	httpServer := server.HTTPServer()
	httpServer.BaseContext = s.listening()
	wg.Go(func() {
		<-ctx.Done()
		s.untold(s.over.stopping())
		if err := server.Close(); err != nil { // ends the runs, so that who follows them goes
			s.log.Error().Err(err).Msg("end the runs")
		}
		drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer stop()
		if err := httpServer.Shutdown(drain); err != nil {
			s.log.Warn().Err(err).Msg("requests cut off at the end of draining")
		}
	})
	err = web.ListenAndServe(httpServer, &web.FlagConfig{WebListenAddresses: &s.flags.listen, WebSystemdSocket: &s.flags.systemdSocket,
		WebConfigFile: &s.flags.webConfig}, slog.New(zerolog.NewSlogHandler(s.log)))
	cancel()
	wg.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return &prober.EnvironmentError{Err: fmt.Errorf("listen on %v: %w", s.flags.listen, err)}
	}
	return nil
}

// listening returns what the HTTP server calls with each of its listeners. All of them are bound before the first is served: then the
// service is ready.
func (s *service) listening() func(net.Listener) context.Context {
	var once sync.Once
	return func(net.Listener) context.Context {
		once.Do(func() { s.untold(s.over.ready("serving " + s.flags.config)) })
		return context.Background()
	}
}

// untold logs that the supervisor could not be told something.
func (s *service) untold(err error) {
	if err != nil {
		s.log.Error().Err(err).Msg("supervisor not told")
	}
}

// drainTime is how long requests under way may go on after SIGTERM.
const drainTime = 10 * time.Second

func (s *service) hangups(ctx context.Context, server *api.Server) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_ = server.Reload() // it logs, and says so in its metrics
		}
	}
}

// reload puts a new configuration in force, or keeps the old one, and tells the supervisor either way.
func (s *service) reload() error {
	s.untold(s.over.reloading())
	err := s.replace()
	status := "serving " + s.flags.config
	if err != nil {
		status = "the configuration before stays in force: " + err.Error()
	}
	s.untold(s.over.ready(status))
	return err
}

func (s *service) replace() error {
	cfg, err := targets.Load(s.flags.config)
	if err != nil {
		return err
	}
	old := s.config.Load()
	if cfg.SourcePorts() != old.SourcePorts() || cfg.Limits() != old.Limits() || cfg.Results() != old.Results() {
		return fmt.Errorf("%s: source_ports, limits and results are read at the start only; restart to change them", s.flags.config)
	}
	if err := s.testify(cfg); err != nil {
		return err
	}
	if err := s.discovery.Apply(cfg.Jobs()); err != nil {
		return fmt.Errorf("%s: %w", s.flags.config, err)
	}
	s.config.Store(cfg)
	s.prober.SetAllow(cfg.Allow())
	s.metrics.SetDetail(cfg.MetricsDetail())
	s.arrange(true)
	return nil
}
