package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
)

func TestHowAVantageIsReached(t *testing.T) {
	for url, want := range map[string]string{
		"ftp://a:1":            "want http://HOST:PORT",
		"a:1":                  "url",
		"http://":              "want http://HOST:PORT",
		"https://u:secret@a:1": "neither user",
		"http://a:1/?x":        "neither user",
		"http://a:1":           "over https only",
	} {
		_, err := New(Options{URL: url, User: "u", Password: "secret"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	if _, err := New(Options{URL: "https://a:1", CAFile: "/dev/null"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Error(err)
	}
}

// What answers there may be anything.
func TestHostileAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "read the answer"},
		"nothing":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }, "measured nothing"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxAnswer+10)) }, "more than"},
		"redirected": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "302 Found"},
		"a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"detail":"no","errors":[{"location":"body.target","message":"not yours"}]}`))
		}, "403 Forbidden: no: body.target not yours"},
	} {
		s := httptest.NewServer(tc.answer)
		c, err := New(Options{URL: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Validate(t.Context(), &view.ValidationRequest{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		c.Close()
		s.Close()
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	c, err := New(Options{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Validate(t.Context(), &view.ValidationRequest{})
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.RetryAfter != 7*time.Second {
		t.Errorf("%v", err)
	}
}
