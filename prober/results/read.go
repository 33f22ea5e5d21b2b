package results

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNotFound says that nothing of that name is kept, or not any more.
var ErrNotFound = errors.New("not kept, or not any more")

// Filter chooses rounds; a zero field chooses all.
type Filter struct {
	Target, Job, Module, Addr string
	Origin                    Origin
	Run                       string
	Verdict, Level            string // of any cause
	Success                   *bool
	Named                     *bool // whether it names a cause of trouble: any but healthy
	Healthy                   string
	From, To                  time.Time // of its start; To itself is not among them
}

// Cursor is where a page ended. The zero value is the beginning.
type Cursor struct{ Started, ID int64 }

// query builds a WHERE clause.
type query struct {
	where []string
	args  []any
}

func (q *query) add(cond string, args ...any) {
	q.where, q.args = append(q.where, cond), append(q.args, args...)
}

func (q *query) text(column, value string) {
	if value != "" {
		q.add(column+" = ?", value)
	}
}

func (q *query) clause() string {
	if len(q.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.where, " AND ")
}

func (f *Filter) query() *query {
	q := &query{}
	q.text("s.target", f.Target)
	q.text("s.job", f.Job)
	q.text("s.module", f.Module)
	q.text("s.addr", f.Addr)
	q.text("r.origin", string(f.Origin))
	q.text("r.run", f.Run)
	if f.Success != nil {
		q.add("r.success = ?", *f.Success)
	}
	if !f.From.IsZero() {
		q.add("r.started >= ?", f.From.UnixNano())
	}
	if !f.To.IsZero() {
		q.add("r.started < ?", f.To.UnixNano())
	}
	if f.Verdict != "" || f.Level != "" {
		sub := &query{where: []string{"c.round = r.id"}}
		sub.text("c.verdict", f.Verdict)
		sub.text("c.level", f.Level)
		q.add("EXISTS (SELECT 1 FROM causes c"+sub.clause()+")", sub.args...)
	}
	if f.Named != nil {
		not := "NOT "
		if *f.Named {
			not = ""
		}
		q.add(not+"EXISTS (SELECT 1 FROM causes c WHERE c.round = r.id AND c.verdict <> ?)", f.Healthy)
	}
	return q
}

const roundColumns = `SELECT r.id, s.job, s.module, s.target, s.addr, s.labels, r.origin, r.run, r.member, r.started, r.duration, r.success, r.why, r.error,
	r.error_kind, r.headline, r.attempts, r.stalled, (SELECT json_group_array(json_array(verdict, level)) FROM (SELECT verdict, level FROM causes
	WHERE round = r.id ORDER BY rank)), EXISTS (SELECT 1 FROM details WHERE round = r.id), EXISTS (SELECT 1 FROM captures WHERE round = r.id)
	FROM rounds r JOIN series s ON s.id = r.series`

// Rounds lists rounds, the newest first, at most limit of them behind a cursor. The second result is where the next page begins; nil: there
// is none.
func (r *Reader) Rounds(ctx context.Context, f Filter, after Cursor, limit int) ([]Round, *Cursor, error) {
	q := f.query()
	if after != (Cursor{}) {
		q.add("(r.started, r.id) < (?, ?)", after.Started, after.ID)
	}
	var out []Round
	err := r.each(ctx, roundColumns+q.clause()+` ORDER BY r.started DESC, r.id DESC LIMIT ?`, append(q.args, limit+1), func(rows *sql.Rows) error {
		x, err := scanRound(rows)
		out = append(out, x)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list rounds: %w", err)
	}
	if len(out) <= limit {
		return out, nil, nil
	}
	out = out[:limit]
	last := &out[limit-1]
	return out, &Cursor{last.Started.UnixNano(), last.ID}, nil
}

// Round returns one round; ErrNotFound where it is not kept.
func (r *Reader) Round(ctx context.Context, id int64) (Round, error) {
	var out Round
	found := false
	err := r.each(ctx, roundColumns+` WHERE r.id = ?`, []any{id}, func(rows *sql.Rows) (err error) {
		out, err = scanRound(rows)
		found = true
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return Round{}, fmt.Errorf("round %d: %w", id, err)
	}
	return out, nil
}

func scanRound(rows *sql.Rows) (Round, error) {
	var r Round
	var labels, causes string
	var started, duration int64
	if err := rows.Scan(&r.ID, &r.Job, &r.Module, &r.Target, &r.Addr, &labels, &r.Origin, &r.Run, &r.Member, &started, &duration, &r.Success, &r.Why, &r.Error,
		&r.ErrorKind, &r.Headline, &r.Attempts, &r.Stalled, &causes, &r.Detail, &r.Capture); err != nil {
		return Round{}, err
	}
	r.Started, r.Duration = time.Unix(0, started).UTC(), time.Duration(duration)
	var pairs [][2]string
	if err := json.Unmarshal([]byte(causes), &pairs); err != nil {
		return Round{}, fmt.Errorf("causes of round %d: %w", r.ID, err)
	}
	for _, p := range pairs {
		r.Causes = append(r.Causes, Cause{p[0], p[1]})
	}
	var err error
	r.Labels, err = readLabels(labels)
	return r, err
}

func readLabels(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var out map[string]string
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("labels of a series: %w", err)
	}
	return out, nil
}

// Content is the whole round as it was added; ErrNotFound where it is not kept.
func (r *Reader) Content(ctx context.Context, round int64) ([]byte, error) {
	return r.blob(ctx, "details", round)
}

// Pcapng is the capture of a round as it was added; ErrNotFound where it is not kept.
func (r *Reader) Pcapng(ctx context.Context, round int64) ([]byte, error) {
	return r.blob(ctx, "captures", round)
}

func (r *Reader) blob(ctx context.Context, table string, round int64) ([]byte, error) {
	var packed []byte
	err := r.each(ctx, `SELECT data FROM `+table+` WHERE round = ?`, []any{round}, func(rows *sql.Rows) error { return rows.Scan(&packed) })
	var out []byte
	switch {
	case err != nil:
	case packed == nil:
		err = ErrNotFound
	default:
		out, err = unpack(packed)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of round %d: %w", table, round, err)
	}
	return out, nil
}

// each asks a question and hands on its rows.
func (r *Reader) each(ctx context.Context, text string, args []any, row func(*sql.Rows) error) error {
	if r.memory {
		ctx = context.WithoutCancel(ctx)
	}
	return each(ctx, r.db, text, args, row)
}

type querier interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

func each(ctx context.Context, db querier, text string, args []any, row func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
