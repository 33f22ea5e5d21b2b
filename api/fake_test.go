package api

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/rollout"
	"github.com/vipprobe/vipprobe/prober/wire"
	"github.com/vipprobe/vipprobe/targets"
)

// call is one Probe that the fake was asked for.
type call struct {
	target string
	module prober.Module
	left   time.Duration // until the context's deadline
}

// fake answers by script and remembers what it was asked.
type fake struct {
	answer func(ctx context.Context, target string, m prober.Module) ([]prober.Round, error)

	mu    sync.Mutex
	calls []call
}

var _ Prober = (*fake)(nil)

func (f *fake) Probe(ctx context.Context, target string, m prober.Module) ([]prober.Round, error) {
	c := call{target: target, module: m}
	if d, ok := ctx.Deadline(); ok {
		c.left = time.Until(d)
	}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	if f.answer == nil {
		return []prober.Round{healthyRound(target, m)}, nil
	}
	return f.answer(ctx, target, m)
}

func (f *fake) Diagnose(ctx context.Context, target string, o prober.DiagnoseOptions) ([]prober.Round, error) {
	return f.Probe(ctx, target, o.Module)
}

func (f *fake) asked() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.calls...)
}

// service is a Server around a fake.
type service struct {
	*Server
	fake *fake
	log  *bytes.Buffer
}

const testConfig = `
modules:
  slow: {prober: connect, timeout: 60s}
  mail:
    prober: tcp
    timeout: 5s
    tcp:
      tls: true
      query_response: [{expect: "^220", send: "AUTH hunter2"}]
  broken: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: /nonexistent/ca.crt}}}
allow: [192.0.2.0/24]
`

func testOptions(t testing.TB, f *fake) Options {
	t.Helper()
	config, err := targets.Parse("test.yml", []byte(testConfig))
	if err != nil {
		t.Fatal(err)
	}
	return Options{Prober: f, Config: func() *targets.Config { return config }, Logger: zerolog.Nop()}
}

func newService(t *testing.T, f *fake, change func(*Options)) *service {
	t.Helper()
	var log bytes.Buffer
	o := testOptions(t, f)
	o.Logger = zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.InfoLevel)
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &service{s, f, &log}
}

func (s *service) get(path string, header ...string) *httptest.ResponseRecorder {
	return s.do(context.Background(), http.MethodGet, path, header...)
}

func (s *service) do(ctx context.Context, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a moment d after epoch.
func at(d time.Duration) time.Time { return epoch.Add(d) }

func accepted(i int, rtt time.Duration, lost int) observe.Attempt {
	a := observe.Attempt{
		Index: i, Arm: "connect", Via: plan.Kernel, Outcome: observe.Accepted, RTT: rtt, Handshake: rtt, Clock: observe.TapClock,
		Answered: lost, Retransmissions: lost, Lost: lost, LostBy: observe.ByTSecr,
		Flow: wire.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(61000+i)), Dst: netip.MustParseAddrPort("192.0.2.10:443")},
	}
	steps := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}
	for n := range lost + 1 {
		a.SYNs = append(a.SYNs, observe.SYN{At: at(steps[n]), TSval: wire.TSval(1000 + n), HasTS: true, IfIndex: 2})
	}
	a.Handshake += steps[lost]
	a.Answers = []observe.Answer{{At: at(steps[lost] + rtt), Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK, Window: 65160, HopLimit: 64}}
	return a
}

func round(target string, m prober.Module, attempts ...observe.Attempt) prober.Round {
	return prober.Round{
		Target: target, Addr: netip.MustParseAddrPort("192.0.2.10:443"), Module: m.Name, Kind: m.Kind, Started: epoch, Duration: 20 * time.Millisecond,
		Ladder: plan.Exponential(time.Second, 6), Kernel: "6.18.0", Success: true,
		Observations: []observe.Observation{{
			Label: "burst", Started: epoch, Finished: at(15 * time.Millisecond), Attempts: attempts, Captured: true,
			Parity: observe.Parity{State: observe.ParitySame},
		}},
	}
}

func healthyRound(target string, m prober.Module) prober.Round {
	r := round(target, m, accepted(0, time.Millisecond, 0), accepted(1, 2*time.Millisecond, 0))
	r.Diagnosis = diagnose.Diagnosis{Headline: "healthy", Causes: []diagnose.Cause{{Verdict: diagnose.Healthy, Level: diagnose.Confirmed}}}
	return r
}

// stalledRound has every kind of series: stalls of one, two and four SYNs, a refused and a lost connection, ARP, capture drops.
func stalledRound(target string, m prober.Module) prober.Round {
	refused := observe.Attempt{Index: 4, Arm: "connect", Via: plan.Kernel, Outcome: observe.Refused, Reason: "ECONNREFUSED", Answered: -1}
	lost := observe.Attempt{Index: 5, Arm: "connect", Via: plan.Kernel, Outcome: observe.TimedOut, Answered: -1, Retransmissions: 2}
	r := round(target, m, accepted(0, time.Millisecond, 0), accepted(1, 2*time.Millisecond, 1), accepted(2, 3*time.Millisecond, 2),
		accepted(3, 4*time.Millisecond, 4), refused, lost)
	r.Lookup, r.Success, r.Why = 5*time.Millisecond, false, "2 of 6 connections were not accepted"
	o := &r.Observations[0]
	o.CaptureDrops = 3
	o.Unmeasured = []string{"kernel counters: not readable here"}
	vip, self := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.1")
	o.Neighbor = []observe.NeighborEvent{
		{At: epoch, Outgoing: true, Kind: observe.NeighborRequest, Sender: self, Target: vip},
		{At: at(time.Millisecond), Kind: observe.NeighborReply, Sender: vip, Target: self},
	}
	r.Diagnosis = diagnose.Diagnosis{
		Headline: "the local neighbour queue overflowed",
		Causes:   []diagnose.Cause{{Verdict: diagnose.LocalARPQueueOverflow, Level: diagnose.Proven, Summary: "3 of 6"}},
	}
	return r
}

func addrPortOf(e prober.Endpoint) netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.Port) }

func (f *fake) Validate(_ context.Context, candidates []string, o prober.ValidateOptions) []prober.Validated {
	out := []prober.Validated{{Target: candidates[0], Started: time.Now()}}
	for _, c := range o.Checks {
		out[0].Results = append(out[0].Results, rollout.Result{Check: c, State: rollout.Pass, Got: "fine"})
	}
	return out
}
