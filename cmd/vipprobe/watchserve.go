package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// watchRegistry holds the collector of a watch; readings are taken one at a time.
func watchRegistry(w *watch.Watcher) *prometheus.Registry {
	var mu sync.Mutex
	registry := prometheus.NewRegistry()
	registry.MustRegister(api.NewWatchCollector(func() []watch.Reading {
		mu.Lock()
		defer mu.Unlock()
		return w.Read()
	}))
	return registry
}

// expose writes the counters as they stand, once.
func (f *watchFlags) expose(cmd *cobra.Command, w *watch.Watcher) error {
	families, err := watchRegistry(w).Gather()
	if err != nil {
		return fmt.Errorf("gather the counters: %w", err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(cmd.OutOrStdout(), family); err != nil {
			return fmt.Errorf("write the counters: %w", err)
		}
	}
	return nil
}

// serve answers /metrics until the command is ended. Each scrape takes a reading.
func (f *watchFlags) serve(cmd *cobra.Command, w *watch.Watcher) error {
	ctx := cmd.Context()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(watchRegistry(w), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 1 << 16,
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "vipprobe: watch serves http://%s/metrics\n", l.Addr())
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		ended <- server.Shutdown(grace)
	})
	err = server.Serve(l)
	if stop() { // it ended by itself
		return fmt.Errorf("--listen %s: %w", f.listen, err)
	}
	if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("--listen %s: %w", f.listen, err)
	}
	return nil
}
