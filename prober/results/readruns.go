package results

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const runColumns = `SELECT id, created, finished, state, request, of_run, idempotency_key, error, error_kind FROM runs`

func (r *Reader) runs(ctx context.Context, clause string, args ...any) ([]Run, error) {
	var out []Run
	err := r.each(ctx, runColumns+clause, args, func(rows *sql.Rows) error {
		var x Run
		var created, finished int64
		if err := rows.Scan(&x.ID, &created, &finished, &x.State, &x.Request, &x.Of, &x.IdempotencyKey, &x.Error, &x.ErrorKind); err != nil {
			return err
		}
		x.Created = time.Unix(0, created).UTC()
		if finished != 0 {
			x.Finished = time.Unix(0, finished).UTC()
		}
		out = append(out, x)
		return nil
	})
	return out, err
}

// Run returns a run; ErrNotFound where it is not kept.
func (r *Reader) Run(ctx context.Context, id string) (Run, error) {
	return one(id)(r.runs(ctx, ` WHERE id = ?`, id))
}

// RunByKey returns the last run that was asked for with an idempotency key; ErrNotFound where none was.
func (r *Reader) RunByKey(ctx context.Context, key string) (Run, error) {
	return one("of key " + key)(r.runs(ctx, ` WHERE idempotency_key = ? ORDER BY id DESC LIMIT 1`, key))
}

func one(name string) func([]Run, error) (Run, error) {
	return func(all []Run, err error) (Run, error) {
		if err == nil && len(all) == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return Run{}, fmt.Errorf("run %s: %w", name, err)
		}
		return all[0], nil
	}
}

// Runs lists runs, the newest first, at most limit of them before an id; "" is the beginning. The second result is where the next page
// begins; "": there is none. Ids of runs are in order of time.
func (r *Reader) Runs(ctx context.Context, state State, before string, limit int) ([]Run, string, error) {
	q := &query{}
	q.text("state", string(state))
	if before != "" {
		q.add("id < ?", before)
	}
	out, err := r.runs(ctx, q.clause()+` ORDER BY id DESC LIMIT ?`, append(q.args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list runs: %w", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	return out[:limit], out[limit-1].ID, nil
}
