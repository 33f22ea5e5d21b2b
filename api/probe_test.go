package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
)

func TestProbeStatus(t *testing.T) {
	notAllowed := &prober.NotAllowedError{Target: "198.51.100.1:443", Addr: netip.MustParseAddr("198.51.100.1"), Why: "not on the allow list", Entry: "198.51.100.1"}
	for _, tt := range []struct {
		name   string
		query  string
		header string
		err    error // of the target
		round  error // of its only round
		status int
		body   string
	}{
		{name: "a healthy target", query: "target=192.0.2.10:443", status: 200, body: "probe_success 1\n"},
		{name: "a named module", query: "target=192.0.2.10:443&module=mail", status: 200, body: "probe_success 1\n"},
		{name: "no target", query: "module=slow", status: 400, body: "the parameter target is missing: /probe?target=HOST:PORT&module=slow\n"},
		{name: "an unknown module", query: "target=192.0.2.10:443&module=pause", status: 400, body: `unknown module "pause"; there are broken, connect, mail, neighbor, paws, slow` + "\n"},
		{name: "a target without a port", query: "target=192.0.2.10", status: 400, body: `target "192.0.2.10": no port; want HOST:PORT, 192.0.2.1:443 or [2001:db8::1]:443` + "\n"},
		{name: "a hostname of spaces", query: "target=192.0.2.10:443&hostname=a%20b", status: 400, body: `hostname: "a b" is no host name` + "\n"},
		{name: "a timeout of words", query: "target=192.0.2.10:443", header: "soon", status: 400, body: `header X-Prometheus-Scrape-Timeout-Seconds: "soon" is no number of seconds` + "\n"},
		{name: "a timeout of nothing", query: "target=192.0.2.10:443", header: "NaN", status: 400, body: `header X-Prometheus-Scrape-Timeout-Seconds: "NaN" is no number of seconds` + "\n"},
		{name: "a timeout before now", query: "target=192.0.2.10:443", header: "-1", status: 400, body: `header X-Prometheus-Scrape-Timeout-Seconds: "-1" is no number of seconds` + "\n"},
		{name: "a timeout parameter without a unit", query: "target=192.0.2.10:443&timeout=3", status: 400, body: `timeout: "3" is no duration above zero; write it with a unit, such as 2s` + "\n"},
		{name: "a target off the list", query: "target=198.51.100.1:443", err: notAllowed, status: 403,
			body: `target 198.51.100.1:443: 198.51.100.1 is not on the allow list; to permit it add "198.51.100.1" under allow:` + "\n"},
		{name: "a name whose address is off the list", query: "target=vip.example:443", round: notAllowed, status: 403,
			body: `target 198.51.100.1:443: 198.51.100.1 is not on the allow list; to permit it add "198.51.100.1" under allow:` + "\n"},
		{name: "a wrapped refusal", query: "target=vip.example:443", err: fmt.Errorf("probe: %w", notAllowed), status: 403, body: "to permit it add"},
		{name: "a name without an address", query: "target=nope.invalid:443", err: &prober.ResolveError{Host: "nope.invalid", Err: errors.New("no such host")}, status: 200, body: "probe_success 0\n"},
		{name: "no time left", query: "target=192.0.2.10:443", err: context.DeadlineExceeded, status: 200, body: "probe_success 0\n"},
		{name: "over budget", query: "target=192.0.2.10:443", err: &prober.BudgetError{Target: "192.0.2.10:443", Limit: "unanswered", Detail: "2000 of 2000 in use"}, status: 429,
			body: "target 192.0.2.10:443: limits.unanswered: 2000 of 2000 in use\n"},
		{name: "no capability", query: "target=192.0.2.10:443", round: &prober.EnvironmentError{Target: "192.0.2.10:443", Err: errors.New("interface eth9: no such device")}, status: 503,
			body: "target 192.0.2.10:443: interface eth9: no such device\n"},
		{name: "an error nobody knows", query: "target=192.0.2.10:443", round: errors.New("send: no buffer space available"), status: 500, body: "send: no buffer space available\n"},
		{name: "a module whose CA is missing", query: "target=192.0.2.10:443&module=broken", status: 200, body: "probe_success 0\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{}
			if tt.err != nil || tt.round != nil {
				f.answer = func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
					if tt.err != nil {
						return nil, tt.err
					}
					return []prober.Round{{Target: target, Module: m.Name, Kind: m.Kind, Err: tt.round}}, nil
				}
			}
			s := newService(t, f, nil)
			var header []string
			if tt.header != "" {
				header = []string{scrapeTimeout, tt.header}
			}
			w := s.get("/probe?"+tt.query, header...)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			switch body := w.Body.String(); {
			case tt.status == http.StatusOK && !strings.Contains(body, tt.body):
				t.Errorf("want %q in\n%s", tt.body, body)
			case tt.status != http.StatusOK && !strings.HasSuffix(body, tt.body) && !strings.Contains(body, tt.body):
				t.Errorf("body %q, want %q", body, tt.body)
			}
			if count := scrape(t, s, "vipprobe_probe_requests_total{code=\""+fmt.Sprint(tt.status)+"\"}"); count != "1" {
				t.Errorf("requests counted with %d: %s", tt.status, count)
			}
		})
	}
}

// TestOneAddressOfSeveralDecidesNothingAlone: rounds add up, and a refused address beside a probed one is a failure, not a refusal.
func TestSeveralRoundsAddUp(t *testing.T) {
	good := func(target string, m prober.Module) prober.Round { return healthyRound(target, m) }
	bad := func(target string, _ prober.Module) prober.Round {
		return prober.Round{Target: target, Err: &prober.NotAllowedError{Target: target, Entry: "x"}}
	}
	for _, tt := range []struct {
		name     string
		rounds   []func(string, prober.Module) prober.Round
		success  string
		accepted string
	}{
		{"two good", []func(string, prober.Module) prober.Round{good, good}, "1", "4"},
		{"one not allowed", []func(string, prober.Module) prober.Round{good, bad}, "0", "2"},
		{"one stalled and failed", []func(string, prober.Module) prober.Round{stalledRound, good}, "0", "6"},
		{"none at all", nil, "0", "0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) (rounds []prober.Round, _ error) {
				for _, r := range tt.rounds {
					rounds = append(rounds, r(target, m))
				}
				return rounds, nil
			}}, nil)
			body := s.get("/probe?target=vip.example:443").Body.String()
			if got := value(body, "probe_success"); got != tt.success {
				t.Errorf("probe_success %s, want %s", got, tt.success)
			}
			if got := value(body, `probe_tcp_connections{outcome="accepted"}`); got != tt.accepted {
				t.Errorf("accepted %s, want %s", got, tt.accepted)
			}
		})
	}
}

// TestURLCannotShapeTheProbe: whatever the query says, the module is the configuration's, but for its timeout and family.
func TestURLCannotShapeTheProbe(t *testing.T) {
	f := &fake{}
	s := newService(t, f, nil)
	s.get("/probe?target=192.0.2.10:443&burst=4096&count=1000&tsval=1&source_ip_address=192.0.2.99&interface=eth0&hop_limit=1&allow=0.0.0.0/0&hostname=x.example&timeout=1h")
	want, err := s.opts.Config().Module("connect")
	if err != nil {
		t.Fatal(err)
	}
	want.IPProtocol = "ip6"
	if diff := cmp.Diff(want, f.asked()[0].module, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("module (-configured +asked):\n%s", diff)
	}
}

func TestHostnameIsWhatTLSVerifies(t *testing.T) {
	f := &fake{}
	s := newService(t, f, nil)
	s.get("/probe?target=192.0.2.10:443&module=mail&hostname=mail.example.org")
	s.get("/probe?target=192.0.2.10:443&module=mail")
	calls := f.asked()
	if got := calls[0].module.TCP.TLSConfig.ServerName; got != "mail.example.org" {
		t.Errorf("server name %q", got)
	}
	if got := calls[1].module.TCP.TLSConfig.ServerName; got != "" {
		t.Errorf("the name of one request stayed for the next: %q", got)
	}
}

func TestTimeout(t *testing.T) {
	for _, tt := range []struct {
		name           string
		query, header  string
		timeout, limit time.Duration
	}{
		{"no header: the module's", "module=slow", "", 60 * time.Second, 60*time.Second + 250*time.Millisecond},
		{"the scrape leaves less", "module=slow", "10", 9500 * time.Millisecond, 9750 * time.Millisecond},
		{"the module wants less", "module=mail", "10", 5 * time.Second, 5250 * time.Millisecond},
		{"a header of zero is none", "module=slow", "0", 60 * time.Second, 60*time.Second + 250*time.Millisecond},
		{"a scrape of less than the offset gets all of it", "module=slow", "0.4", 400 * time.Millisecond, 650 * time.Millisecond},
		{"a scrape of ages is 120 s", "module=slow", "1e300", 60 * time.Second, 60*time.Second + 250*time.Millisecond},
		{"the query shortens", "module=slow&timeout=2s", "10", 2 * time.Second, 2250 * time.Millisecond},
		{"the query cannot lengthen", "module=slow&timeout=50s", "10", 9500 * time.Millisecond, 9750 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := &fake{}
				s := newService(t, f, nil)
				var header []string
				if tt.header != "" {
					header = []string{scrapeTimeout, tt.header}
				}
				if w := s.get("/probe?target=192.0.2.10:443&"+tt.query, header...); w.Code != http.StatusOK {
					t.Fatalf("status %d: %s", w.Code, w.Body)
				}
				c := f.asked()[0]
				if c.module.Timeout != tt.timeout || c.left != tt.limit {
					t.Errorf("timeout %s within %s, want %s within %s", c.module.Timeout, c.left, tt.timeout, tt.limit)
				}
			})
		})
	}
}

func TestDebug(t *testing.T) {
	s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		return []prober.Round{stalledRound(target, m)}, nil
	}}, nil)
	w := s.get("/probe?target=192.0.2.10:443&module=mail&debug=true")
	body := w.Body.String()
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, type %s", w.Code, w.Header().Get("Content-Type"))
	}
	for _, want := range []string{
		"Logs for the probe:\n", "Metrics that would have been returned:\n", "Module configuration:\n", "Rounds:\n",
		`"outcome":"refused","reason":"ECONNREFUSED"`, `"message":"not measured: kernel counters: not readable here"`,
		`"verdict":"local_arp_queue_overflow","level":"proven"`, "2 of 6 connections were not accepted",
		"probe_success 0\n", `probe_tcp_stalled_connections{lost_syns="4+"} 1`, "prober: tcp\n", `"lost_syns": 2`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("want %q in the debug text", want)
		}
	}
	if strings.Contains(body, "hunter2") {
		t.Error("the debug text shows what the module sends, a secret")
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestBusy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
			<-release
			return []prober.Round{healthyRound(target, m)}, nil
		}}, func(o *Options) { o.MaxInFlight = 1 })
		done := make(chan int)
		go func() { done <- s.get("/probe?target=192.0.2.10:443").Code }()
		settle()
		w := s.get("/probe?target=192.0.2.11:443")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
		}
		close(release)
		if code := <-done; code != http.StatusOK {
			t.Errorf("the first probe answered %d", code)
		}
	})
}

func TestPanicOfTheProber(t *testing.T) {
	s := newService(t, &fake{answer: func(context.Context, string, prober.Module) ([]prober.Round, error) { panic("boom") }}, nil)
	if w := s.get("/probe?target=192.0.2.10:443"); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "boom") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if !strings.Contains(s.log.String(), "boom") {
		t.Errorf("the log does not tell of the panic: %s", s.log)
	}
	if w := s.get("/-/healthy"); w.Code != http.StatusOK {
		t.Errorf("after it /-/healthy answers %d", w.Code)
	}
}

// Probes that are paused say so, and when they will not be.
func TestPausedProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		f.answer = func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
			return []prober.Round{{Target: target, Module: m.Name, Kind: m.Kind, Err: &prober.PausedError{Target: target, Source: netip.MustParseAddr("192.0.2.1"),
				Addr: netip.MustParseAddr("192.0.2.10"), Until: time.Now().Add(41500 * time.Millisecond)}}}, nil
		}
		w := newService(t, f, nil).get("/probe?target=192.0.2.10:443")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "42" {
			t.Errorf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
		}
		if !strings.Contains(w.Body.String(), "primed the server") {
			t.Errorf("%s", w.Body)
		}
	})
}
