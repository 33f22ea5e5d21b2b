package v1

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/targets"
)

type validationInput struct{ Body view.ValidationRequest }

type validationOutput struct{ Body view.ValidationAnswer }

func (a *API) registerValidation() {
	op := operation(http.MethodPost, "/api/v1/validations", "validate-target", "Hold a host against a policy, from here", "validation", http.StatusForbidden,
		http.StatusUnprocessableEntity)
	op.Description = "The answer comes when all is measured; a caller who leaves ends the measurement. It is what vipprobe validate asks its vantages."
	op.MaxBodyBytes = maxBody
	huma.Register(a.huma, op, a.validate)
}

// validate measures one target while its caller waits.
func (a *API) validate(ctx context.Context, in *validationInput) (*validationOutput, error) {
	who := callerOf(ctx)
	o, err := a.validation(&in.Body, who)
	if err != nil {
		return nil, err
	}
	if wait := a.starts.take(who.client, time.Now()); wait > 0 {
		return nil, later(http.StatusTooManyRequests, wait, "this client starts measurements too often")
	}
	select {
	case a.seats <- struct{}{}:
		defer func() { <-a.seats }()
	default:
		return nil, later(http.StatusTooManyRequests, time.Second, errBusy.Error())
	}
	ctx, stop := context.WithTimeout(ctx, time.Duration(o.Seconds*float64(time.Second))) // of all addresses: the caller waits no longer
	defer stop()
	out := &validationOutput{Body: view.ValidationAnswer{Candidates: []view.Candidate{}}}
	for _, v := range a.opts.Prober.Validate(ctx, []string{in.Body.Target}, o) {
		out.Body.Candidates = append(out.Body.Candidates, view.NewCandidate(&v, 0, nil))
	}
	return out, nil
}

// validation turns a request into what is to be measured, or says what of it may not be.
func (a *API) validation(b *view.ValidationRequest, who caller) (prober.ValidateOptions, error) {
	cfg := a.opts.Config()
	o := prober.ValidateOptions{Connects: b.Connects, Seconds: cmp.Or(b.MaxSeconds, 120), Parallel: 1}
	m, err := cfg.Module(targets.DefaultModule)
	if err != nil {
		return o, invalid("body", "%v", err)
	}
	m.Burst = cmp.Or(b.Burst, m.Burst)
	o.Module, o.Profile.Module = m, m
	if err := checkTarget(cfg, "body.target", b.Target); err != nil {
		return o, err
	}
	for i, text := range b.Checks {
		c, err := rollout.ParseCheck(text)
		if err != nil {
			return o, invalid(fmt.Sprintf("body.checks[%d]", i), "%v", err)
		}
		o.Checks = append(o.Checks, c)
	}
	if b.Baseline != nil {
		if o.Baseline, err = b.Baseline.Read(); err != nil {
			return o, invalid("body.baseline", "%v", err)
		}
	}
	return o, permit(&o.Profile, &b.Measure, cfg, who)
}

// permit takes over what may be measured.
func permit(o *prober.ProfileOptions, m *view.ValidationMeasure, cfg *targets.Config, who caller) error {
	for _, f := range []struct {
		name string
		set  bool
	}{{"backlog", m.Backlog > 0}, {"overflow", m.Overflow}, {"time_wait", m.TimeWait}, {"neighbor_queue", m.NeighborQueue}, {"i_own_this_path", m.OwnPath}} {
		if f.set && (who.authenticated == nil || !who.authenticated()) {
			return problem(http.StatusForbidden, "what can hurt needs a caller who has authenticated", "body.measure."+f.name,
				"it can hurt the target or others: set up basic_auth_users or client certificates (--web.config.file) at this vantage")
		}
	}
	if most := cfg.Limits().HalfOpen; m.Backlog > most {
		return invalid("body.measure.backlog", "%d requests half-open; limits.half_open is %d", m.Backlog, most)
	}
	var err error
	if o.Request, err = targets.ParseRequest(m.Request); err != nil {
		return invalid("body.measure.request", "%v", err)
	}
	o.Patience, o.Backlog, o.MayPrime = time.Duration(m.PatienceNS), m.Backlog, m.OwnPath
	o.TimeWait, o.Overflow = m.TimeWait, m.Overflow && m.Backlog > 0
	if m.NeighborQueue {
		o.Queue = &prober.NeighborQueueOptions{}
	}
	return nil
}
