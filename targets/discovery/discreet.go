package discovery

import (
	"context"
	"log/slog"
	"strings"
)

// discreet is a log handler that leaves out what may be a secret, and counts what failed.
type discreet struct {
	to     slog.Handler
	hide   []hidden
	failed func()
}

type hidden struct{ text, shown string }

var _ slog.Handler = (*discreet)(nil)

// Enabled implements slog.Handler: errors are counted whoever hears of them.
func (h *discreet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || h.to.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *discreet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		h.failed()
	}
	if !h.to.Enabled(ctx, r.Level) {
		return nil
	}
	out := slog.NewRecord(r.Time, r.Level, h.veil(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.to.Handle(ctx, out)
}

func (h *discreet) attr(a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		return slog.String(a.Key, h.veil(v))
	case error:
		return slog.String(a.Key, h.veil(v.Error()))
	}
	return a
}

func (h *discreet) veil(s string) string {
	for _, x := range h.hide {
		s = strings.ReplaceAll(s, x.text, x.shown)
	}
	return s
}

// WithAttrs implements slog.Handler.
func (h *discreet) WithAttrs(list []slog.Attr) slog.Handler {
	own := make([]slog.Attr, len(list))
	for i, a := range list {
		own[i] = h.attr(a)
	}
	return &discreet{to: h.to.WithAttrs(own), hide: h.hide, failed: h.failed}
}

// WithGroup implements slog.Handler.
func (h *discreet) WithGroup(name string) slog.Handler {
	return &discreet{to: h.to.WithGroup(name), hide: h.hide, failed: h.failed}
}
