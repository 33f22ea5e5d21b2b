package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// deponent tells what it was asked.
type deponent struct {
	ports    []uint16
	settings bool
}

func (d *deponent) Testify(_ context.Context, ports []uint16, settings bool) (prober.Deposition, error) {
	d.ports, d.settings = ports, settings
	return prober.Deposition{Kernel: "6.18.0", Counters: map[string]int64{"TcpExt.ListenDrops": 3},
		Listeners: []observe.ListenQueue{{Addr: netip.MustParseAddrPort("[::]:80"), Queued: 1, Backlog: 2}}}, nil
}

func TestTestimony(t *testing.T) {
	for _, c := range []struct {
		story, target, header string
		off                   bool
		status                int
		want                  deponent
	}{
		{"off", "/api/v1/testimony", "Bearer right", true, http.StatusNotFound, deponent{}},
		{"no token", "/api/v1/testimony", "", false, http.StatusUnauthorized, deponent{}},
		{"wrong token", "/api/v1/testimony", "Bearer wrong", false, http.StatusUnauthorized, deponent{}},
		{"a prefix of it", "/api/v1/testimony", "Bearer righ", false, http.StatusUnauthorized, deponent{}},
		{"another scheme", "/api/v1/testimony", "Basic right", false, http.StatusUnauthorized, deponent{}},
		{"right", "/api/v1/testimony?port=80&port=443&settings=true", "Bearer right", false, http.StatusOK, deponent{[]uint16{80, 443}, true}},
		{"port 0", "/api/v1/testimony?port=0", "Bearer right", false, http.StatusBadRequest, deponent{}},
		{"too many ports", "/api/v1/testimony?" + strings.Repeat("port=1&", 17), "Bearer right", false, http.StatusBadRequest, deponent{}},
	} {
		t.Run(c.story, func(t *testing.T) {
			var d deponent
			s := &Server{opts: Options{Testimony: func() *Testimony {
				if c.off {
					return nil
				}
				return &Testimony{Of: &d, Token: "right"}
			}}}
			r := httptest.NewRequest(http.MethodGet, c.target, nil)
			r.Header.Set("Authorization", c.header)
			w := httptest.NewRecorder()
			s.serveTestimony(w, r)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if diff := cmp.Diff(c.want, d, cmp.AllowUnexported(deponent{})); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if strings.Contains(w.Body.String(), "right") && c.status != http.StatusOK {
				t.Errorf("the answer holds the token: %s", w.Body)
			}
			if c.status != http.StatusOK {
				return
			}
			var got view.Deposition
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := view.Deposition{Kernel: "6.18.0", Counters: map[string]int64{"TcpExt.ListenDrops": 3}, Listeners: []view.Listener{{Address: "[::]:80", Queued: 1, Backlog: 2}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
