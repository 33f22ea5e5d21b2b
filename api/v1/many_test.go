package v1

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober"
)

// TestManyAskAtOnce: a thousand questions at one time are answered or told to come later, and no more are worked on at once than there are places; then all is
// as before.
func TestManyAskAtOnce(t *testing.T) {
	s := start(t, &fake{}, nil)
	s.rec.Healthy("vips", "connect", nil, &prober.Healthy{Target: "192.0.2.10:443", Started: time.Now(), Connections: 1})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, MaxConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	seen := map[int]int{}
	var wg sync.WaitGroup
	for i := range 1000 {
		path := []string{"/api/v1/targets", "/api/v1/results", "/api/v1/history?target=192.0.2.10:443", "/api/v1/runs"}[i%4]
		wg.Go(func() {
			resp, err := client.Get(s.URL + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: come later, and it is not said when", path)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[resp.StatusCode]++
		})
	}
	wg.Wait()
	if n := seen[http.StatusOK] + seen[http.StatusServiceUnavailable]; n != 1000 || seen[http.StatusOK] == 0 {
		t.Errorf("answers by status: %v; want 200 and 503 alone", seen)
	}
	if len(s.reads) != 0 {
		t.Errorf("%d places are still taken", len(s.reads))
	}
	var again struct{ Targets []struct{ Target string } }
	s.get("/api/v1/targets", &again)
	if len(again.Targets) != 3 {
		t.Errorf("afterwards: %+v", again)
	}
}
