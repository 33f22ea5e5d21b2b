package v1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/prober/wire"
	"github.com/vipprobe/vipprobe/targets"
)

// fake does what its script says. A probe or diagnosis without one gives a round that stalled.
type fake struct {
	do    func(ctx context.Context, target string, progress func(prober.Progress)) ([]prober.Round, error)
	asked chan prober.DiagnoseOptions
}

func (f *fake) Probe(ctx context.Context, target string, m prober.Module) ([]prober.Round, error) {
	return f.Diagnose(ctx, target, prober.DiagnoseOptions{Module: m, Progress: func(prober.Progress) {}})
}

func (f *fake) Diagnose(ctx context.Context, target string, o prober.DiagnoseOptions) ([]prober.Round, error) {
	select {
	case f.asked <- o:
	default:
	}
	if f.do == nil {
		return []prober.Round{stalledRound(target)}, nil
	}
	return f.do(ctx, target, o.Progress)
}

// stalledRound has one connection, which stalled, and its two frames.
func stalledRound(target string) prober.Round {
	at := time.Now().Add(-10 * time.Second).UTC()
	a := observe.Attempt{Arm: "connect", Via: plan.Kernel, Outcome: observe.Accepted, Handshake: 1001 * time.Millisecond, RTT: time.Millisecond, Retransmissions: 1,
		Lost: 1, LostBy: observe.ByTSecr, Answered: 1, SYNs: []observe.SYN{{At: at, HasTS: true, TSval: 4_000_000_000}, {At: at.Add(time.Second), HasTS: true, TSval: 4_000_001_000}},
		Flow: wire.Flow{Src: netip.MustParseAddrPort("192.0.2.1:61000"), Dst: netip.MustParseAddrPort("192.0.2.10:443")}}
	o := observe.Observation{Label: "first contact", Started: at, Finished: at.Add(time.Second), Captured: true, Attempts: []observe.Attempt{a},
		Recorded: &observe.Recording{Snap: 66, Frames: []observe.Frame{{At: at, Outgoing: true, Bare: true, Orig: 60, Data: make([]byte, 60)},
			{At: at.Add(time.Second), Bare: true, Orig: 60, Data: make([]byte, 60)}}}}
	return prober.Round{Target: target, Addr: netip.MustParseAddrPort("192.0.2.10:443"), Module: "connect", Kind: prober.KindConnect, Started: at,
		Duration: time.Second, Observations: []observe.Observation{o}, Why: "1 of 1 attempts stalled", Diagnosis: diagnose.Diagnosis{Headline: "a queue overflowed",
			Causes: []diagnose.Cause{{Verdict: diagnose.LocalARPQueueOverflow, Level: diagnose.Proven, Summary: "1 of 1"}}}}
}

type service struct {
	*API
	*httptest.Server
	t      *testing.T
	fake   *fake
	store  *results.Store
	rec    *record.Recorder
	router chi.Router
}

const config = `
allow: [192.0.2.0/24, "2001:db8::/64"]
limits: {half_open: 32}
modules:
  mail: {prober: tcp, timeout: 5s, tcp: {query_response: [{expect: "^220", send: "AUTH hunter2"}]}}
jobs:
  - {name: vips, interval: 10s, targets: ["192.0.2.10:443", "192.0.2.12:443"], labels: {vip: web, role: vip}}
  - {name: members, interval: 10s, targets: ["192.0.2.21:443"], labels: {vip: web, role: member}}
`

func start(t *testing.T, f *fake, change func(*Options)) *service {
	t.Helper()
	cfg, err := targets.Parse("test.yml", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	store, err := results.Open(t.Context(), results.Options{OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	rec := record.New(store, evidence.Origin{Program: "test"}, func(err error) { t.Error(err) })
	o := Options{Version: "test", Prober: f, Config: func() *targets.Config { return cfg }, Store: store, Recorder: rec, ClientRate: 1e6,
		Authenticated: func(r *http.Request) bool { _, pass, _ := r.BasicAuth(); return pass == "right" }}
	if change != nil {
		change(&o)
	}
	s := &service{t: t, fake: f, store: store, rec: rec, router: chi.NewRouter()}
	if s.API, err = New(s.router, o); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s.router)
	t.Cleanup(func() {
		s.API.Close()
		s.Server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body []byte
}

func (s *service) call(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if name, pass, ok := strings.Cut(req.Header.Get("X-User"), ":"); ok {
		req.SetBasicAuth(name, pass)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res, text}
}

// get asks for a path and holds the answer to what the OpenAPI document says of it.
func (s *service) get(path string, into any) {
	s.t.Helper()
	a := s.call(http.MethodGet, path, "")
	if a.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s: %s", path, a.Status, a.body)
	}
	s.described(http.MethodGet, path, a)
	if err := json.Unmarshal(a.body, into); err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
}

// described holds an answer to the schema of its route and status.
func (s *service) described(method, path string, a answer) {
	s.t.Helper()
	path, _, _ = strings.Cut(path, "?")
	rctx := chi.NewRouteContext()
	if !s.router.Match(rctx, method, path) {
		s.t.Fatalf("no route %s %s", method, path)
	}
	item := s.OpenAPI().Paths[rctx.RoutePattern()]
	op := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post}[method]
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	var media *huma.MediaType
	res := op.Responses[fmt.Sprint(a.StatusCode)]
	if res != nil {
		media = res.Content[kind]
	}
	if media == nil {
		s.t.Errorf("%s %s: %d with %s is not described", method, rctx.RoutePattern(), a.StatusCode, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		s.t.Fatal(err)
	}
	var r huma.ValidateResult
	huma.Validate(s.OpenAPI().Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, &r)
	for _, err := range r.Errors {
		s.t.Errorf("%s %s: the answer is not as described: %v", method, path, err)
	}
}

// post starts a run.
func (s *service) post(body string, header ...string) (view.Run, answer) {
	s.t.Helper()
	a := s.call(http.MethodPost, pathRuns, body, header...)
	if a.StatusCode != http.StatusAccepted {
		s.t.Fatalf("POST %s: %s: %s", body, a.Status, a.body)
	}
	s.described(http.MethodPost, pathRuns, a)
	var v view.Run
	if err := json.Unmarshal(a.body, &v); err != nil {
		s.t.Fatal(err)
	}
	if want := pathRuns + "/" + v.ID; a.Header.Get("Location") != want {
		s.t.Errorf("Location %q, want %q", a.Header.Get("Location"), want)
	}
	return v, a
}

// event is one of a stream.
type event struct{ id, name, data string }

// follow reads a run's stream to its end.
func (s *service) follow(id string, header ...string) []event {
	s.t.Helper()
	a := s.call(http.MethodGet, pathRuns+"/"+id+"/events", "", header...)
	if got := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || got != "text/event-stream" {
		s.t.Fatalf("events: %s %s: %s", a.Status, got, a.body)
	}
	var out []event
	var e event
	lines := bufio.NewScanner(bytes.NewReader(a.body))
	for lines.Scan() {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			out, e = append(out, e), event{}
		}
	}
	return out
}

const diagnosis = `{"kind":"diagnose","target":"192.0.2.10:443"}`

func TestARunFromStartToEnd(t *testing.T) {
	s := start(t, &fake{do: func(_ context.Context, target string, progress func(prober.Progress)) ([]prober.Round, error) {
		progress(prober.Progress{Label: "first contact", Why: "as applications make it", Shots: 10})
		progress(prober.Progress{Label: "repeat", Why: "does first contact differ?", Shots: 10})
		return []prober.Round{stalledRound(target)}, nil
	}}, nil)
	run, _ := s.post(diagnosis)
	events := s.follow(run.ID)
	if len(events) != 3 || events[0].name != "progress" || !strings.Contains(events[1].data, "does first contact differ?") || events[2].name != "end" {
		t.Fatalf("%+v", events)
	}
	if again := s.follow(run.ID, "Last-Event-ID", "1"); len(again) != 2 || again[0] != events[1] {
		t.Errorf("resumed behind the first: %+v", again)
	}
	var v view.Run
	s.get(pathRuns+"/"+run.ID, &v)
	if v.State != "done" || v.Finished == nil || v.Request.Target != "192.0.2.10:443" {
		t.Errorf("%+v", v)
	}
	var doc view.Document
	s.get(pathRuns+"/"+run.ID+"/result", &doc)
	if len(doc.Rounds) != 1 || doc.Rounds[0].Diagnosis.Causes[0].Verdict != "local_arp_queue_overflow" || *doc.Rounds[0].Observations[0].Attempts[0].SYNs[1].TSval != 4_000_001_000 {
		t.Errorf("%+v", doc)
	}
	s.listed(run.ID, doc.Rounds[0])
	var runs view.Runs
	s.get(pathRuns+"?state=done", &runs)
	if len(runs.Runs) != 1 || runs.Runs[0].ID != run.ID {
		t.Errorf("%+v", runs)
	}
}

// listed holds the one round of a run, as the results have it, against the round that the run gave.
func (s *service) listed(run string, want view.Round) {
	t := s.t
	t.Helper()
	var list view.Results
	s.get(pathResults+"?run="+run, &list)
	if len(list.Results) != 1 || !list.Results[0].Capture || !list.Results[0].Detail || list.Results[0].Origin != "run" {
		t.Fatalf("%+v", list)
	}
	id := fmt.Sprint(list.Results[0].ID)
	var one view.Result
	s.get(pathResults+"/"+id, &one)
	if d := cmp.Diff(list.Results[0], one); d != "" {
		t.Error(d)
	}
	var round view.Round
	s.get(pathResults+"/"+id+"/round", &round)
	if d := cmp.Diff(want, round); d != "" {
		t.Error(d)
	}
	frames := s.call(http.MethodGet, pathResults+"/"+id+"/capture", "")
	s.described(http.MethodGet, pathResults+"/"+id+"/capture", frames)
	if !bytes.HasPrefix(frames.body, []byte("\x0a\x0d\x0d\x0a")) || !strings.Contains(frames.Header.Get("Content-Disposition"), ".pcapng") {
		t.Errorf("%s %x", frames.Header, frames.body)
	}
}

func TestARunThatCannotProbeSaysWhy(t *testing.T) {
	s := start(t, &fake{do: func(context.Context, string, func(prober.Progress)) ([]prober.Round, error) {
		return nil, &prober.ResolveError{Host: "no.example", Err: errors.New("no such host")}
	}}, nil)
	run, _ := s.post(`{"kind":"probe","target":"no.example:443"}`)
	s.follow(run.ID)
	var doc view.Document
	s.get(pathRuns+"/"+run.ID+"/result", &doc)
	if len(doc.Errors) != 1 || doc.Errors[0].ErrorKind != view.NotResolved || doc.Errors[0].Target != "no.example:443" {
		t.Errorf("%+v", doc)
	}
}

func TestAPanicEndsTheRunAlone(t *testing.T) {
	s := start(t, &fake{do: func(context.Context, string, func(prober.Progress)) ([]prober.Round, error) { panic("ouch") }}, nil)
	run, _ := s.post(diagnosis)
	end := s.follow(run.ID)
	if len(end) != 1 || !strings.Contains(end[0].data, "ended in a panic: ouch") {
		t.Errorf("%+v", end)
	}
}

// blocking is a prober whose runs go on until they are told to end; it tells of each that began and ended.
type blocking struct{ began, ended, end chan struct{} }

func newBlocking() *blocking {
	return &blocking{make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{})}
}

func (b *blocking) do(ctx context.Context, target string, _ func(prober.Progress)) ([]prober.Round, error) {
	b.began <- struct{}{}
	defer func() { b.ended <- struct{}{} }()
	select {
	case <-ctx.Done():
	case <-b.end:
	}
	return []prober.Round{stalledRound(target)}, ctx.Err()
}

// TestCallersShareARun: who asks the same at once gets a run of his own of one execution, which goes on until nobody waits for it any more.
func TestCallersShareARun(t *testing.T) {
	b := newBlocking()
	s := start(t, &fake{do: b.do}, nil)
	first, _ := s.post(diagnosis)
	<-b.began
	second, _ := s.post(diagnosis)
	other, _ := s.post(`{"kind":"diagnose","target":"192.0.2.10:443","max_seconds":9}`)
	<-b.began
	if second.ID == first.ID || second.RoundsOf != first.ID || other.RoundsOf != "" || s.runs.active() != 2 {
		t.Fatalf("first %+v, second %+v, other %+v, %d under way", first, second, other, s.runs.active())
	}
	if a := s.call(http.MethodGet, pathRuns+"/"+second.ID+"/result", ""); a.StatusCode != http.StatusConflict || a.Header.Get("Retry-After") == "" {
		t.Errorf("the result of a run under way: %s", a.Status)
	}
	cancel := s.call(http.MethodPost, pathRuns+"/"+first.ID+"/cancel", "")
	s.described(http.MethodPost, pathRuns+"/"+first.ID+"/cancel", cancel)
	if again := s.call(http.MethodPost, pathRuns+"/"+first.ID+"/cancel", ""); cancel.StatusCode != http.StatusAccepted || again.StatusCode != http.StatusConflict {
		t.Errorf("cancelled: %s, again: %s", cancel.Status, again.Status)
	}
	if s.runs.active() != 2 {
		t.Error("the execution ended with one of two callers")
	}
	close(b.end)
	for _, r := range []view.Run{second, other} {
		s.follow(r.ID)
		var doc view.Document
		s.get(pathRuns+"/"+r.ID+"/result", &doc)
		if len(doc.Rounds) != 1 {
			t.Errorf("%s: %+v", r.ID, doc)
		}
	}
	var v view.Run
	if s.get(pathRuns+"/"+first.ID, &v); v.State != "cancelled" {
		t.Errorf("the run that was cancelled: %+v", v)
	}
}

func TestTheLastCallerEndsARun(t *testing.T) {
	b := newBlocking()
	s := start(t, &fake{do: b.do}, nil)
	first, _ := s.post(diagnosis)
	second, _ := s.post(diagnosis)
	<-b.began
	for _, r := range []view.Run{first, second} {
		if a := s.call(http.MethodPost, pathRuns+"/"+r.ID+"/cancel", ""); a.StatusCode != http.StatusAccepted {
			t.Fatal(a.Status)
		}
	}
	<-b.ended
}

func TestTheEndOfTheServiceInterruptsRuns(t *testing.T) {
	b := newBlocking()
	s := start(t, &fake{do: b.do}, nil)
	run, _ := s.post(diagnosis)
	<-b.began
	s.API.Close()
	var v view.Run
	if s.get(pathRuns+"/"+run.ID, &v); v.State != "interrupted" {
		t.Errorf("%+v", v)
	}
	if a := s.call(http.MethodPost, pathRuns, diagnosis); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a run after the end: %s", a.Status)
	}
}

func TestIdempotency(t *testing.T) {
	s := start(t, &fake{asked: make(chan prober.DiagnoseOptions, 10)}, nil)
	first, a := s.post(diagnosis, "Idempotency-Key", "mine")
	if a.Header.Get("Idempotency-Replayed") != "" {
		t.Error("the first is called a replay")
	}
	s.follow(first.ID)
	for range 2 {
		again, a := s.post(diagnosis, "Idempotency-Key", "mine")
		if again.ID != first.ID || a.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%+v %v", again, a.Header)
		}
		s.runs.mu.Lock() // as after a restart: only the store knows it
		s.runs.keys, s.runs.handles = map[string]string{}, map[string]*handle{}
		s.runs.mu.Unlock()
	}
	if n := len(s.fake.asked); n != 1 {
		t.Errorf("%d runs were made", n)
	}
	other := s.call(http.MethodPost, pathRuns, `{"kind":"diagnose","target":"192.0.2.11:443"}`, "Idempotency-Key", "mine")
	if other.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(other.body), "header.Idempotency-Key") {
		t.Errorf("another body: %s %s", other.Status, other.body)
	}
	if another, _ := s.post(diagnosis, "Idempotency-Key", "mine", "X-User", "ann:right"); another.ID == first.ID {
		t.Error("another user's key is the same")
	}
}

// TestRefusals: each problem names the place.
func TestRefusals(t *testing.T) {
	s := start(t, &fake{asked: make(chan prober.DiagnoseOptions, 1)}, nil)
	for _, tt := range []struct {
		name, body string
		header     []string
		status     int
		place      string
	}{
		{"no JSON", `{`, nil, 400, "body"},
		{"a key that is unknown", `{"kind":"probe","target":"192.0.2.10:443","burst":9}`, nil, 422, "body.burst"},
		{"no kind", `{"target":"192.0.2.10:443"}`, nil, 422, "body"},
		{"a kind that is unknown", `{"kind":"flood","target":"192.0.2.10:443"}`, nil, 422, "body.kind"},
		{"no port", `{"kind":"probe","target":"192.0.2.10"}`, nil, 422, "body.target"},
		{"a target that is not allowed", `{"kind":"probe","target":"198.51.100.1:443"}`, nil, 403, "body.target"},
		{"the metadata address", `{"kind":"probe","target":"169.254.169.254:80"}`, nil, 403, "body.target"},
		{"a module that is unknown", `{"kind":"probe","target":"192.0.2.10:443","module":"x"}`, nil, 422, "body.module"},
		{"a member that is not allowed", `{"kind":"diagnose","target":"192.0.2.10:443","members":["192.0.2.21:443","198.51.100.1:443"]}`, nil, 403, "body.members[1]"},
		{"a contrast without port", `{"kind":"diagnose","target":"192.0.2.10:443","contrast":"192.0.2.9"}`, nil, 422, "body.contrast"},
		{"a contrast that is not allowed", `{"kind":"diagnose","target":"192.0.2.10:443","contrast":"198.51.100.1:80"}`, nil, 403, "body.contrast"},
		{"too long", `{"kind":"diagnose","target":"192.0.2.10:443","max_seconds":601}`, nil, 422, "body.max_seconds"},
		{"a probe with a diagnosis' option", `{"kind":"probe","target":"192.0.2.10:443","max_syns":3}`, nil, 422, "body.max_syns"},
		{"hold, of a stranger", `{"kind":"diagnose","target":"192.0.2.10:443","hold":3}`, nil, 403, "body.hold"},
		{"priming, with a wrong password", `{"kind":"diagnose","target":"192.0.2.10:443","i_own_this_path":true}`, []string{"X-User", "ann:wrong"}, 403, "body.i_own_this_path"},
		{"backlog over the limit", `{"kind":"diagnose","target":"192.0.2.10:443","backlog":33}`, []string{"X-User", "ann:right"}, 422, "body.backlog"},
		{"a key that is long", diagnosis, []string{"Idempotency-Key", strings.Repeat("k", 200)}, 422, "header.Idempotency-Key"},
		{"a page of another origin", diagnosis, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another origin"},
		{"a form", `kind=probe`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
		{"a huge body", `{"kind":"probe","target":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413, ""},
	} {
		a := s.call(http.MethodPost, pathRuns, tt.body, tt.header...)
		if a.StatusCode != tt.status || !strings.Contains(string(a.body), tt.place) || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s: want %d and %q in %.300s", tt.name, a.Status, a.Header.Get("Content-Type"), tt.status, tt.place, a.body)
		}
	}
	if len(s.fake.asked) != 0 {
		t.Error("something was probed")
	}
	for path, status := range map[string]int{
		pathRuns + "/" + strings.Repeat("0", 32):             404,
		pathRuns + "/x":                                      422,
		pathRuns + "/" + strings.Repeat("0", 32) + "/events": 404,
		pathResults + "/7":                                   404,
		pathResults + "/7/round":                             404,
		pathResults + "/7/capture":                           404,
		pathResults + "/0":                                   422,
		pathResults + "?cursor=abc":                          422,
		pathResults + "?limit=501":                           422,
		pathResults + "?success=maybe":                       422,
		pathResults + "?from=yesterday":                      422,
		pathResults + "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": 422,
		"/api/v1/history":                    422,
		"/api/v1/history?target=a:1&step=90": 422,
		"/api/v1/history?target=a:1&from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": 422,
		"/api/v1/targets?cursor=%FF": 422,
		"/api/v1/verdicts/none":      404,
	} {
		a := s.call(http.MethodGet, path, "")
		if a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET %s: %s: want %d: %s", path, a.Status, status, a.body)
		}
	}
}

func TestWhatCanHurtIsDoneForThoseWhoAuthenticate(t *testing.T) {
	s := start(t, &fake{asked: make(chan prober.DiagnoseOptions, 1)}, nil)
	run, _ := s.post(`{"kind":"diagnose","target":"192.0.2.10:443","hold":3,"i_own_this_path":true,"backlog":32,"members":["192.0.2.21:443"],"contrast":"192.0.2.9:80","max_syns":500}`,
		"X-User", "ann:right")
	s.follow(run.ID)
	o := <-s.fake.asked
	if o.Hold != 3 || !o.MayPrime || o.Backlog != 32 || len(o.Members) != 1 || o.Contrast.String() != "192.0.2.9:80" || o.MaxSYNs != 500 || !o.Module.Record.On || !o.SizeBurst {
		t.Errorf("%+v", o)
	}
}

func TestBounds(t *testing.T) {
	b := newBlocking()
	s := start(t, &fake{do: b.do}, func(o *Options) { o.MaxRuns, o.MaxReaders = 2, 16 })
	first, _ := s.post(diagnosis)
	s.post(`{"kind":"diagnose","target":"192.0.2.11:443"}`)
	full := s.call(http.MethodPost, pathRuns, `{"kind":"diagnose","target":"192.0.2.12:443"}`)
	if full.StatusCode != http.StatusTooManyRequests || full.Header.Get("Retry-After") == "" {
		t.Errorf("a third run: %s", full.Status)
	}
	if same := s.call(http.MethodPost, pathRuns, diagnosis); same.StatusCode != http.StatusAccepted {
		t.Errorf("the same as the first, which is under way: %s", same.Status)
	}
	leave := s.follows.take(netip.MustParsePrefix("127.0.0.1/32"))
	if a := s.call(http.MethodGet, pathRuns+"/"+first.ID+"/events", ""); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second reader of a client that may have one: %s", a.Status)
	}
	leave()
	leave() // once is enough
	close(b.end)
	s.follow(first.ID)
	for range maxReads {
		s.reads <- struct{}{}
	}
	if a := s.call(http.MethodGet, pathResults, ""); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a question when all places are taken: %s", a.Status)
	}
	for range maxReads {
		<-s.reads
	}
}

// TestRunbooks: whatever verdict an alert has as label, its entry of the catalogue answers.
func TestRunbooks(t *testing.T) {
	s := start(t, &fake{}, nil)
	for _, v := range diagnose.Verdicts() {
		a := s.call(http.MethodGet, "/api/v1/verdicts/"+string(v), "")
		if a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"`+string(v)+`"`) {
			t.Errorf("%s: %s: %s", v, a.Status, a.body)
		}
	}
}

func TestAClientThatAsksTooOftenIsHeldOff(t *testing.T) {
	s := start(t, &fake{}, func(o *Options) { o.ClientRate = 2 })
	taken := 0
	for range 20 {
		switch a := s.call(http.MethodGet, "/api/v1/verdicts/healthy", ""); a.StatusCode {
		case http.StatusOK:
			taken++
		case http.StatusTooManyRequests:
			if a.Header.Get("Retry-After") == "" {
				t.Error("it does not say when to try again")
			}
		default:
			t.Fatal(a.Status)
		}
	}
	if taken < 8 || taken > 16 {
		t.Errorf("%d of 20 were answered; want the 8 of a burst and few more", taken)
	}
}

func TestClientsAreToldApartByAddress(t *testing.T) {
	c := newClients(1)
	now := time.Now()
	one, other := clientOf(&http.Request{RemoteAddr: "[2001:db8::1]:99"}), clientOf(&http.Request{RemoteAddr: "[2001:db8:0:1::1]:99"})
	if one != clientOf(&http.Request{RemoteAddr: "[2001:db8::2]:5"}) || one == other || clientOf(&http.Request{RemoteAddr: "@"}).IsValid() {
		t.Errorf("%s %s", one, other)
	}
	for range c.burst {
		if c.take(one, now) != 0 {
			t.Fatal("held off within the burst")
		}
	}
	if c.take(other, now) != 0 {
		t.Error("one client's allowance is another's")
	}
	if wait := c.take(one, now); wait != time.Second {
		t.Errorf("wait %s at one a second", wait)
	}
	if c.take(one, now.Add(20*time.Minute)) != 0 || len(c.known) != 1 {
		t.Errorf("after a long time: %d clients are known", len(c.known))
	}
}

func TestPagesOfResults(t *testing.T) {
	s := start(t, &fake{}, nil)
	var want []int64
	for i := range 7 {
		r := stalledRound("192.0.2.10:443")
		r.Started = r.Started.Add(time.Duration(i) * time.Millisecond)
		s.rec.Asked("0123456789abcdef0123456789abcdef", []prober.Round{r})
	}
	if err := s.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all view.Results
	s.get(pathResults, &all)
	for _, r := range all.Results {
		want = append(want, r.ID)
	}
	var got []int64
	for path := pathResults + "?limit=3&named=true&verdict=local_arp_queue_overflow&level=proven&success=false&target=192.0.2.10:443"; ; {
		var page view.Results
		s.get(path, &page)
		for _, r := range page.Results {
			got = append(got, r.ID)
		}
		if page.Next == "" {
			break
		}
		path = pathResults + "?limit=3&cursor=" + page.Next
	}
	if d := cmp.Diff(want, got); d != "" || len(got) != 7 {
		t.Error(d)
	}
}

func TestTargets(t *testing.T) {
	s := start(t, &fake{}, nil)
	web := map[string]string{"vip": "web", "role": "vip"}
	s.rec.Observe("vips", "connect", web, []prober.Round{stalledRound("192.0.2.10:443")})
	var all view.Targets
	s.get("/api/v1/targets", &all)
	var got []string
	for _, x := range all.Targets {
		got = append(got, x.Group+" "+x.Role+" "+x.Target+" "+x.State+" "+x.Recent)
	}
	want := []string{"web vip 192.0.2.10:443 failed f", "web vip 192.0.2.12:443 pending ", "web member 192.0.2.21:443 pending "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if x := all.Targets[0]; x.Result == 0 || x.Causes[0].Verdict != "local_arp_queue_overflow" || x.IntervalNS != int64(10*time.Second) || x.MaxNS == nil {
		t.Errorf("%+v", x)
	}
	var paged []string
	for path := "/api/v1/targets?limit=1"; ; {
		var page view.Targets
		s.get(path, &page)
		for _, x := range page.Targets {
			paged = append(paged, x.Group+" "+x.Role+" "+x.Target+" "+x.State+" "+x.Recent)
		}
		if page.Next == "" {
			break
		}
		path = "/api/v1/targets?limit=1&cursor=" + page.Next
	}
	if d := cmp.Diff(want, paged); d != "" {
		t.Error(d)
	}
}

func TestHistory(t *testing.T) {
	s := start(t, &fake{}, nil)
	s.rec.Observe("vips", "connect", nil, []prober.Round{stalledRound("192.0.2.10:443")})
	if err := s.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var h view.History
	s.get("/api/v1/history?target=192.0.2.10:443", &h)
	if len(h.Points.At) != 1 || h.Points.HandshakeUS[0] != 1_001_000 || h.Points.Names[h.Points.Outcome[0]] != "accepted" || h.Points.Lost[0] != 1 || h.Points.Stalled[0] != 1 {
		t.Errorf("%+v", h.Points)
	}
	if len(h.Buckets.At) != 1 || h.Buckets.Stalled[0] != 1 || *h.Buckets.MaxUS[0] != 1_001_000 || len(h.Series) != 1 {
		t.Errorf("%+v", h.Buckets)
	}
	s.get("/api/v1/history?target=nobody:1", &h)
	if len(h.Points.At) != 0 || len(h.Series) != 0 {
		t.Errorf("of a target that is not there: %+v", h)
	}
}

// TestOpenAPI holds the document against the routes, both ways, and what every operation must say.
func TestOpenAPI(t *testing.T) {
	s := start(t, &fake{}, nil)
	var served struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Responses   map[string]struct{ Content map[string]any }
		}
	}
	a := s.call(http.MethodGet, "/openapi.json", "")
	if err := json.Unmarshal(a.body, &served); err != nil || served.OpenAPI != "3.1.0" {
		t.Fatalf("%v %q", err, served.OpenAPI)
	}
	described, ids := map[string]bool{}, map[string]bool{}
	for path, item := range served.Paths {
		for method, op := range item {
			described[strings.ToUpper(method)+" "+path] = true
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s %s: id %q twice or missing, summary %q", method, path, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			if _, ok := op.Responses["429"].Content["application/problem+json"]; !ok {
				t.Errorf("%s %s: a refusal is not described", method, path)
			}
		}
	}
	routed := map[string]bool{}
	err := chi.Walk(s.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.HasPrefix(route, "/openapi") {
			routed[method+" "+route] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(routed, described); d != "" {
		t.Errorf("routes (-) against the document (+): %s", d)
	}
	if text := string(a.body); strings.Contains(text, `"format":"int32","minimum":0`) || !strings.Contains(text, `"uint32"`) {
		t.Error("a TSval is described as a signed number of 32 bits")
	}
	if bytes.Contains(a.body, []byte("hunter2")) {
		t.Error("a secret stands in the document")
	}
}

func (f *fake) Validate(_ context.Context, candidates []string, o prober.ValidateOptions) []prober.Validated {
	out := []prober.Validated{{Target: candidates[0], Started: time.Now()}}
	for _, c := range o.Checks {
		out[0].Results = append(out[0].Results, rollout.Result{Check: c, State: rollout.Pass, Got: "fine"})
	}
	return out
}
