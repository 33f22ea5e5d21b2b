package api

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/diagnose/catalogue"
)

// serveVerdicts shows the whole catalogue.
func (s *Server) serveVerdicts(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, view.NewVerdicts(catalogue.Entries()))
}

// serveVerdict shows one entry of the catalogue.
func (s *Server) serveVerdict(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "verdict")
	e, ok := catalogue.Find(diagnose.Verdict(name))
	if !ok {
		s.writeJSON(w, http.StatusNotFound, map[string]string{"error": fmt.Sprintf("no verdict %q; /api/v1/verdicts lists them", name)})
		return
	}
	s.writeJSON(w, http.StatusOK, view.NewVerdict(&e))
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := view.WriteJSON(w, v); err != nil {
		s.opts.Logger.Debug().Err(err).Msg("write answer") // the client is gone: nobody to tell
	}
}
