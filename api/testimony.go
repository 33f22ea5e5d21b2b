package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/vipprobe/vipprobe/api/v1"
	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
)

// Testifier reads this host's own counters.
type Testifier interface {
	Testify(ctx context.Context, ports []uint16, settings bool) (prober.Deposition, error)
}

var _ Testifier = (*prober.Deponent)(nil)

// Testimony is what /api/v1/testimony serves, and to whom.
type Testimony struct {
	Of Testifier
	// Token is the bearer token that is asked for; empty: who passes the listener's own authentication may ask.
	Token prober.Secret
}

const testimonyPath = "/api/v1/testimony"

// mostListenerPorts is how many ports one request may ask for.
const mostListenerPorts = 16

// serveTestimony tells this host's own counters. It changes nothing, and is off unless the configuration switches it on.
func (s *Server) serveTestimony(w http.ResponseWriter, r *http.Request) {
	var t *Testimony
	if s.opts.Testimony != nil {
		t = s.opts.Testimony()
	}
	if t == nil {
		v1.Refuse(w, http.StatusNotFound, "testimony is off: testimony.serve in the configuration switches it on")
		return
	}
	if !t.permits(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vipprobe testimony"`)
		v1.Refuse(w, http.StatusUnauthorized, "want the bearer token of testimony.token_file")
		return
	}
	ports, settings, err := testimonyQuery(r)
	if err != nil {
		v1.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	d, err := t.Of.Testify(r.Context(), ports, settings)
	if err != nil {
		s.opts.Logger.Error().Err(err).Msg("testimony not given")
		v1.Refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = view.WriteLine(w, view.NewDeposition(&d)) // an error means that the client is gone
}

// permits compares in a time that does not depend on where two tokens differ, nor on their lengths.
func (t *Testimony) permits(r *http.Request) bool {
	if t.Token == "" {
		return true
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(t.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func testimonyQuery(r *http.Request) (ports []uint16, settings bool, err error) {
	q := r.URL.Query()
	if len(q["port"]) > mostListenerPorts {
		return nil, false, fmt.Errorf("%d ports; at most %d at once", len(q["port"]), mostListenerPorts)
	}
	for _, text := range q["port"] {
		p, err := strconv.ParseUint(text, 10, 16)
		if err != nil || p == 0 {
			return nil, false, fmt.Errorf("port=%q: want 1 to 65535", text)
		}
		ports = append(ports, uint16(p))
	}
	if text := q.Get("settings"); text != "" {
		if settings, err = strconv.ParseBool(text); err != nil {
			return nil, false, fmt.Errorf("settings=%q: want true or false", text)
		}
	}
	return ports, settings, nil
}

// describeTestimony adds it to the document of the API, which its route is no part of: it has a token of its own.
func describeTestimony(doc *huma.OpenAPI) {
	problems := &huma.MediaType{Schema: doc.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")}
	op := &huma.Operation{Method: http.MethodGet, Path: testimonyPath, OperationID: "get-testimony", Tags: []string{"testimony"}, Summary: "This host's own counters and listeners, as a server's testimony",
		Description: "Off unless testimony.serve of the configuration switches it on. It changes nothing. With testimony.token_file it wants that bearer token.",
		Parameters: []*huma.Param{
			{Name: "port", In: "query", Description: "listeners of this port too; may be repeated", Schema: &huma.Schema{Type: huma.TypeArray, MaxItems: new(mostListenerPorts),
				Items: &huma.Schema{Type: huma.TypeInteger, Minimum: new(1.0), Maximum: new(65535.0)}}},
			{Name: "settings", In: "query", Description: "the sysctls that matter too", Schema: &huma.Schema{Type: huma.TypeBoolean}},
		},
		Responses: map[string]*huma.Response{"200": {Description: "One reading", Content: map[string]*huma.MediaType{
			"application/json": {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[view.Deposition](), true, "")}}}}}
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusInternalServerError} {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": problems}}
	}
	doc.AddOperation(op)
}
