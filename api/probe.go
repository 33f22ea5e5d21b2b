package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// probeRequest is a request to /probe that may be carried out.
type probeRequest struct {
	flightKey
	run   prober.Module
	debug bool
	// broken is why the module cannot be used now, which fails the probe, not the request.
	broken error
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	text   string
	// again is when to try again; 0: where it makes sense at all, in a second.
	again time.Duration
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// paused answers for probes that keep still after a prime, with the time when they do no more.
func paused(err error) *refusal {
	no := refuse(http.StatusServiceUnavailable, "%v", err)
	if p, ok := errors.AsType[*prober.PausedError](err); ok {
		no.again = time.Until(p.Until)
	}
	return no
}

// serveProbe probes one target and answers with its metrics: 200 whatever the target did, with probe_success 0 or 1. Another
// status means that the request was wrong (400), the target is not allowed (403), or that this service could not measure (429,
// 503): then nothing is said about the target.
func (s *Server) serveProbe(w http.ResponseWriter, r *http.Request) {
	req, no := s.readProbe(r)
	if no != nil {
		s.refuseProbe(w, r, no)
		return
	}
	started := time.Now()
	rounds, err := s.runProbe(r.Context(), req)
	took := time.Since(started)
	if no := refusalOf(rounds, err); no != nil {
		s.refuseProbe(w, r, no)
		return
	}
	f := newFigures(req.run, rounds, err, took)
	entry := historyEntry{
		Started: started, Module: req.module, Target: req.target, Success: f.success,
		log: probeLog(req, rounds, err, f), figures: f, config: req.config,
	}
	s.history.add(entry)
	s.metrics.requests.WithLabelValues("200").Inc()
	s.opts.Logger.Debug().Str("target", req.target).Str("module", req.module).Bool("success", f.success).Float64("duration_seconds", took.Seconds()).Msg("probed")
	if req.debug {
		writeText(w, http.StatusOK, s.debugText(entry, rounds))
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collection{s.series, f})
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: metricsLog{s.opts.Logger}}).ServeHTTP(w, r)
}

func (s *Server) refuseProbe(w http.ResponseWriter, r *http.Request, no *refusal) {
	s.metrics.requests.WithLabelValues(fmt.Sprint(no.status)).Inc()
	q := r.URL.Query()
	s.opts.Logger.Info().Str("target", q.Get("target")).Str("module", q.Get("module")).Int("status", no.status).Msg(no.text)
	if no.status == http.StatusTooManyRequests || no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(no.again.Seconds())))))
	}
	writeText(w, no.status, no.text)
}

// readProbe takes from the URL target, module, hostname, debug and a shorter timeout, nothing else.
func (s *Server) readProbe(r *http.Request) (*probeRequest, *refusal) {
	q := r.URL.Query()
	req := &probeRequest{debug: q.Get("debug") == "true"}
	req.config = s.opts.Config()
	req.target, req.module, req.hostname = q.Get("target"), q.Get("module"), q.Get("hostname")
	if req.module == "" {
		req.module = targets.DefaultModule
	}
	req.run, req.broken = req.config.Module(req.module)
	if _, unknown := errors.AsType[*targets.UnknownModuleError](req.broken); unknown {
		s.metrics.unknownModules.Inc()
		return nil, refuse(http.StatusBadRequest, "%v", req.broken)
	}
	if req.broken != nil {
		req.run = prober.Module{Name: req.module, Kind: req.config.Modules()[req.module], Timeout: noScrapeTimeout}
	}
	if req.target == "" {
		return nil, refuse(http.StatusBadRequest, "the parameter target is missing: /probe?target=HOST:PORT&module=%s", req.module)
	}
	if strings.ContainsFunc(req.hostname, notOfHostname) || len(req.hostname) > 253 {
		return nil, refuse(http.StatusBadRequest, "hostname: %q is no host name", req.hostname)
	}
	if _, err := prober.ParseEndpoint(req.target); err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	var err error
	if req.timeout, err = probeTimeout(r, req.run.Timeout, req.config.ProbeTimeoutOffset()); err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	req.shape()
	return req, nil
}

func notOfHostname(r rune) bool {
	return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// shape fits the module to the request as blackbox_exporter does: the time that is left, one address family, IPv6 unless the
// module prefers IPv4, and the name that TLS shall verify where tls_config has none.
func (req *probeRequest) shape() {
	m := &req.run
	m.Timeout = req.timeout
	if m.IPProtocol == "" {
		m.IPProtocol = "ip6"
	}
	if req.hostname != "" && m.TCP != nil && m.TCP.TLSConfig != nil && m.TCP.TLSConfig.ServerName == "" {
		m.TCP.TLSConfig.ServerName = req.hostname
	}
}

var errBusy = errors.New("too many probes at once")

// runProbe probes, or waits for a like request's probe. The prober ends the round at the module's timeout; the context is a
// little longer, so that what the round saw is not lost to its own deadline, and shorter than the scrape.
func (s *Server) runProbe(ctx context.Context, req *probeRequest) ([]prober.Round, error) {
	if req.broken != nil {
		return nil, req.broken
	}
	limit := req.timeout + req.config.ProbeTimeoutOffset()/2
	return s.flights.do(ctx, req.flightKey, limit, func(ctx context.Context) ([]prober.Round, error) {
		select {
		case s.slots <- struct{}{}:
		default:
			return nil, errBusy
		}
		defer func() { <-s.slots }()
		rounds, err := s.opts.Prober.Probe(ctx, req.target, req.run)
		s.recorder.Probed(rounds)
		return rounds, err
	})
}

// refusalOf sorts what went wrong: nil where it is the target's failure or success. As in blackbox_exporter a name without an
// address, a deadline and a tls_config that cannot be used are failures; an error nobody knows is ours, not the target's.
func refusalOf(rounds []prober.Round, err error) *refusal {
	for i := range rounds {
		if rounds[i].Err == nil {
			return nil
		}
		if err == nil {
			err = rounds[i].Err
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errBusy):
		return refuse(http.StatusServiceUnavailable, "%v; try again", err)
	case errors.Is(err, context.Canceled):
		return refuse(http.StatusServiceUnavailable, "the request was given up")
	}
	switch view.KindOf(err) {
	case view.NotAllowed:
		return refuse(http.StatusForbidden, "%v", err)
	case view.BadTarget:
		return refuse(http.StatusBadRequest, "%v", err)
	case view.Budget:
		return refuse(http.StatusTooManyRequests, "%v", err)
	case view.Environment:
		return refuse(http.StatusServiceUnavailable, "%v", err)
	case view.Paused:
		return paused(err)
	case view.NotResolved:
		return nil
	case view.Failed:
	}
	if _, ok := errors.AsType[*targets.TLSError](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return refuse(http.StatusInternalServerError, "%v", err)
}

// debugText is what debug=true and /logs show. Rounds are added where they are at hand.
func (s *Server) debugText(e historyEntry, rounds []prober.Round) string {
	var b bytes.Buffer
	b.WriteString("Logs for the probe:\n")
	b.Write(e.log)
	b.WriteString("\n\n\nMetrics that would have been returned:\n")
	writeMetrics(&b, collection{s.series, e.figures})
	b.WriteString("\n\n\nModule configuration:\n")
	b.Write(e.config.RedactedModule(e.Module))
	if rounds != nil {
		b.WriteString("\n\n\nRounds:\n")
		if err := view.WriteJSON(&b, view.NewDocument(rounds, nil)); err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		}
	}
	return b.String()
}
