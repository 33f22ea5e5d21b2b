package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assets embed.FS

// Prefix of the paths that the page loads its files from.
const Prefix = "/page/"

// Policy is the content security policy of every file: scripts, styles and answers of this origin alone, no inline script, no markup out of
// strings (Trusted Types), nobody's frame.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Page serves the files. It is safe for concurrent use.
type Page struct {
	files map[string]file // by path
}

// file is one embedded file as it is sent.
type file struct {
	kind, tag     string
	plain, zipped []byte
}

var _ http.Handler = (*Page)(nil)

// New prepares the files: "/" and those below Prefix. The error names a file that cannot be read.
func New() (*Page, error) {
	p := &Page{files: map[string]file{}}
	err := fs.WalkDir(assets, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := assets.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := newFile(name, content)
		if err != nil {
			return fmt.Errorf("page %s: %w", name, err)
		}
		at := Prefix + strings.TrimPrefix(name, "assets/")
		if at == Prefix+"index.html" {
			at = "/"
		}
		p.files[at] = f
		return nil
	})
	return p, err
}

// kinds are the types of the files, whatever the machine's own tables say.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"})
}

func newFile(name string, content []byte) (file, error) {
	sum := sha256.Sum256(content)
	f := file{kind: kind(name), tag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: content}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return file{}, err
	}
	if _, err := w.Write(content); err != nil {
		return file{}, err
	}
	if err := w.Close(); err != nil {
		return file{}, err
	}
	f.zipped = zipped.Bytes()
	return f, nil
}

// ServeHTTP answers GET and HEAD; 404 for what is not of the page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := p.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // ask each time: the tag says whether it changed
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", f.tag)
	if strings.Contains(r.Header.Get("If-None-Match"), strings.Trim(f.tag, `"`)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // an error means that the client is gone: nobody to tell
}
