package api

import (
	"net/http/pprof"

	"github.com/go-chi/chi/v5"
)

// profiles serves what Go tells of this process.
func profiles(r chi.Router) {
	r.Get("/debug/pprof/", pprof.Index)
	r.Get("/debug/pprof/cmdline", pprof.Cmdline)
	r.Get("/debug/pprof/profile", pprof.Profile)
	r.Get("/debug/pprof/symbol", pprof.Symbol)
	r.Get("/debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		r.Method("GET", "/debug/pprof/"+name, pprof.Handler(name))
	}
}
