package api

import (
	"bytes"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// maxLogged is how many attempts worth a line a probe's log names one by one.
const maxLogged = 32

// probeLog tells a probe in lines of JSON: what was asked, what each address gave, and every attempt that was not plainly
// accepted.
func probeLog(req *probeRequest, rounds []prober.Round, err error, f *figures) []byte {
	var b bytes.Buffer
	log := zerolog.New(&b)
	log.Info().Str("target", req.target).Str("module", req.module).Str("probe", string(req.run.Kind)).Float64("timeout_seconds", req.timeout.Seconds()).Msg("probing")
	if err != nil {
		log.Error().Err(err).Msg("not probed")
	}
	for i := range rounds {
		logRound(log, &rounds[i])
	}
	level := zerolog.ErrorLevel
	if f.success {
		level = zerolog.InfoLevel
	}
	log.WithLevel(level).Bool("success", f.success).Float64("duration_seconds", f.took.Seconds()).Msg("probed")
	return b.Bytes()
}

func logRound(log zerolog.Logger, r *prober.Round) {
	log = log.With().Stringer("addr", r.Addr).Logger()
	if r.Err != nil {
		log.Error().Err(r.Err).Msg("not probed")
		return
	}
	log.Info().Time("started", r.Started).Float64("lookup_seconds", r.Lookup.Seconds()).Str("kernel", r.Kernel).Stringer("ladder", r.Ladder).Msg("round")
	logged, left := 0, 0
	for _, a := range r.Attempts() {
		switch {
		case a.Outcome == observe.Accepted && a.Retransmissions == 0:
		case logged < maxLogged:
			logAttempt(log, a)
			logged++
		default:
			left++
		}
	}
	if left > 0 {
		log.Warn().Int("attempts", left).Msg("more like these")
	}
	for i := range r.Observations {
		for _, u := range r.Observations[i].Unmeasured {
			log.Warn().Str("burst", r.Observations[i].Label).Msg("not measured: " + u)
		}
	}
	for _, c := range r.Diagnosis.Causes {
		log.Info().Str("verdict", string(c.Verdict)).Stringer("level", c.Level).Msg(c.Summary)
	}
	if r.Why != "" {
		log.Error().Msg(r.Why)
	}
}

func logAttempt(log zerolog.Logger, a *observe.Attempt) {
	log.Warn().Int("attempt", a.Index).Str("arm", a.Arm).Stringer("flow", a.Flow).Stringer("outcome", a.Outcome).Str("reason", a.Reason).
		Int("retransmissions", a.Retransmissions).Bool("stalled", a.Stalled()).Float64("handshake_seconds", a.Handshake.Seconds()).Msg("attempt")
}

// writeMetrics writes what a registry of c alone would show.
func writeMetrics(w io.Writer, c prometheus.Collector) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		_, _ = io.WriteString(w, err.Error()+"\n")
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return
		}
	}
}
