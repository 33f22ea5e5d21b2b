package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

func TestPages(t *testing.T) {
	ready := errors.New("no capture yet")
	s := newService(t, &fake{}, func(o *Options) { o.Ready = func() error { return ready } })
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/-/healthy", 200, "Healthy"},
		{"HEAD", "/-/healthy", 200, ""},
		{"GET", "/-/ready", 503, "Not ready: no capture yet"},
		{"HEAD", "/-/ready", 503, ""},
		{"GET", "/config", 200, "allow:\n  - 192.0.2.0/24\n"},
		{"GET", "/", 200, `<script type="module" src="page/app.js">`},
		{"GET", "/page/app.js", 200, "import "},
		{"HEAD", "/", 200, ""},
		{"GET", "/page/", 404, ""},
		{"GET", "/page/index.html", 404, ""},
		{"GET", "/page/../server.go", 404, ""},
		{"POST", "/", 405, ""},
		{"GET", "/logs", 200, "<h1>Recent probes</h1>"},
		{"GET", "/logs?id=", 400, "want id="},
		{"GET", "/logs?id=x", 400, "want id="},
		{"GET", "/logs?id=7", 404, "no recent probe"},
		{"GET", "/-/reload", 405, ""},
		{"POST", "/-/reload", 501, "no configuration file"},
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"POST", "/probe?target=192.0.2.10:443", 405, ""},
		{"GET", "/api/v1/verdicts", 200, `"verdict":"local_arp_queue_overflow"`},
		{"GET", "/api/v1/verdicts/mtu_blackhole", 200, `"scenario":"pmtu-blackhole"`},
		{"GET", "/api/v1/verdicts/no_such", 404, `"location":"path.verdict"`},
		{"GET", "/api/v1/results?tagret=192.0.2.10:443", 422, `"location":"query.tagret"`},
		{"GET", "/metrics", 200, "vipprobe_build_info{"},
	} {
		w := s.do(t.Context(), tt.method, tt.path)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s %s: status %d, want %d with %q: %.200s", tt.method, tt.path, w.Code, tt.status, tt.body, w.Body)
		}
	}
	if n := len(s.fake.asked()); n != 0 {
		t.Errorf("%d probes were made", n)
	}
	ready = nil
	if w := s.get("/-/ready"); w.Code != http.StatusOK {
		t.Errorf("ready answers %d: %s", w.Code, w.Body)
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	s := newService(t, &fake{}, nil)
	for _, path := range []string{"/config", "/probe?target=192.0.2.10:443&module=mail&debug=true", "/logs?id=0", "/logs", "/"} {
		if w := s.get(path); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: status %d, shows the secret: %t", path, w.Code, strings.Contains(w.Body.String(), "hunter2"))
		}
	}
}

func TestReload(t *testing.T) {
	var broken error
	reloads := 0
	s := newService(t, &fake{}, func(o *Options) { o.Reload = func() error { reloads++; return broken } })
	if w := s.do(t.Context(), http.MethodPost, "/-/reload"); w.Code != http.StatusOK || reloads != 1 {
		t.Errorf("status %d after %d reloads: %s", w.Code, reloads, w.Body)
	}
	stamp := scrape(t, s, "vipprobe_config_last_reload_success_timestamp_seconds")
	if got := scrape(t, s, "vipprobe_config_last_reload_successful"); got != "1" || stamp == "0" {
		t.Errorf("successful %s at %s", got, stamp)
	}
	broken = errors.New("vipprobe.yml:3:5: modules.a.burts: unknown key; did you mean burst?")
	if w := s.do(t.Context(), http.MethodPut, "/-/reload"); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), broken.Error()) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if got := scrape(t, s, "vipprobe_config_last_reload_successful"); got != "0" {
		t.Errorf("successful %s after a bad file", got)
	}
	if got := scrape(t, s, "vipprobe_config_last_reload_success_timestamp_seconds"); got != stamp {
		t.Errorf("a bad file moved the time of the last good one from %s to %s", stamp, got)
	}
}

func TestHistory(t *testing.T) {
	s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		if strings.Contains(target, ".66:") {
			return []prober.Round{stalledRound(target, m)}, nil
		}
		return []prober.Round{healthyRound(target, m)}, nil
	}}, func(o *Options) { o.History = 3 })
	for i := range 8 {
		target := "192.0.2.10:443"
		if i == 1 {
			target = "192.0.2.66:443"
		}
		s.get("/probe?target=" + target)
	}
	for id, want := range map[int]int{0: 404, 1: 200, 2: 404, 4: 404, 5: 200, 7: 200} {
		if w := s.get(fmt.Sprintf("/logs?id=%d", id)); w.Code != want {
			t.Errorf("/logs?id=%d answers %d, want %d", id, w.Code, want)
		}
	}
	if body := s.get("/logs?id=1").Body.String(); !strings.Contains(body, "probe_success 0") || !strings.Contains(body, "192.0.2.66:443") {
		t.Errorf("the failed probe's log is\n%s", body)
	}
	page := s.get("/logs").Body.String()
	if n := strings.Count(page, "logs?id="); n != 4 {
		t.Errorf("%d probes on the first page, want the last three and the failed one", n)
	}
}

func TestFirstPageEscapes(t *testing.T) {
	s := newService(t, &fake{}, nil)
	s.history.add(historyEntry{Module: "<script>", Target: `"><script>alert(1)</script>`, figures: &figures{}, config: targets.Default()})
	if page := s.get("/logs").Body.String(); strings.Contains(page, "<script>") {
		t.Errorf("a target reached the page unescaped:\n%s", page)
	}
}

// TestHostileClients: over a real connection with the server's own limits.
func TestHostileClients(t *testing.T) {
	s := newService(t, &fake{}, nil)
	h := s.HTTPServer()
	if h.ReadHeaderTimeout == 0 || h.ReadTimeout == 0 || h.WriteTimeout <= noScrapeTimeout || h.IdleTimeout == 0 {
		t.Errorf("a limit is missing: %+v", h)
	}
	ts := httptest.NewUnstartedServer(h.Handler)
	ts.Config.MaxHeaderBytes = h.MaxHeaderBytes
	ts.Start()
	defer ts.Close()
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"an honest one", func(*http.Request) {}, 200},
		{"a header of 64 KiB", func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("x", 64<<10)) }, 431},
		{"a target of 64 KiB", func(r *http.Request) { r.URL.RawQuery = "target=" + strings.Repeat("x", 64<<10) }, 431},
		{"a target of 8 KiB", func(r *http.Request) { r.URL.RawQuery = "target=" + strings.Repeat("x", 8<<10) + ":1" }, 400},
		{"a target of control characters", func(r *http.Request) { r.URL.RawQuery = "target=%00%1b%5b31m:1" }, 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+"/probe?target=192.0.2.10:443", nil)
		if err != nil {
			t.Fatal(err)
		}
		tt.change(r)
		resp, err := ts.Client().Do(r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
	}
}

// TestManyAtOnce is for the race detector: probes, scrapes, pages and scheduled rounds together.
func TestManyAtOnce(t *testing.T) {
	s := newService(t, &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		return []prober.Round{stalledRound(target, m)}, nil
	}}, func(o *Options) { o.Reload = func() error { return nil } })
	paths := []string{"/probe?target=192.0.2.10:443", "/probe?target=192.0.2.10:443&debug=true", "/metrics", "/", "/config", "/logs?id=0"}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			s.metrics.Observe("vips", "connect", nil, []prober.Round{stalledRound(fmt.Sprintf("192.0.2.%d:443", i%7), prober.Module{})})
			if w := s.get(paths[i%len(paths)]); w.Code != http.StatusOK && w.Code != http.StatusNotFound && w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d: %.200s", paths[i%len(paths)], w.Code, w.Body)
			}
			s.do(t.Context(), http.MethodPost, "/-/reload")
		})
	}
	wg.Wait()
}
