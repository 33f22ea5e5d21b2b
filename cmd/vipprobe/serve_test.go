package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
)

// served is `vipprobe serve` in execution, on an address of its own: the network is the tests' own, but for the tests beside this one.
type served struct {
	*program
	t      *testing.T
	file   string
	listen string
}

// serve starts the service with a configuration and waits until it answers.
func serve(t *testing.T, listen, config string) *served {
	t.Helper()
	return serveWith(t, listen, config)
}

func serveWith(t *testing.T, listen, config string, flags ...string) *served {
	t.Helper()
	s := &served{t: t, file: filepath.Join(t.TempDir(), "vipprobe.yml"), listen: listen}
	s.configure(config)
	s.program = start(t, vipprobe(t, append([]string{"serve", "--config.file", s.file, "--web.listen-address", listen}, flags...)...))
	eventually(t, func() error {
		if strings.Contains(s.text(), "vipprobe: ") {
			t.Fatalf("the service does not start: %s", s.text())
		}
		status, body := s.get("/-/ready")
		if status != http.StatusOK {
			return fmt.Errorf("not ready: %d %s", status, body)
		}
		return nil
	})
	return s
}

func (s *served) configure(config string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// get asks the service; status 0 says that it did not answer.
func (s *served) get(path string) (status int, body string) {
	s.t.Helper()
	return s.ask(http.MethodGet, path, nil)
}

func (s *served) ask(method, path string, header http.Header) (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.listen+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// accepting listens and hands out who connects, until the test ends.
func accepting(t *testing.T, addr string) (port string, from <-chan net.Addr) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	who, done := make(chan net.Addr, 1024), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			select {
			case who <- c.LocalAddr():
			default:
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, who
}

// tool finds a program of Debian's prometheus package.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("SKIPPED: %s is not installed (Debian: prometheus)", name)
	}
	return path
}

// TestPrometheus: a real Prometheus, told what deploy/prometheus/prometheus.yml says, scrapes two targets and the service itself.
func TestPrometheus(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	binary := tool(t, "prometheus")
	port, _ := accepting(t, "127.0.0.1:0")
	port6, _ := accepting(t, "[::1]:0")
	four, six := "127.0.0.1:"+port, "[::1]:"+port6
	serve(t, "127.0.0.1:19115", fmt.Sprintf(`
allow: [127.0.0.1, "::1"]
modules:
  two: {prober: connect, burst: 2, timeout: 1s}
jobs:
  - {name: members, module: two, interval: 1s, targets: ["%s"], labels: {team: network}}
`, four))
	config, err := os.ReadFile("../../deploy/prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for _, r := range [][2]string{{"scrape_interval: 15s", "scrape_interval: 1s"}, {"scrape_interval: 30s", "scrape_interval: 1s"},
		{"scrape_timeout: 10s", "scrape_timeout: 1s"}, {"192.0.2.10:443", four}, {"[2001:db8:10::10]:443", six}} {
		if !strings.Contains(text, r[0]) {
			t.Fatalf("deploy/prometheus/prometheus.yml has no %q", r[0])
		}
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:19090"))
	vip := `{instance=~"` + four + `|\\[::1\\]:` + port6 + `",job="vip"}`
	for query, want := range map[string]int{
		`probe_success` + vip + ` == 1`:                                                                   2,
		`probe_tcp_connections{job="vip",outcome="accepted"} == 10`:                                       2,
		`probe_tcp_handshake_duration_seconds_count` + vip:                                                2,
		`probe_tcp_duration_seconds{job="vip",phase="connect"} > 0`:                                       2,
		`probe_diagnosis{job="vip",verdict="healthy"} == 1`:                                               2,
		`up{job="vipprobe"} == 1`:                                                                         1,
		`vipprobe_target_success{job="vipprobe",job_name="members",team="network",target="` + four + `"}`: 1,
		`vipprobe_connections_total{job="vipprobe",job_name="members",outcome="accepted"} >= 2`:           1,
		`histogram_quantile(0.5, vipprobe_handshake_duration_seconds_bucket{job_name="members"}) < 0.9`:   1,
		`scrape_samples_post_metric_relabeling{job="vip"} < 150`:                                          2,
	} {
		eventually(t, func() error { return prometheusSays("127.0.0.1:19090", query, want) })
	}
}

// prometheusSays complains unless a query has so many series in its answer.
func prometheusSays(listen, query string, series int) error {
	resp, err := http.Get("http://" + listen + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" || len(answer.Data.Result) != series {
		return fmt.Errorf("%s: %d series, want %d; %s", query, len(answer.Data.Result), series, answer.Error)
	}
	return nil
}

// TestPromtool: Prometheus' own linter has nothing to say of either endpoint.
func TestPromtool(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	promtool := tool(t, "promtool")
	port, from := accepting(t, "127.0.0.1:0")
	s := serve(t, "127.0.0.1:19116", fmt.Sprintf(`
allow: [127.0.0.1]
modules:
  one: {prober: connect, burst: 1, timeout: 100ms}
jobs:
  - {name: members, module: one, interval: 500ms, targets: ["127.0.0.1:%s"]}
`, port))
	<-from
	eventually(t, func() error {
		if _, body := s.get("/metrics"); !strings.Contains(body, "vipprobe_target_success") {
			return errors.New("no target on /metrics yet")
		}
		return nil
	})
	for _, path := range []string{"/metrics", "/probe?target=127.0.0.1:" + port, "/probe?target=127.0.0.1:1"} {
		status, body := s.get(path)
		if status != http.StatusOK || !strings.Contains(body, "\n# TYPE ") {
			t.Errorf("%s: %d\n%s", path, status, body)
		}
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(body)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics on %s: %v\n%s", path, err, out)
		}
	}
}

// TestServeRefuses: what the service will not do is said with what would change it.
func TestServeRefuses(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	s := serve(t, "127.0.0.1:19117", "allow: [127.0.0.1]\n")
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/probe?target=198.51.100.1:80":            {http.StatusForbidden, `to permit it add "198.51.100.1" under allow:`},
		"/probe?target=metadata.test:80":           {http.StatusForbidden, `to permit it add "169.254.169.254" under allow:`},
		"/probe?target=[::ffff:198.51.100.1]:80":   {http.StatusForbidden, `"198.51.100.1" under allow:`},
		"/probe?target=127.0.0.1:80&module=none":   {http.StatusBadRequest, `unknown module "none"; there are connect`},
		"/probe":                                   {http.StatusBadRequest, "the parameter target is missing"},
		"/probe?target=127.0.0.1":                  {http.StatusBadRequest, "no port"},
		"/probe?target=127.0.0.1:1&module=connect": {http.StatusOK, "\nprobe_success 0\n"},
		"/probe?target=nope.invalid:1":             {http.StatusOK, "\nprobe_success 0\n"},
		"/probe?target=127.0.0.1:1&burst=4000":     {http.StatusOK, `probe_tcp_connections{outcome="refused"} 10`},
	} {
		if status, body := s.get(path); status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s, want %d with %q", path, status, body, want.status, want.text)
		}
	}
	second := start(t, vipprobe(t, "serve", "--config.file", s.file, "--web.listen-address", s.listen))
	if code := second.exits(); code != exitEnvironment {
		t.Errorf("a second service on the port exits %d, want %d", code, exitEnvironment)
	}
	second.says("vipprobe: listen on [127.0.0.1:19117]: ", 1)
	second.says("address already in use", 1)
}

// TestReload: by signal and by request; a bad file keeps the old configuration and says so in metric, answer and log.
func TestReload(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	const good, other, bad = "allow: [127.0.0.1]\n", "allow: [127.0.0.2]\nmodules: {five: {prober: connect, burst: 5}}\n", "allow: [127.0.0.1]\nmodule: {}\n"
	s := serve(t, "127.0.0.1:19118", good)
	successful := func(want string) {
		t.Helper()
		if _, body := s.get("/metrics"); !strings.Contains(body, "\nvipprobe_config_last_reload_successful "+want+"\n") {
			t.Errorf("vipprobe_config_last_reload_successful is not %s", want)
		}
	}
	successful("1")
	s.configure(bad)
	if status, body := s.ask(http.MethodPost, "/-/reload", nil); status != http.StatusInternalServerError || !strings.Contains(body, "vipprobe.yml:2:1: module: ") {
		t.Errorf("a bad file is answered with %d %s", status, body)
	}
	successful("0")
	if status, body := s.get("/probe?target=127.0.0.1:1"); status != http.StatusOK {
		t.Errorf("the old configuration is not in force: %d %s", status, body)
	}
	s.configure(other)
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.says("configuration reloaded", 1)
	successful("1")
	if status, _ := s.get("/probe?target=127.0.0.1:1"); status != http.StatusForbidden {
		t.Errorf("what is no longer allowed is answered with %d", status)
	}
	if status, body := s.get("/probe?target=127.0.0.2:1&module=five"); status != http.StatusOK || !strings.Contains(body, `outcome="refused"} 5`) {
		t.Errorf("the new configuration is not in force: %d %s", status, body)
	}
	s.configure(bad)
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.says("configuration not reloaded; the old one stays in force", 2)
	successful("0")
	s.configure(good)
	if status, body := s.ask(http.MethodPost, "/-/reload", nil); status != http.StatusOK {
		t.Errorf("a good file is answered with %d %s", status, body)
	}
	s.says("configuration reloaded", 2)
	successful("1")
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.exits(); code != exitPass {
		t.Errorf("exit %d after SIGTERM", code)
	}
}

// TestScheduleIsStaggered: the targets of a job are probed in the order that the hash of their names gives, spread over the interval,
// which is not the order of the configuration.
func TestScheduleIsStaggered(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	const interval = 2 * time.Second
	port, from := accepting(t, "0.0.0.0:0")
	// targets whose turns lie an eighth of the interval apart: load on this machine does not change their order
	var order []string
	phases := map[string]time.Duration{}
	for i := 1; i < 255 && len(order) < 5; i++ {
		target := fmt.Sprintf("127.0.3.%d:%s", i, port)
		h := fnv.New64a()
		_, _ = h.Write([]byte("members\x00" + target))
		phase := time.Duration(h.Sum64() % uint64(interval))
		near := slices.ContainsFunc(order, func(o string) bool {
			d := (phases[o] - phase).Abs()
			return min(d, interval-d) < interval/8
		})
		if !near {
			order, phases[target] = append(order, target), phase
		}
	}
	config := fmt.Sprintf("allow: [127.0.3.0/24]\nmodules: {one: {prober: connect, burst: 1, timeout: 1s}}\n"+
		"jobs: [{name: members, module: one, interval: %s, targets: ['%s']}]\n", interval, strings.Join(order, "', '"))
	serve(t, "127.0.0.1:19119", config)
	slices.SortFunc(order, func(a, b string) int { return int(phases[a] - phases[b]) })
	var seen []string
	for range 2 * len(order) {
		select {
		case a := <-from:
			seen = append(seen, a.String())
		case <-time.After(patience):
			t.Fatalf("only %d rounds came: %v", len(seen), seen)
		}
	}
	at := slices.Index(order, seen[0])
	for i, got := range seen {
		if want := order[(at+i)%len(order)]; got != want {
			t.Fatalf("round %d is of %s, want %s\nall: %v\nphases: %v", i, got, want, seen, phases)
		}
	}
}

// TestDrain: a probe under way when SIGTERM comes is finished and answered, and then the service ends.
func TestDrain(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	port, from := accepting(t, "127.0.0.1:0")
	s := serve(t, "127.0.0.1:19120", "allow: [127.0.0.1]\nmodules: {two: {prober: connect, burst: 2, timeout: 5s}}\n")
	var n uint16
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	// One of the two SYNs is lost, so that the other connection tells that the probe is under way, for a second yet.
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	once := nft.Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeWeek, Burst: 1}}
	nft.Table{Family: nft.IPv4, Name: "drain", Chains: []nft.Chain{{Hook: nft.Input, Rules: []nft.Rule{{nft.DstPort(n), nft.SYN(), once, nft.Drop()}}}}}.Install(c)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		status int
		body   string
	}
	answers := make(chan answer, 1)
	go func() {
		status, body := s.get("/probe?target=127.0.0.1:" + port + "&module=two")
		answers <- answer{status, body}
	}()
	<-from
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got := <-answers
	for _, want := range []string{"\nprobe_success 1\n", `probe_tcp_stalled_connections{lost_syns="1"} 1`, `probe_tcp_connections{outcome="accepted"} 2`} {
		if got.status != http.StatusOK || !strings.Contains(got.body, want) {
			t.Errorf("the probe under way is answered with %d, want 200 with %q\n%s", got.status, want, got.body)
		}
	}
	if code := s.exits(); code != exitPass {
		t.Errorf("exit %d after SIGTERM", code)
	}
}
