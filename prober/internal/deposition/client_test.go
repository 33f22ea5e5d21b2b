package deposition

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/observe"
)

const token = "s3cret-of-the-test"

func TestAsk(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != Path || r.URL.RawQuery != "port=80&settings=true" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, `{"kernel":"6.18.44","counters":{"TcpExt.ListenOverflows":12,"Tcp.InSegs":5},"later":1,
			"listeners":[{"address":"[::]:80","queued":2,"backlog":1,"half_open":0},{"address":"127.0.0.1:80","queued":0,"backlog":9}],"settings":{"a":"1"}}`)
	}))
	defer s.Close()
	k, err := New(s.URL, Credentials{Secret: token}, []string{"TcpExt.ListenOverflows"}, []uint16{80})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	got, err := k.Ask(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if got.Asked.After(got.Answered) || got.Asked.IsZero() {
		t.Errorf("asked %s, answered %s", got.Asked, got.Answered)
	}
	want := Answer{Kernel: "6.18.44", Settings: map[string]string{"a": "1"}, Statement: observe.Statement{Asked: got.Asked, Answered: got.Answered,
		Counters: map[string]int64{"TcpExt.ListenOverflows": 12},
		Listeners: []observe.ListenQueue{{Addr: netip.MustParseAddrPort("[::]:80"), Queued: 2, Backlog: 1, Counted: true},
			{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Backlog: 9}}}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// TestErrors: every error says what is wrong, none holds the token, and no redirect takes it elsewhere.
func TestErrors(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for _, c := range []struct {
		story   string
		answer  func(http.ResponseWriter, *http.Request)
		want    string
		refused bool
	}{
		{"wrong token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "refuses the credentials", true},
		{"switched off", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "has no testimony", true},
		{"sent elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "not followed", true},
		{"busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "HTTP 503", false},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "read the answer", false},
		{"no counters", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "holds no counters", false},
		{"a flood", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", maxBody+2)), maxBody+2))
		}, "more than", true},
	} {
		t.Run(c.story, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(c.answer))
			defer s.Close()
			k, err := New(s.URL, Credentials{Secret: token}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			_, err = k.Ask(t.Context(), false)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
				t.Fatalf("error %v, want one that says %q and no token", err, c.want)
			}
			if _, refused := errors.AsType[*RefusedError](err); refused != c.refused {
				t.Errorf("refused for good: %v, want %v (%v)", refused, c.refused, err)
			}
		})
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.10:19115":                  "http://192.0.2.10:19115/api/v1/testimony",
		"https://lb.example":                "https://lb.example/api/v1/testimony",
		"http://192.0.2.10:9100/metrics":    "http://192.0.2.10:9100/metrics",
		"http://[2001:db8::1]:19115/prefix": "http://[2001:db8::1]:19115/prefix",
	} {
		if u, err := ParseURL(text); err != nil || u.String() != want {
			t.Errorf("ParseURL(%q) = %v, %v; want %s", text, u, err, want)
		}
	}
	for _, text := range []string{"", "ftp://192.0.2.10", "http://user:pw@192.0.2.10", "http://192.0.2.10/?a=b", "http://", "a b"} {
		if u, err := ParseURL(text); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("ParseURL(%q) = %v, %v; want an error without credentials", text, u, err)
		}
	}
}

func TestExposition(t *testing.T) {
	got, err := readExposition([]byte(`# HELP node_netstat_TcpExt_ListenDrops Statistic TcpExtListenDrops.
# TYPE node_netstat_TcpExt_ListenDrops untyped
node_netstat_TcpExt_ListenDrops 41
node_netstat_Tcp_InSegs 3e+06
# TYPE node_softnet_dropped_total counter
node_softnet_dropped_total{cpu="0"} 1
node_softnet_dropped_total{cpu="1"} 2
node_sockstat_TCP_tw 7
node_uname_info{domainname="(none)",machine="x86_64",nodename="n",release="3.10.0-1160.el7.x86_64",sysname="Linux",version="#1"} 1
go_goroutines 8
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Answer{Kernel: "3.10.0-1160.el7.x86_64", Statement: observe.Statement{Counters: map[string]int64{"TcpExt.ListenDrops": 41, "Tcp.InSegs": 3000000, "softnet.dropped": 3, "sockstat.TCP.tw": 7}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	for _, text := range []string{"go_goroutines 8\n", "<html>", "\x00"} {
		if _, err := readExposition([]byte(text)); err == nil {
			t.Errorf("%q was taken for a node_exporter's metrics", text)
		}
	}
}
