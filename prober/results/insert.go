package results

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// maxSeries bounds how many series there are: targets times addresses times modules.
const (
	maxSeries   = 500_000
	minutesADay = 24 * 60
)

// seriesOf finds or makes the series of an entry; false where there are too many.
func (t *transaction) seriesOf(ctx context.Context, e *Entry) (id int64, ok bool, err error) {
	labels := ""
	if len(e.Labels) > 0 {
		text, err := json.Marshal(e.Labels) // sorted by key
		if err != nil {
			return 0, false, fmt.Errorf("labels of %s: %w", e.Target, err)
		}
		labels = string(text)
	}
	w, day := t.writer, minuteOf(e.Started)/minutesADay
	known := w.series[e.Key]
	if known != nil && known.labels == labels && known.seen >= day {
		return known.id, true, nil
	}
	if known == nil && w.many >= maxSeries {
		return 0, false, nil
	}
	var first bool
	err = t.tx.QueryRowContext(ctx, `INSERT INTO series (target, job, module, addr, labels, seen) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (target, job, module, addr) DO UPDATE SET labels = excluded.labels, seen = max(seen, excluded.seen)
		RETURNING id, id = last_insert_rowid()`, e.Target, e.Job, e.Module, e.Addr, labels, day).Scan(&id, &first)
	if err != nil {
		return 0, false, fmt.Errorf("series of %s: %w", e.Target, err)
	}
	if first {
		w.many++
	}
	w.series[e.Key] = &seriesRow{id, labels, day}
	return id, true, nil
}

// keep makes a row of an entry that is to have one.
func (t *transaction) keep(ctx context.Context, series int64, e *Entry) error {
	if !e.Keep {
		return nil
	}
	if err := t.exec(ctx, `INSERT INTO rounds (id, series, origin, run, member, started, duration, success, why, error, error_kind, headline, attempts, stalled)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID, series, string(e.Origin), e.Run, e.Member, e.Started.UnixNano(), int64(e.Duration), e.Success, e.Why,
		e.Error, e.ErrorKind, e.Headline, e.Attempts, e.Stalled); err != nil {
		return fmt.Errorf("round of %s: %w", e.Target, err)
	}
	for i, c := range e.Causes {
		if err := t.exec(ctx, `INSERT INTO causes (round, rank, verdict, level) VALUES (?, ?, ?, ?)`, e.ID, i, c.Verdict, c.Level); err != nil {
			return fmt.Errorf("cause %s of %s: %w", c.Verdict, e.Target, err)
		}
	}
	if err := t.blob(ctx, "details", e.ID, e.Content); err != nil {
		return err
	}
	return t.blob(ctx, "captures", e.ID, e.Pcapng)
}

func (t *transaction) blob(ctx context.Context, table string, round int64, content []byte) error {
	if len(content) == 0 {
		return nil
	}
	packed, err := pack(content)
	if err != nil {
		return err
	}
	if err := t.exec(ctx, `INSERT INTO `+table+` (round, data) VALUES (?, ?)`, round, packed); err != nil {
		return fmt.Errorf("%s of round %d: %w", table, round, err)
	}
	return nil
}

func (t *transaction) putRun(ctx context.Context, r *Run) error {
	finished := int64(0)
	if !r.Finished.IsZero() {
		finished = r.Finished.UnixNano()
	}
	err := t.exec(ctx, `INSERT INTO runs (id, created, finished, state, request, of_run, idempotency_key, error, error_kind) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, state = excluded.state, of_run = excluded.of_run, error = excluded.error,
		error_kind = excluded.error_kind`, r.ID, r.Created.UnixNano(), finished, string(r.State), string(r.Request), r.Of, r.IdempotencyKey, r.Error, r.ErrorKind)
	if err != nil {
		return fmt.Errorf("run %s: %w", r.ID, err)
	}
	return nil
}

// maxUnpacked bounds what a blob may become.
const maxUnpacked = 256 << 20

// pack compresses content (RFC 1951).
func pack(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxUnpacked+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress: %w", err)
	case len(out) > maxUnpacked:
		return nil, fmt.Errorf("decompress: it becomes more than %d octets", maxUnpacked)
	}
	return out, nil
}
