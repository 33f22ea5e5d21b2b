package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vipprobe/vipprobe/prober"
)

// BenchmarkProbe is what a probe costs besides the probing: reading the request, the figures, the log, the text.
func BenchmarkProbe(b *testing.B) {
	s := benchService(b)
	r := httptest.NewRequest(http.MethodGet, "/probe?target=192.0.2.10:443", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkScrape is a scrape of the service with 10,000 scheduled targets.
func BenchmarkScrape(b *testing.B) {
	s := benchService(b)
	for i := range 10_000 {
		target := fmt.Sprintf("10.%d.%d.%d:443", i>>16, i>>8&255, i&255)
		s.metrics.Observe("vips", "connect", map[string]string{"team": "net"}, []prober.Round{stalledRound(target, prober.Module{})})
	}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.Handler().ServeHTTP(discard{http.Header{}}, r)
	}
}

func BenchmarkObserve(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	rounds := []prober.Round{healthyRound("192.0.2.10:443", prober.Module{})}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe("vips", "connect", nil, rounds)
	}
}

func benchService(b *testing.B) *Server {
	b.Helper()
	f := &fake{answer: func(_ context.Context, target string, m prober.Module) ([]prober.Round, error) {
		return []prober.Round{stalledRound(target, m)}, nil
	}}
	o := testOptions(b, f)
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// discard is a response that nobody reads.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) WriteHeader(int)             {}
