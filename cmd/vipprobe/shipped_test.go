package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

var (
	shippedFault   = flag.String("shipped.fault", "refuse-1of3", "the lab's scenario that the shipped alerts are tried with")
	shippedVerdict = flag.String("shipped.verdict", "port_closed", "the cause that they must name")
)

// TestShipped: a fault of the lab is injected, the service probes it as deploy/vipprobe.yml would, Debian's Prometheus scrapes it as
// deploy/prometheus says: the shipped alert fires at the first evaluation that sees the cause, and has it as label; every query of the
// dashboard has an answer.
func TestShipped(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	binary := tool(t, "prometheus")
	scenario, ok := lab.Find(*shippedFault)
	if !ok {
		t.Fatalf("no scenario %s", *shippedFault)
	}
	run, err := scenario.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	const well = "127.0.0.1:8080" // beside the target one that has nothing
	client, target := run.Client(), run.Target()
	client.Serve(topo.Service{Port: 8080, Then: topo.Echo})
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vipprobe.yml")
	config := fmt.Sprintf(`
allow: ["%s", 127.0.0.1]
modules:
  connect: {prober: connect, burst: 10, timeout: 2s}
jobs:
  - {name: vips, module: connect, interval: 3s, targets: ["%s", "%s"], labels: {team: network}}
  - {name: never, module: connect, interval: 2s, targets: ["%[1]s:81"], maintenance: [{start: 2000-01-01T00:00:00Z, end: 2100-01-01T00:00:00Z}]}
`, host, target, well)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	service := vipprobe(t, "serve", "--config.file", file)
	service.SysProcAttr = client.Command(t.Context(), "true").SysProcAttr
	startBy(t, service, func() error { return client.Start(service) }).says("prober ready", 1)
	prometheus := client.Command(t.Context(), binary, "--config.file="+shippedPrometheus(t, target, well),
		"--storage.tsdb.path="+filepath.Join(t.TempDir(), "data"), "--web.listen-address=127.0.0.1:9090")
	startBy(t, prometheus, func() error { return client.Start(prometheus) })

	query := asker(client)
	alert := fmt.Sprintf(`ALERTS{alertname="VIPCauseNamed",alertstate="firing",verdict=%q,level=~"proven|confirmed",target=%q,job_name="vips",team="network"}`, *shippedVerdict, target)
	eventually(t, func() error { return query(alert) })
	if err := query(`last_over_time(ALERTS{alertname="VIPCauseNamed",alertstate="pending"}[10m])`); err == nil {
		t.Error("the alert was pending before it fired")
	}
	for _, q := range dashboardQueries(t) {
		eventually(t, func() error { return query(q) })
	}
	runbooks(t, client)
}

// runbooks follows the link of each alert that fires, as whoever is woken by it does.
func runbooks(t *testing.T, h *topo.Host) {
	t.Helper()
	web := browser(h)
	var rules struct {
		Data struct {
			Alerts []struct{ Labels, Annotations map[string]string }
		}
	}
	if err := fetch(web, "http://127.0.0.1:9090/api/v1/alerts", &rules); err != nil || len(rules.Data.Alerts) == 0 {
		t.Fatalf("%d alerts: %v", len(rules.Data.Alerts), err)
	}
	for _, a := range rules.Data.Alerts {
		var entry struct{ Verdict string }
		err := fetch(web, a.Annotations["runbook_url"], &entry)
		if want := a.Labels["verdict"]; want != "" && (err != nil || entry.Verdict != want) {
			t.Errorf("%s of %s: its runbook %s is about %q: %v", a.Labels["alertname"], want, a.Annotations["runbook_url"], entry.Verdict, err)
		}
	}
}

// browser is one on a host.
func browser(h *topo.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return h.Dial(ctx, nil, addr)
	}}, Timeout: patience}
}

// fetch reads the JSON behind a URL.
func fetch(web *http.Client, from string, into any) error {
	resp, err := web.Get(from)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// shippedPrometheus is deploy/prometheus with a second in place of its intervals, and two targets.
func shippedPrometheus(t *testing.T, target, well string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"prometheus.yml", "rules.yml"} {
		b, err := os.ReadFile("../../deploy/prometheus/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if name == "prometheus.yml" {
			text = strings.NewReplacer("_interval: 15s", "_interval: 1s", "_interval: 30s", "_interval: 2s", "_timeout: 10s", "_timeout: 1s",
				"192.0.2.10:443", target, "[2001:db8:10::10]:443", well).Replace(text)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "prometheus.yml")
}

// asker asks the Prometheus on a host and complains of errors and empty answers.
func asker(h *topo.Host) func(query string) error {
	web := browser(h)
	return func(query string) error {
		var answer struct {
			Error string
			Data  struct{ Result []json.RawMessage }
		}
		if err := fetch(web, "http://127.0.0.1:9090/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
			return err
		}
		if answer.Error != "" {
			return fmt.Errorf("%s: %s", query, answer.Error)
		}
		if len(answer.Data.Result) == 0 {
			return fmt.Errorf("%s: no data", query)
		}
		return nil
	}
}

// dashboardQueries are the queries of the shipped dashboard with Grafana's variables in place: those of its panels, and the metrics of its
// own variables and marks.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../../deploy/grafana/vipprobe.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
			Panels  []json.RawMessage // of a row that is folded
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$__range", "1m", "$job_name", ".*", "$job", ".*", "$instance", ".*", "$target", ".*")
	var all []string
	for _, p := range board.Panels {
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		if len(p.Panels) != 0 {
			t.Errorf("row %q is folded, and its panels are not tried", p.Title)
		}
		for _, q := range p.Targets {
			all = append(all, fill.Replace(q.Expr))
		}
	}
	for _, a := range board.Annotations.List {
		all = append(all, fill.Replace(a.Expr))
	}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		series, _, ok := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ", "+v.Name+")")
		if !ok {
			t.Errorf("variable %s: %q does not ask for the label %[1]s", v.Name, v.Definition)
		}
		all = append(all, fill.Replace(series))
	}
	if err := errors.Join(leftover(all)...); err != nil {
		t.Fatal(err)
	}
	return all
}

// leftover complains of variables that were not filled in: a matcher for one would be for its name.
func leftover(queries []string) (errs []error) {
	for _, q := range queries {
		if strings.Contains(q, "$") {
			errs = append(errs, fmt.Errorf("%s has a variable that the dashboard does not define", q))
		}
	}
	return errs
}
