package v1

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/prober/results"
)

// readTime bounds one question to the store.
const readTime = 20 * time.Second

// read takes a place among those who read, and bounds their time.
func (a *API) read(ctx context.Context) (bounded context.Context, done func(), err error) {
	select {
	case a.reads <- struct{}{}:
	default:
		return ctx, nil, later(http.StatusServiceUnavailable, time.Second, "too many questions at once")
	}
	bounded, cancel := context.WithTimeout(ctx, readTime)
	return bounded, func() {
		cancel()
		<-a.reads
	}, nil
}

// unread turns an error of the store into a problem.
func unread(err error) error {
	if much, ok := errors.AsType[*results.TooMuchError](err); ok {
		return problem(http.StatusUnprocessableEntity, "too much at once", "query", much.Error())
	}
	switch {
	case errors.Is(err, results.ErrNotFound):
		return problem(http.StatusNotFound, "not found", "path.id", err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return later(http.StatusServiceUnavailable, time.Second, "the answer took too long; ask for less at once")
	}
	return huma.Error500InternalServerError("the results cannot be read", err)
}

// cursor and readCursor spell where a page ended; its form is nobody's business.
func cursor(c *results.Cursor) string {
	if c == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", c.Started, c.ID))
}

func readCursor(s string) (c results.Cursor, err error) {
	if s == "" {
		return c, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d.%d", &c.Started, &c.ID)
	}
	if err != nil || cursor(&c) != s {
		return results.Cursor{}, invalid("query.cursor", "it is none that a page before has given")
	}
	return c, nil
}
