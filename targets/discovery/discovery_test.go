package discovery

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vipprobe/vipprobe/targets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jobsOf reads the jobs of a configuration.
func jobsOf(t *testing.T, text string) []targets.Job {
	t.Helper()
	c, err := targets.Parse(filepath.Join(t.TempDir(), "f.yml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c.Jobs()
}

func resolved(t *testing.T, text string) ([]Target, []Dropped) {
	t.Helper()
	return Resolve(&jobsOf(t, text)[0], nil)
}

func TestResolve(t *testing.T) {
	found, dropped := resolved(t, `
jobs:
- name: lb
  labels: {team: net, zone: job}
  targets: [web.example]
  static_configs:
  - targets: [192.0.2.10, "192.0.2.11:444", nonsense:0, gone]
    labels: {zone: a, __meta_port: "443", target: theirs}
  relabel_configs:
  - {source_labels: [__address__], regex: gone, action: drop}
  - {source_labels: [__address__, __meta_port], regex: '([^:]+);(.+)', target_label: __address__, replacement: '$1:$2'}
  - {source_labels: [__address__], regex: '([^:]+)', target_label: __address__, replacement: '$1:80'}
`)
	want := []Target{
		{"192.0.2.10:443", map[string]string{"team": "net", "zone": "a", "exported_target": "theirs"}},
		{"192.0.2.11:444", map[string]string{"team": "net", "zone": "a", "exported_target": "theirs"}},
		{"web.example:80", map[string]string{"team": "net", "zone": "job"}},
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var why []string
	for _, x := range dropped {
		why = append(why, fmt.Sprintf("%s %s", x.Why, x.Address))
	}
	if d := cmp.Diff([]string{"address nonsense:0", "rule gone"}, why); d != "" {
		t.Error(d)
	}
}

// TestOneAddressTwice: with the same labels it is one target; with others the job probes it once, and says so.
func TestOneAddressTwice(t *testing.T) {
	found, dropped := resolved(t, `
allow: [192.0.2.0/24]
jobs:
- name: lb
  static_configs:
  - {targets: ["192.0.2.10:443", "192.0.2.11:443"], labels: {vip: b}}
  - {targets: ["192.0.2.10:443"], labels: {vip: a}}
  - {targets: ["192.0.2.11:443"], labels: {vip: b}}
`)
	if len(found) != 2 || found[0].Labels["vip"] != "a" || len(dropped) != 1 || dropped[0].Why != AlreadyHere || !strings.Contains(dropped[0].Text, `{vip="a"}`) {
		t.Errorf("%v %v", found, dropped)
	}
}

// TestShardAndHashmodAgree: what --shard gives to each of three services is what Prometheus' rules give to each of three.
func TestShardAndHashmodAgree(t *testing.T) {
	const shards, n = 3, 300
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("192.0.2.%d:%d", i%250, 400+i))
	}
	all := 0
	for i := range shards {
		found, _ := resolved(t, `
jobs:
- name: lb
  targets: ["`+strings.Join(list, `", "`)+`"]
  relabel_configs:
  - {source_labels: [__address__], modulus: 3, target_label: __tmp_hash, action: hashmod}
  - {source_labels: [__tmp_hash], regex: "`+strconv.Itoa(i)+`", action: keep}
`)
		var ruled []string
		for _, x := range found {
			ruled = append(ruled, x.Address)
		}
		everything, _ := Resolve(&targets.Job{Name: "lb", Targets: list}, nil)
		part := targets.Shard{Index: i, Count: shards}.Of(Arrange([]Found{{Job: targets.Job{Name: "lb"}, Targets: everything}})[0])
		if d := cmp.Diff(ruled, part.Targets); d != "" {
			t.Errorf("shard %d (-hashmod +shard)\n%s", i, d)
		}
		all += len(ruled)
	}
	if all != n {
		t.Errorf("%d targets in all shards, want %d", all, n)
	}
}

func TestArrange(t *testing.T) {
	vip := Target{"192.0.2.10:443", map[string]string{"vip": "web", "role": "vip"}}
	member := func(a string) Target { return Target{a, map[string]string{"vip": "web", "role": "member"}} }
	mail := map[string]string{"vip": "mail", "role": "member"}
	got := Arrange([]Found{
		{Job: targets.Job{Name: "vips"}, Targets: []Target{vip, {"192.0.2.99:443", nil}}},
		{Job: targets.Job{Name: "members"}, Targets: []Target{member("192.0.2.22:443"), {"192.0.2.31:1", mail}},
			Dropped: []Dropped{{Address: "192.0.2.21:443", Why: AlreadyHere, Labels: vip.Labels}, {Address: "192.0.2.21:443", Why: AlreadyHere, Labels: member("").Labels}}},
		{Job: targets.Job{Name: "empty"}},
	})
	want := []targets.Job{
		{Name: "vips", Targets: []string{vip.Address}, Labels: vip.Labels, Group: "web", Members: []string{"192.0.2.21:443", "192.0.2.22:443"}},
		{Name: "vips", Targets: []string{"192.0.2.99:443"}},
		{Name: "members", Targets: []string{"192.0.2.22:443"}, Labels: member("").Labels, Group: "web"},
		{Name: "members", Targets: []string{"192.0.2.31:1"}, Labels: map[string]string{"vip": "mail", "role": "member"}, Group: "mail"},
		{Name: "empty"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// live is a Discovery in execution.
type live struct {
	*Discovery
	t       *testing.T
	changes chan struct{}
	mu      sync.Mutex
	log     bytes.Buffer
}

func (l *live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

func (l *live) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}

func begin(t *testing.T) *live {
	t.Helper()
	l := &live{t: t, changes: make(chan struct{}, 100)}
	var err error
	l.Discovery, err = New(Options{Logger: slog.New(slog.NewTextHandler(l, nil)), Changed: func() { l.changes <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func (l *live) apply(jobs []targets.Job) {
	l.t.Helper()
	if err := l.Apply(jobs); err != nil {
		l.t.Fatal(err)
	}
}

// addresses are those of all jobs now.
func (l *live) addresses() string {
	var out []string
	for _, f := range l.Found() {
		for _, x := range f.Targets {
			out = append(out, x.Address)
		}
	}
	return strings.Join(out, " ")
}

// until waits for changes until the addresses are as wanted.
func (l *live) until(want string) {
	l.t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for l.addresses() != want {
		select {
		case <-l.changes:
		case <-limit.C:
			l.t.Fatalf("%q, want %q; log:\n%s", l.addresses(), want, l.said())
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// TestFilesComeAndGo: a file is read, read again when it changes, and kept as it was while it cannot be read; a block that is replaced by another holds until
// that one has found something, so that what is in both never goes.
func TestFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.yml")
	job := func(files string) []targets.Job {
		return jobsOf(t, "jobs: [{name: f, file_sd_configs: [{files: ['"+files+"'], refresh_interval: 1s}]}]\n")
	}
	write(t, a, `[{"targets": ["192.0.2.1:1", "192.0.2.2:1"], "labels": {"vip": "x"}}]`)
	l := begin(t)
	l.apply(job(a))
	l.until("192.0.2.1:1 192.0.2.2:1")
	write(t, a, `[{"targets": ["192.0.2.1:1", "192.0.2.3:1"], "labels": {"vip": "x"}}]`)
	l.until("192.0.2.1:1 192.0.2.3:1")
	write(t, a, `[{"targets"`)
	l.failing("f")
	l.until("192.0.2.1:1 192.0.2.3:1")
	l.apply(job(b)) // which is not there yet
	if got := l.addresses(); got != "192.0.2.1:1 192.0.2.3:1" {
		t.Errorf("right after the block was replaced: %q", got)
	}
	write(t, b, "- targets: ['192.0.2.1:1', '192.0.2.4:1']\n")
	l.until("192.0.2.1:1 192.0.2.4:1")
	l.apply(nil)
	if got := l.addresses(); got != "" {
		t.Errorf("without the job: %q", got)
	}
}

// failing waits until a job's discovery has failed.
func (l *live) failing(job string) {
	l.t.Helper()
	again, limit := time.NewTicker(50*time.Millisecond), time.NewTimer(20*time.Second)
	defer again.Stop()
	defer limit.Stop()
	for l.failuresOf(job) == 0 {
		select {
		case <-again.C:
		case <-limit.C:
			l.t.Fatalf("nothing has failed; log:\n%s", l.said())
		}
	}
}

func (l *live) failuresOf(job string) (n uint64) {
	l.Found()
	for _, c := range l.Counts() {
		if c.Job == job {
			for _, f := range c.Failures {
				n += f
			}
		}
	}
	return n
}

// TestHTTP: with a token of a file; a server that fails keeps what it told; and neither the query nor the token is ever in the log.
func TestHTTP(t *testing.T) {
	var fails atomic.Bool
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer hunter2-token" || r.URL.Query().Get("key") != "hunter2-query" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if fails.Load() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"targets": ["192.0.2.7:443"], "labels": {"__meta_zone": "z"}}]`)
	}))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "hunter2-token\n")
	l := begin(t)
	l.apply(jobsOf(t, fmt.Sprintf(`
jobs:
- name: h
  http_sd_configs: [{url: '%s/?key=hunter2-query', refresh_interval: 1s, authorization: {credentials_file: '%s'}}]
  relabel_configs: [{source_labels: [__meta_zone], target_label: zone}]
`, server.URL, token)))
	l.until("192.0.2.7:443")
	if f := l.Found()[0]; f.Targets[0].Labels["zone"] != "z" || f.Waiting != 0 {
		t.Errorf("%+v", f)
	}
	fails.Store(true)
	l.failing("h")
	if got := l.addresses(); got != "192.0.2.7:443" {
		t.Errorf("while the server fails: %q", got)
	}
	if log := l.said(); strings.Contains(log, "hunter2") || !strings.Contains(log, "hidden") {
		t.Errorf("log:\n%s", log)
	}
	n := asked.Load()
	l.apply(l.applied())
	if got := l.addresses(); got != "192.0.2.7:443" || asked.Load() > n+1 {
		t.Errorf("the same block applied again: %q", got)
	}
}

// applied are the jobs as they were applied.
func (l *live) applied() (out []targets.Job) {
	for _, f := range l.Found() {
		out = append(out, f.Job)
	}
	return out
}
