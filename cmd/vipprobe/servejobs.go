package main

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/rs/zerolog"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
	"github.com/vipprobe/vipprobe/targets/discovery"
)

// discover starts the discovery of the configuration's targets.
func (s *service) discover(cfg *targets.Config) (err error) {
	s.discovery, err = discovery.New(discovery.Options{Logger: slog.New(zerolog.NewSlogHandler(s.log)), Changed: func() { s.arrange(false) }})
	if err != nil {
		return err
	}
	if err := s.discovery.Apply(cfg.Jobs()); err != nil {
		s.discovery.Close()
		return err
	}
	return nil
}

// scheduled are the jobs as they are in force here: what was found, in this service's shard.
func (s *service) scheduled() []targets.Job {
	if list := s.jobs.Load(); list != nil {
		return *list
	}
	return nil
}

// arrange schedules what is known of the jobs' targets now. anew: modules may have changed as well.
func (s *service) arrange(anew bool) {
	s.arranging.Lock()
	defer s.arranging.Unlock()
	jobs := discovery.Arrange(s.discovery.Found())
	for i := range jobs {
		jobs[i] = s.shard.Of(jobs[i])
	}
	if !anew && reflect.DeepEqual(jobs, s.scheduled()) {
		return
	}
	s.jobs.Store(&jobs)
	s.metrics.Retain(jobs)
	s.rec.Retain(jobs)
	s.schedule.Set(s.runnable(jobs))
}

// runnable are the jobs as the prober takes them.
func (s *service) runnable(jobs []targets.Job) []prober.Job {
	cfg := s.config.Load()
	modules := map[string]*prober.Module{} // by job; nil: it cannot be used
	var out []prober.Job
	for _, j := range jobs {
		m, known := modules[j.Name]
		if !known {
			m = s.module(cfg, &j)
			modules[j.Name] = m
		}
		if m != nil {
			out = append(out, prober.Job{Name: j.Name, Module: *m, Interval: j.Interval, Targets: j.Targets, Labels: j.Labels, Group: j.Group, Members: j.Members,
				Maintenance: j.Maintenance, Diagnose: j.Diagnose})
		}
	}
	return out
}

// module is a job's module ready for use; nil, and a line in the log, where its files cannot be read.
func (s *service) module(cfg *targets.Config, j *targets.Job) *prober.Module {
	m, err := cfg.Module(j.Module)
	if err != nil {
		s.log.Error().Err(err).Str("job", j.Name).Msg("job not scheduled")
		return nil
	}
	m.Timeout, m.Record.On = j.Timeout, cfg.Results().Captures && m.Kind != prober.KindSYN // raw rounds record themselves once they are ill
	if j.Addresses != "" {
		m.Addresses = j.Addresses
	}
	return &m
}

// watching reloads the configuration when its file holds something else than before. A file that is replaced, also by way of links, is seen like one that
// is written to; one that cannot be read now is looked at again.
func (s *service) watching(ctx context.Context, server *api.Server) {
	last := digest(s.flags.config)
	every := time.NewTicker(s.flags.reloadEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if now := digest(s.flags.config); now != "" && now != last {
			last = now
			_ = server.Reload() // it logs, and says so in its metrics
		}
	}
}

// digest tells one content of a file from another; empty: it cannot be read.
func digest(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return string(h.Sum(nil))
}
