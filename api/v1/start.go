package v1

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

const (
	pathRuns = "/api/v1/runs"
	tagRuns  = "runs"
	// maxBody of a request, in octets.
	maxBody = 64 << 10
)

type startInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"128" doc:"the caller's own name of the request: asked again with the same body, the same run is answered"`
	Body           view.RunRequest
}

type runOutput struct {
	Location string `header:"Location" doc:"of the run"`
	Replayed string `header:"Idempotency-Replayed" doc:"true: the key was known, and no run was started"`
	Body     view.Run
}

func (a *API) registerStart() {
	op := operation(http.MethodPost, pathRuns, "start-run", "Start a probe or a diagnosis", tagRuns, http.StatusForbidden, http.StatusConflict, http.StatusUnprocessableEntity)
	op.Description = "The run goes on whether or not the caller stays. Callers who ask the same at once share one execution, each with a run of its own."
	op.DefaultStatus, op.MaxBodyBytes = http.StatusAccepted, maxBody
	huma.Register(a.huma, op, a.start)
}

// start begins a run.
func (a *API) start(ctx context.Context, in *startInput) (*runOutput, error) {
	who := callerOf(ctx)
	w, err := a.workOf(&in.Body, who)
	if err != nil {
		return nil, err
	}
	key := ""
	if in.IdempotencyKey != "" {
		key = who.user + "\x00" + in.IdempotencyKey
		if known, err := a.replay(ctx, key, w.request); known != nil || err != nil {
			return known, err
		}
	}
	if wait := a.starts.take(who.client, time.Now()); wait > 0 {
		return nil, later(http.StatusTooManyRequests, wait, "this client starts runs too often")
	}
	v, again, err := a.runs.start(w, key)
	if err != nil {
		return nil, notStarted(err)
	}
	if !again {
		a.runs.written() // whoever has the answer finds the run, also after a crash
	}
	return started(&v, again), nil
}

func started(v *view.Run, again bool) *runOutput {
	out := &runOutput{Location: pathRuns + "/" + v.ID, Body: *v}
	if again {
		out.Replayed = "true"
	}
	return out
}

func notStarted(err error) error {
	if _, ok := errors.AsType[*keyError](err); ok {
		return problem(http.StatusUnprocessableEntity, "the key names another request", "header.Idempotency-Key", err.Error())
	}
	if errors.Is(err, errBusy) {
		return later(http.StatusTooManyRequests, time.Second, err.Error())
	}
	return later(http.StatusServiceUnavailable, time.Second, err.Error())
}

// replay answers a request whose key is kept; nil: it is not.
func (a *API) replay(ctx context.Context, key string, request []byte) (*runOutput, error) {
	r, err := a.reader.RunByKey(ctx, key)
	switch {
	case errors.Is(err, results.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, huma.Error500InternalServerError("the results cannot be read")
	case string(request) != string(r.Request):
		return nil, notStarted(&keyError{r.ID})
	}
	v, _, err := a.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return started(&v, true), nil
}

// later is a problem that goes away.
func later(status int, wait time.Duration, detail string) error {
	h := http.Header{}
	again(h, wait)
	return huma.ErrorWithHeaders(huma.NewError(status, detail), h)
}

// problem is an error that names one place.
func problem(status int, detail, location, message string) error {
	return huma.NewError(status, detail, &huma.ErrorDetail{Location: location, Message: message})
}

func invalid(location, format string, args ...any) error {
	return problem(http.StatusUnprocessableEntity, "validation failed", location, fmt.Sprintf(format, args...))
}

// workOf turns a request into what is to be done, or says what of it may not be.
func (a *API) workOf(body *view.RunRequest, who caller) (work, error) {
	cfg := a.opts.Config()
	m, err := cfg.Module(cmp.Or(body.Module, targets.DefaultModule))
	if err != nil {
		return work{}, invalid("body.module", "%v", err)
	}
	m.Record.On = true
	if err := checkTarget(cfg, "body.target", body.Target); err != nil {
		return work{}, err
	}
	request, err := json.Marshal(body)
	if err != nil {
		return work{}, huma.Error422UnprocessableEntity("the request cannot be written as JSON")
	}
	w := work{asked: *body, request: request, same: fmt.Sprintf("%p %s", cfg, request)}
	if body.Kind == "probe" {
		if name := onlyDiagnose(body); name != "" {
			return work{}, invalid("body."+name, "only kind diagnose has it")
		}
		w.do = func(ctx context.Context, _ func(prober.Progress)) ([]prober.Round, error) {
			return a.opts.Prober.Probe(ctx, body.Target, m)
		}
		return w, nil
	}
	o, err := options(cfg, body, who)
	if err != nil {
		return work{}, err
	}
	o.Module, o.SizeBurst = m, body.Module == ""
	o.Module.Count = 1
	w.do = func(ctx context.Context, progress func(prober.Progress)) ([]prober.Round, error) {
		o := o
		o.Progress = progress
		return a.opts.Prober.Diagnose(ctx, body.Target, o)
	}
	return w, nil
}

// checkTarget refuses what cannot be read, and at once an address that the prober would refuse. What a name leads to it sees itself.
func checkTarget(cfg *targets.Config, location, target string) error {
	ep, err := prober.ParseEndpoint(target)
	if err != nil {
		return invalid(location, "%v", err)
	}
	if !ep.Addr.IsValid() {
		return nil
	}
	if err := cfg.Allow().Check(target, ep.Addr); err != nil {
		return problem(http.StatusForbidden, "the target is not allowed", location, err.Error())
	}
	return nil
}

// onlyDiagnose is the first field of a request that only a diagnosis has; "": none.
func onlyDiagnose(b *view.RunRequest) string {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"members", len(b.Members) > 0}, {"max_seconds", b.MaxSeconds != 0}, {"max_syns", b.MaxSYNs != 0}, {"contrast", b.Contrast != ""}, {hurts(b), hurts(b) != ""},
	} {
		if f.set {
			return f.name
		}
	}
	return ""
}

// hurts is the first field of a request that asks for what can hurt; "": none.
func hurts(b *view.RunRequest) string {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"hold", b.Hold != 0}, {"backlog", b.Backlog != 0}, {"late_reset", b.LateReset}, {"forget_neighbor", b.ForgetNeighbor}, {"i_own_this_path", b.OwnPath},
	} {
		if f.set {
			return f.name
		}
	}
	return ""
}

// options are those of a diagnosis.
func options(cfg *targets.Config, b *view.RunRequest, who caller) (prober.DiagnoseOptions, error) {
	o := prober.DiagnoseOptions{Members: b.Members, Seconds: b.MaxSeconds, MaxSYNs: b.MaxSYNs, Hold: b.Hold, Backlog: b.Backlog, LateReset: b.LateReset,
		MayForget: b.ForgetNeighbor, MayPrime: b.OwnPath}
	if name := hurts(b); name != "" && (who.authenticated == nil || !who.authenticated()) {
		return o, problem(http.StatusForbidden, "what can hurt needs a caller who has authenticated", "body."+name,
			"it can hurt the target or others: set up basic_auth_users or client certificates (--web.config.file), or use the command line")
	}
	for i, m := range b.Members {
		if err := checkTarget(cfg, fmt.Sprintf("body.members[%d]", i), m); err != nil {
			return o, err
		}
	}
	if b.Contrast != "" {
		c, err := netip.ParseAddrPort(b.Contrast)
		if err != nil || c.Port() == 0 {
			return o, invalid("body.contrast", "%q is no ADDR:PORT", b.Contrast)
		}
		if err := checkTarget(cfg, "body.contrast", c.String()); err != nil {
			return o, err
		}
		if b.Contrast == b.Target {
			return o, invalid("body.contrast", "that is the target itself; want another service")
		}
		o.Contrast = c
	}
	if most := cfg.Limits().HalfOpen; b.Backlog > most {
		return o, invalid("body.backlog", "%d requests half-open; limits.half_open is %d", b.Backlog, most)
	}
	return o, nil
}
