package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// reader asks the service as Prometheus, the page and a script would.
type reader struct {
	http    *http.Client
	targets int

	mu     sync.Mutex
	served served // what was seen: the scrapes, and the reads
}

func newReader(client *topo.Host, targets int) *reader {
	return &reader{http: &http.Client{Transport: &http.Transport{DialContext: dialer(client), DisableCompression: true, MaxIdleConnsPerHost: 8}}, targets: targets}
}

// addresses are what rounds that are alike otherwise differ in.
var addresses = regexp.MustCompile(`10\.[0-9.]+(:[0-9]+)?`)

// errLater is a request that was told to come later.
var errLater = errors.New("asked to come later")

// ask makes one request and copies the answer.
func (rd *reader) ask(ctx context.Context, path string, header map[string]string, to io.Writer) error {
	return rd.send(ctx, http.MethodGet, path, header, nil, to)
}

func (rd *reader) send(ctx context.Context, method, path string, header map[string]string, body []byte, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+serviceListen+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := rd.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(to, resp.Body); err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%s: %w", path, errLater)
	case resp.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}

// scrapes asks for the metrics every 15 s, as Prometheus does: OpenMetrics, compressed.
func (rd *reader) scrapes(ctx context.Context) {
	header := map[string]string{"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2", "Accept-Encoding": "gzip"}
	wait(ctx, 2*time.Second)
	for ctx.Err() == nil {
		began := time.Now()
		var b bytes.Buffer
		err := rd.ask(ctx, "/metrics", header, &b)
		took := time.Since(began)
		if err == nil {
			sent := b.Len()
			n := series(&b)
			rd.mu.Lock()
			rd.served.Scrapes++
			rd.served.ScrapeTime += took
			rd.served.ScrapeSent, rd.served.Series = int64(sent), n
			rd.mu.Unlock()
		}
		rd.complain(ctx, err)
		wait(ctx, 15*time.Second-time.Since(began))
	}
}

// series counts the lines of a compressed answer that are no comment.
func series(b *bytes.Buffer) (n int) {
	r, err := gzip.NewReader(b)
	if err != nil {
		return 0
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if line[0] != '#' {
			n++
		}
	}
	return n
}

func (rd *reader) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, errLater) {
		fmt.Fprintln(os.Stderr, "vipprobe-bench:", err)
	}
}

// read starts the readers: the page with its grid, one target's page, the list of results, a script that starts runs and follows them, and one who
// follows and reads nothing.
func (rd *reader) read(ctx context.Context, wg *sync.WaitGroup) {
	grid := min(time.Minute, 5*time.Second+time.Duration(rd.targets)*2*time.Millisecond)
	first := netip.AddrPortFrom(netip.MustParsePrefix(prefix).Addr().Next(), port).String()
	wg.Go(func() { rd.again(ctx, grid, rd.grid) })
	wg.Go(func() { rd.again(ctx, 5*time.Second, rd.get("/api/v1/history?points=100000&target="+first)) })
	wg.Go(func() { rd.again(ctx, 5*time.Second, rd.get("/api/v1/results?limit=100")) })
	wg.Go(func() { rd.again(ctx, time.Second, rd.get("/api/v1/targets?target="+first)) })
	wg.Go(func() { rd.again(ctx, 10*time.Second, func(ctx context.Context) error { return rd.run(ctx, first) }) })
}

// again does something now and again, and notes how long it took.
func (rd *reader) again(ctx context.Context, every time.Duration, do func(context.Context) error) {
	for ctx.Err() == nil {
		began := time.Now()
		err := do(ctx)
		took := time.Since(began)
		rd.complain(ctx, err)
		if ctx.Err() == nil {
			rd.mu.Lock()
			s := &rd.served
			switch {
			case errors.Is(err, errLater):
				s.ReadsRefused++
			case err == nil:
				s.Reads++
				s.ReadTime += took
				s.Slowest = max(s.Slowest, took)
			}
			rd.mu.Unlock()
		}
		wait(ctx, every-took)
	}
}

func (rd *reader) get(path string) func(context.Context) error {
	return func(ctx context.Context) error { return rd.ask(ctx, path, nil, io.Discard) }
}

// grid reads every target, page by page.
func (rd *reader) grid(ctx context.Context) error {
	cursor := ""
	for {
		var b bytes.Buffer
		if err := rd.ask(ctx, "/api/v1/targets?limit=5000&cursor="+cursor, nil, &b); err != nil {
			return err
		}
		var page struct{ Next string }
		if err := json.Unmarshal(b.Bytes(), &page); err != nil {
			return err
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

// run starts a probe and follows its events to the end.
func (rd *reader) run(ctx context.Context, target string) error {
	var b bytes.Buffer
	body, err := json.Marshal(map[string]string{"kind": "probe", "target": target, "module": "raw"})
	if err != nil {
		return err
	}
	if err := rd.send(ctx, http.MethodPost, "/api/v1/runs", map[string]string{"Content-Type": "application/json"}, body, &b); err != nil {
		return err
	}
	var run struct{ ID string }
	if err := json.Unmarshal(b.Bytes(), &run); err != nil {
		return err
	}
	return rd.ask(ctx, "/api/v1/runs/"+run.ID+"/events", map[string]string{"Accept": "text/event-stream"}, io.Discard)
}

// wrongs are what the newest rounds that did not succeed say, counted.
func (rd *reader) wrongs(ctx context.Context) (map[string]int, error) {
	var b bytes.Buffer
	if err := rd.ask(ctx, "/api/v1/results?success=false&limit=500", nil, &b); err != nil {
		return nil, err
	}
	var page struct {
		Results []struct {
			Error, Why string
			Causes     []struct{ Verdict, Level string }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &page); err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, r := range page.Results {
		what := []string{addresses.ReplaceAllString(cmp.Or(r.Error, r.Why), "ADDR")}
		for _, c := range r.Causes {
			what = append(what, c.Verdict+" "+c.Level)
		}
		out[strings.Join(what, ", ")]++
	}
	return out, nil
}

// profiles keeps profiles of the span.
func (rd *reader) profiles(ctx context.Context, r *serviceRun) {
	for name, path := range map[string]string{"cpu": fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(r.Span.Seconds())), "heap": "/debug/pprof/heap"} {
		err := func() error {
			f, err := os.Create(filepath.Join(r.profile, fmt.Sprintf("%s-%d.pprof", name, r.Targets)))
			if err != nil {
				return err
			}
			return errors.Join(rd.ask(ctx, path, nil, f), f.Close())
		}()
		rd.complain(ctx, err)
	}
}

func (rd *reader) tell(s *served) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	seen := &rd.served
	s.Scrapes, s.ScrapeTime, s.ScrapeSent, s.Series = seen.Scrapes, seen.ScrapeTime, seen.ScrapeSent, seen.Series
	s.Reads, s.ReadsRefused, s.ReadTime, s.Slowest = seen.Reads, seen.ReadsRefused, seen.ReadTime, seen.Slowest
}
