package page_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/api/record"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/prober/results/minute"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/prober/wire"
	"github.com/vipprobe/vipprobe/targets"
)

const config = `
allow: [192.0.2.0/24, 10.77.0.0/24]
jobs:
  - {name: vips, interval: 10s, targets: ["192.0.2.10:443"], labels: {vip: "web.example:443", role: vip}}
  - {name: web, interval: 10s, targets: ["192.0.2.21:443", "192.0.2.22:443", "192.0.2.23:443"], labels: {vip: "web.example:443", role: member}}
  - {name: arp, interval: 10s, targets: ["10.77.0.10:80"]}
  - {name: odd, interval: 10s, targets: ["192.0.2.66:443", "192.0.2.67:443"], labels: {vip: "<img src=x onerror=document.title='owned'>", role: member}}
  - {name: mail, interval: 10s, targets: ["192.0.2.30:25"]}
  - {name: new, interval: 10s, targets: ["192.0.2.40:443"]}
`

// hostile is the name above: it must stay a name.
const hostile = "<img src=x onerror=document.title='owned'>"

// site is a service with what a day has left behind.
type site struct {
	*httptest.Server
	prober *fake
	paws   int64 // the result that the lab's recycle-vip gave
	arp    int64 // arp-client
	day    time.Time
}

// fake diagnoses by telling two bursts, of which the second waits.
type fake struct {
	release chan struct{}
}

func (f *fake) Probe(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
	return []prober.Round{round(target, m.Name, "")}, nil
}

func (f *fake) Diagnose(ctx context.Context, target string, o prober.DiagnoseOptions) ([]prober.Round, error) {
	addr := netip.MustParseAddrPort(target)
	o.Progress(prober.Progress{Addr: addr, Label: "first contact", Why: "nothing can be said before it", Shots: 10, Most: 3 * time.Second})
	o.Progress(prober.Progress{Addr: addr, Label: "quadrants", Why: "does an answer depend on the TSval?", Shots: 16, Spent: time.Second, Most: time.Second})
	select {
	case <-f.release:
		return []prober.Round{round(target, "connect", diagnose.LocalARPQueueOverflow)}, nil
	case <-ctx.Done():
		return []prober.Round{round(target, "connect", "")}, nil
	}
}

// round has ten connections; with a verdict, some stalled.
func round(target, module string, verdict diagnose.Verdict) prober.Round {
	at := time.Now().Add(-2 * time.Second).UTC()
	r := prober.Round{Target: target, Addr: netip.MustParseAddrPort(target), Module: module, Kind: prober.KindConnect, Started: at, Duration: time.Second, Success: true}
	o := observe.Observation{Label: "first contact", Started: at, Finished: at.Add(time.Second), Captured: true}
	for i := range 10 {
		a := observe.Attempt{Index: i, Arm: "kernel", Via: plan.Kernel, Outcome: observe.Accepted, RTT: 300 * time.Microsecond, Handshake: 300 * time.Microsecond,
			SYNs: []observe.SYN{{At: at, HasTS: true, TSval: 28_000_000}}, Flow: wire.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(61000+i)), Dst: r.Addr}}
		if verdict != "" && i < 3 {
			a.Handshake, a.Retransmissions, a.Lost, a.LostBy, a.Answered = time.Second, 1, 1, observe.ByTSecr, 1
			a.SYNs = append(a.SYNs, observe.SYN{At: at.Add(time.Second), HasTS: true, TSval: 28_001_000})
		}
		a.Answers = []observe.Answer{{At: at.Add(a.Handshake), Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK}}
		o.Attempts = append(o.Attempts, a)
	}
	r.Observations = []observe.Observation{o}
	if verdict != "" {
		r.Why = "3 of 10 attempts stalled"
		r.Diagnosis = diagnose.Diagnosis{Headline: string(verdict) + " (proven): 3 of 10", Causes: []diagnose.Cause{{Verdict: verdict, Level: diagnose.Proven, Summary: "3 of 10 first SYNs were dropped",
			Evidence: []string{"this host asked for it"}, Remedy: "raise it", Disproof: "a warm repeat that loses as many"}}}
	}
	return r
}

func open(t *testing.T) *site {
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
	s := &site{prober: &fake{release: make(chan struct{})}, day: time.Now()}
	server, err := api.New(api.Options{Prober: s.prober, Config: func() *targets.Config { return cfg }, Results: store, Recorder: rec, Version: "v0-test", Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	s.fill(t, store, rec, cfg)
	s.Server = httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		s.CloseClientConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		s.Server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fill leaves rounds of every state behind.
func (s *site) fill(t *testing.T, store *results.Store, rec *record.Recorder, cfg *targets.Config) {
	t.Helper()
	for _, j := range cfg.Jobs() {
		for i, target := range j.Targets {
			for n := range 40 {
				r := round(target, "connect", "")
				switch {
				case j.Name == "new":
					continue
				case j.Name == "vips" && n%5 == 0, j.Name == "web" && i == 1 && n > 30:
					r = round(target, "connect", diagnose.TWRecyclePAWSDropSNAT)
				case j.Name == "mail" && n > 36:
					r.Success, r.Why = false, "10 of 10 attempts were not accepted"
				}
				rec.Observe(j.Name, "connect", j.Labels, []prober.Round{r})
			}
		}
	}
	s.points(t, store)
	s.paws = s.lab(t, store, "paws", results.Key{Job: "vips", Module: "connect", Target: "192.0.2.10:443", Addr: "192.0.2.10:443"})
	s.arp = s.lab(t, store, "arp", results.Key{Job: "arp", Module: "connect", Target: "10.77.0.10:80", Addr: "10.77.0.10:80"})
	if err := store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// points are 100,000 connections to the VIP in the last 50 minutes.
func (s *site) points(t *testing.T, store *results.Store) {
	t.Helper()
	const minutes, each = 50, 2000
	draw := rand.New(rand.NewPCG(1, 2))
	for m := range minutes {
		began := s.day.Add(time.Duration(m-minutes-2) * time.Minute).Truncate(time.Minute)
		e := results.Entry{Round: results.Round{Key: results.Key{Job: "vips", Module: "connect", Target: "192.0.2.10:443", Addr: "192.0.2.10:443"}, Origin: results.Scheduled,
			Started: began, Success: true, Attempts: each}}
		for i := range each {
			p := minute.Point{At: time.Duration(i) * time.Minute / each, Outcome: observe.Accepted, Handshake: time.Duration(150+draw.ExpFloat64()*120) * time.Microsecond}
			switch luck := draw.IntN(1000); {
			case m > 20 && luck < 60:
				p.Handshake, p.Stalled, p.Lost = p.Handshake+time.Second, true, 1
			case m > 20 && luck < 75:
				p.Handshake, p.Stalled, p.Lost = p.Handshake+3*time.Second, true, 2
			case luck == 999:
				p.Handshake, p.Outcome = 0, observe.TimedOut
			}
			e.Points = append(e.Points, p)
			e.Figures.Note(&p)
		}
		e.Figures.Rounds = 1
		if _, ok := store.Add(e); !ok {
			t.Fatal("the store is full")
		}
	}
}

// lab adds a diagnosis that a lab run gave, as it was written.
func (s *site) lab(t *testing.T, store *results.Store, name string, k results.Key) int64 {
	t.Helper()
	content := unzip(t, name+".json.gz")
	var v view.Round
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	e := results.Entry{Round: results.Round{Key: k, Origin: results.Diagnosed, Started: s.day.Add(-9 * time.Minute), Duration: time.Duration(v.DurationNS), Headline: v.Diagnosis.Headline,
		Attempts: v.Summary.Attempts, Stalled: v.Summary.Stalled}, Keep: true, Content: content}
	for i := range v.Diagnosis.Causes {
		e.Causes = append(e.Causes, results.Cause{Verdict: v.Diagnosis.Causes[i].Verdict, Level: v.Diagnosis.Causes[i].Level})
	}
	if name == "arp" {
		e.Pcapng = unzip(t, "arp.pcapng.gz")
	}
	id, ok := store.Add(e)
	if !ok {
		t.Fatal("the store is full")
	}
	return id
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	zipped, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Validate knows hosts by their last octet: .30 fails, .31 is not allowed to end before its caller leaves.
func (f *fake) Validate(ctx context.Context, candidates []string, o prober.ValidateOptions) []prober.Validated {
	var out []prober.Validated
	for _, c := range candidates {
		addr := netip.MustParseAddrPort(c)
		v := prober.Validated{Target: c, Addr: addr, Started: time.Now(), Took: time.Second, SYNs: 12, Profile: &profile.Profile{Addr: addr}}
		for _, check := range o.Checks {
			r := rollout.Result{Check: check, State: rollout.Pass, Got: "0"}
			if addr.Addr().As4()[3] == 30 {
				r = rollout.Result{Check: check, State: rollout.Fail, Got: "3 of 10", Why: hostile}
			}
			v.Results = append(v.Results, r)
		}
		if addr.Addr().As4()[3] == 31 {
			<-ctx.Done()
		}
		out = append(out, v)
	}
	return out
}
