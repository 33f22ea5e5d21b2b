package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

// storageFlags say where results are kept, before the configuration's results:.
type storageFlags struct{ path, time, size string }

func (f *storageFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.path, "storage.path", "", "file in which results are kept (SQLite); default: results.path of the configuration, else in memory")
	fs.StringVar(&f.time, "storage.retention.time", "", "how long results are kept, such as 30d; default: results.max_age of the configuration, 30d")
	fs.StringVar(&f.size, "storage.retention.size", "", "how much is kept, such as 2GB; default: results.max_size of the configuration, else 1GB, in memory 64MB")
}

// apply puts the flags in place of what the configuration says.
func (f *storageFlags) apply(r targets.Results) (targets.Results, error) {
	if f.path != "" {
		r.Path = f.path
	}
	if f.time != "" {
		d, err := model.ParseDuration(f.time)
		if err != nil || time.Duration(d) < time.Minute {
			return r, usageError{fmt.Errorf("--storage.retention.time %q: want a time of at least 1m, such as 30d", f.time)}
		}
		r.MaxAge = time.Duration(d)
	}
	if f.size != "" {
		n, err := targets.ParseSize(f.size)
		if err != nil {
			return r, usageError{fmt.Errorf("--storage.retention.size: %w", err)}
		}
		r.MaxSize = n
	}
	return r, nil
}

// openResults opens what results are kept in.
func (s *service) openResults(ctx context.Context) (err error) {
	want, err := s.flags.storage.apply(s.config.Load().Results())
	if err != nil {
		return err
	}
	s.results, err = results.Open(ctx, results.Options{Path: want.Path, MaxAge: want.MaxAge, PointsAge: want.PointsAge, MaxBytes: want.MaxSize,
		OnError: func(err error) { s.log.Error().Err(err).Msg("results") }})
	if err != nil {
		return &prober.EnvironmentError{Err: err}
	}
	s.log.Info().Str("path", want.Path).Stringer("max_age", want.MaxAge).Msg("results ready")
	return nil
}

// origin is who writes captures.
func (s *service) origin() evidence.Origin {
	version, revision := buildVersion()
	return evidence.Origin{Program: fmt.Sprintf("vipprobe %s (revision %s)", version, revision), Hardware: runtime.GOARCH, OS: "Linux " + s.prober.Host().Kernel}
}

// sinks take what scheduled rounds gave, one after the other.
type sinks []prober.Sink

func (all sinks) Observe(job, module string, labels map[string]string, rounds []prober.Round) {
	for _, s := range all {
		s.Observe(job, module, labels, rounds)
	}
}

func (all sinks) Healthy(job, module string, labels map[string]string, h *prober.Healthy) {
	for _, s := range all {
		s.Healthy(job, module, labels, h)
	}
}

func (all sinks) Diagnosed(job, module string, labels map[string]string, target string, found []prober.Round) {
	for _, s := range all {
		s.Diagnosed(job, module, labels, target, found)
	}
}

func (all sinks) Fail(job, module, target string, labels map[string]string) {
	for _, s := range all {
		s.Fail(job, module, target, labels)
	}
}

func (all sinks) Lag(d time.Duration) {
	for _, s := range all {
		s.Lag(d)
	}
}

func (all sinks) Skipped(job string, why prober.Skip) {
	for _, s := range all {
		s.Skipped(job, why)
	}
}

// authenticated tells callers who have proved who they are from others. The proof itself was asked for by the toolkit, which lets nobody through
// who fails it: a client certificate that was verified, or the password of a user that its file names.
func authenticated(webConfig string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if webConfig == "" {
			return false
		}
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			return true
		}
		user, _, ok := r.BasicAuth()
		if !ok {
			return false
		}
		text, err := os.ReadFile(webConfig)
		if err != nil {
			return false
		}
		var file struct {
			Users map[string]string `yaml:"basic_auth_users"`
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return false
		}
		_, known := file.Users[user]
		return known
	}
}
