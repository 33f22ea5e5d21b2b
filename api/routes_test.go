package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/exporter-toolkit/web"
)

// behindToolkit serves with TLS and the user "admin", whose password is "secret".
func behindToolkit(t *testing.T, s *Server) (addr string, client *http.Client) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const password = "$2a$04$3JBHcBKRT4vTg./P8s3vXuNcl6I7jMUivYOfZiSwzHHgU6KGPNrO."
	for name, text := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yml":  []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {admin: '" + password + "'}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, server, over := filepath.Join(dir, "web.yml"), s.HTTPServer(), make(chan error, 1)
	go func() {
		over <- web.Serve(l, server, &web.FlagConfig{WebConfigFile: &file}, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-over; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	own, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(own)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return l.Addr().String(), &http.Client{Transport: tr}
}

// TestEveryRouteIsGuarded: whatever route there is, nobody has it without TLS, nor without the password.
func TestEveryRouteIsGuarded(t *testing.T) {
	s := newService(t, &fake{}, func(o *Options) { o.Pprof = true })
	addr, client := behindToolkit(t, s.Server)
	ask := func(method, url, user string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			return 0, err
		}
		if user != "" {
			req.SetBasicAuth(user, "secret")
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	seen := map[string]bool{}
	err := chi.Walk(s.walkable, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		seen[route] = true
		path := strings.NewReplacer("{", "", "}", "").Replace(route)
		if status, err := ask(method, "https://"+addr+path, ""); err != nil || status != http.StatusUnauthorized {
			return fmt.Errorf("%s %s without a password: %d %w", method, route, status, err)
		}
		if status, err := ask(method, "http://"+addr+path, "admin"); err == nil && status != http.StatusBadRequest {
			return fmt.Errorf("%s %s without TLS: %d", method, route, status)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, route := range []string{"/", "/page/*", "/probe", "/metrics", "/config", "/logs", "/-/healthy", "/-/ready", "/-/reload", "/debug/pprof/", "/debug/pprof/heap",
		"/openapi.json", "/api/v1/runs", "/api/v1/targets", "/api/v1/testimony"} {
		if !seen[route] {
			t.Errorf("%s is no route; there are %v", route, seen)
		}
	}
	if status, err := ask(http.MethodGet, "https://"+addr+"/debug/pprof/heap", "admin"); err != nil || status != http.StatusOK {
		t.Errorf("with the password: %d %v", status, err)
	}
	if status, err := ask(http.MethodGet, "https://"+addr+"/-/healthy", "root"); err != nil || status != http.StatusUnauthorized {
		t.Errorf("another user with the password: %d %v", status, err)
	}
}

// TestNoRoute: what there is not is said in the way of its neighbours, and a method that is not taken with those that are.
func TestNoRoute(t *testing.T) {
	s := newService(t, &fake{}, nil)
	for _, tt := range []struct {
		method, path string
		status       int
		kind, allow  string
	}{
		{http.MethodGet, "/api/v1/nothing", http.StatusNotFound, "application/problem+json", ""},
		{http.MethodDelete, "/api/v1/runs", http.StatusMethodNotAllowed, "application/problem+json", "GET, POST"},
		{http.MethodPost, "/api/v1/testimony", http.StatusMethodNotAllowed, "application/problem+json", "GET"},
		{http.MethodGet, "/-/reload", http.StatusMethodNotAllowed, "text/plain; charset=utf-8", "POST, PUT"},
		{http.MethodGet, "/favicon.ico", http.StatusNotFound, "text/plain; charset=utf-8", ""},
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if got := w.Result(); got.StatusCode != tt.status || got.Header.Get("Content-Type") != tt.kind || got.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %s, %v", tt.method, tt.path, got.Status, got.Header)
		}
	}
}

// TestEveryRouteIsDescribed: the document has every route below /api/v1, whoever serves it, and no other.
func TestEveryRouteIsDescribed(t *testing.T) {
	s := newService(t, &fake{}, nil)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	described, routed := map[string]bool{}, map[string]bool{}
	for path, methods := range doc.Paths {
		for m := range methods {
			described[strings.ToUpper(m)+" "+path] = true
		}
	}
	err := chi.Walk(s.walkable, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasPrefix(route, "/api/") {
			routed[method+" "+route] = true
		}
		return nil
	})
	if d := cmp.Diff(routed, described); err != nil || d != "" {
		t.Errorf("%v; routes (-) against the document (+): %s", err, d)
	}
}
