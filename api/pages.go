package api

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/vipprobe/vipprobe/targets"
)

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// an error means that the client is gone: nobody to tell
	_, _ = io.WriteString(w, text+"\n")
}

func (s *Server) serveConfig(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(s.opts.Config().Redacted())
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Ready != nil {
		if err := s.opts.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, "Not ready: "+err.Error())
			return
		}
	}
	writeText(w, http.StatusOK, "Ready")
}

// Reload reads the configuration anew, one caller at a time, and notes the result in the metrics.
func (s *Server) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	err := s.opts.Reload()
	s.metrics.Reloaded(time.Now(), err)
	if err != nil {
		s.opts.Logger.Error().Err(err).Msg("configuration not reloaded; the old one stays in force")
		return err
	}
	s.opts.Logger.Info().Msg("configuration reloaded")
	return nil
}

func (s *Server) serveReload(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Reload == nil {
		writeText(w, http.StatusNotImplemented, "there is no configuration file to reload")
		return
	}
	if err := s.Reload(); err != nil {
		writeText(w, http.StatusInternalServerError, "the old configuration stays in force:\n"+err.Error())
		return
	}
	writeText(w, http.StatusOK, "Reloaded")
}

// serveLogs shows the debug text of a recent probe.
func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		writeText(w, http.StatusBadRequest, "want id=, the number of a recent probe")
		return
	}
	e, ok := s.history.get(id)
	if !ok {
		writeText(w, http.StatusNotFound, "no recent probe has this id")
		return
	}
	writeText(w, http.StatusOK, s.debugText(e, nil))
}

// landing is what the first page shows.
type landing struct {
	Default string
	Modules []string
	Recent  []historyEntry
}

func (s *Server) serveLanding(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	page := landing{Default: targets.DefaultModule, Modules: s.opts.Config().ModuleNames(), Recent: s.history.recent()}
	if err := s.landing.Execute(w, page); err != nil {
		s.opts.Logger.Debug().Err(err).Msg("write landing page")
	}
}

const landingPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>vipprobe</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:50rem;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}.bad{font-weight:bold}</style></head>
<body>
<h1>vipprobe</h1>
<form action="probe" method="get">
<label>target <input name="target" placeholder="192.0.2.10:443" required></label>
<label>module <select name="module">{{range .Modules}}<option{{if eq . $.Default}} selected{{end}}>{{.}}</option>{{end}}</select></label>
<input type="hidden" name="debug" value="true"><button>Probe</button>
</form>
<p><a href="metrics">Metrics</a> · <a href="config">Configuration</a></p>
<h2>Recent probes</h2>
<table>
<tr><th>Started</th><th>Module</th><th>Target</th><th>Result</th><th>Log</th></tr>
{{range .Recent}}<tr><td>{{.Started.UTC.Format "2006-01-02 15:04:05"}}</td><td>{{.Module}}</td><td>{{.Target}}</td>
<td{{if not .Success}} class="bad"{{end}}>{{if .Success}}success{{else}}failure{{end}}</td><td><a href="logs?id={{.ID}}">log</a></td></tr>
{{end}}</table>
</body>
</html>
`
