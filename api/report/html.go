package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
)

//go:embed validation.html
var validationHTML string

// HTML writes one page that needs no network, script or other file.
func HTML(w io.Writer, v *view.Validation) error {
	t, err := template.New("validation").Funcs(template.FuncMap{
		"called": func(c view.Candidate) string { return called(&c) },
		"took":   func(ns int64) string { return time.Duration(ns).Round(100 * time.Millisecond).String() },
	}).Parse(validationHTML)
	if err != nil {
		return fmt.Errorf("the report's own template: %w", err)
	}
	if err := t.Execute(w, v); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	return nil
}
