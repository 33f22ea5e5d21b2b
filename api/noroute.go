package api

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	v1 "github.com/vipprobe/vipprobe/api/v1"
)

// noRoute answers what no route answers: 404, or 405 with the methods that there are. Below /api the answer is a problem, elsewhere a line of text.
func noRoute(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
				allowed = append(allowed, m)
			}
		}
		status, detail := http.StatusNotFound, "there is nothing at this path"
		if strings.HasPrefix(r.URL.Path, "/api/") {
			detail += "; /openapi.json lists what there is"
		}
		if len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			status, detail = http.StatusMethodNotAllowed, "this path takes "+strings.Join(allowed, ", ")
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			v1.Refuse(w, status, detail)
			return
		}
		writeText(w, status, detail)
	}
}
