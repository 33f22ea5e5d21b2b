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

// serveLogs shows the debug text of a recent probe, or which there are.
func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("id") {
		s.listLogs(w)
		return
	}
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

// listLogs shows the recent probes that were asked for through /probe. It works without scripts.
func (s *Server) listLogs(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	page := struct {
		Default string
		Modules []string
		Recent  []historyEntry
	}{targets.DefaultModule, s.opts.Config().ModuleNames(), s.history.recent()}
	if err := s.logs.Execute(w, page); err != nil {
		s.opts.Logger.Debug().Err(err).Msg("write the list of probes")
	}
}

const logsPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Recent probes · vipprobe</title>
<link rel="stylesheet" href="page/style.css"></head>
<body>
<header class="bar"><a class="brand" href="./">vipprobe</a></header>
<main>
<h1>Recent probes</h1>
<p>What was asked for through <code>/probe</code>, the newest first.</p>
<form action="probe" method="get" class="form row">
<label>Target <input name="target" placeholder="192.0.2.10:443" required></label>
<label>Module <select name="module">{{range .Modules}}<option{{if eq . $.Default}} selected{{end}}>{{.}}</option>{{end}}</select></label>
<input type="hidden" name="debug" value="true"><button>Probe</button>
</form>
<table>
<thead><tr><th>Started (UTC)</th><th>Module</th><th>Target</th><th>Result</th><th>Log</th></tr></thead>
<tbody>
{{range .Recent}}<tr><td>{{.Started.UTC.Format "2006-01-02 15:04:05"}}</td><td>{{.Module}}</td><td>{{.Target}}</td>
<td>{{if .Success}}success{{else}}<strong>failure</strong>{{end}}</td><td><a href="logs?id={{.ID}}">log</a></td></tr>
{{else}}<tr><td colspan="5">There was none yet.</td></tr>
{{end}}</tbody></table>
</main>
</body>
</html>
`
