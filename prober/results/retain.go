package results

import (
	"context"
	"fmt"
	"time"
)

// ageEvery is how often age is looked after.
const ageEvery = time.Minute

// slice is how many rows are removed in one go, so that what comes in the meantime does not wait.
const slice = 500

// victim is a way to make room: the oldest rows of a table, down to a floor of age.
type victim struct {
	name  string
	floor time.Duration // rows younger than that stay
	// remove takes at most slice rows off that are older than a time.
	remove func(ctx context.Context, t *transaction, before time.Time) (int64, error)
}

func removeWhere(query string, arg func(time.Time) int64) func(context.Context, *transaction, time.Time) (int64, error) {
	return func(ctx context.Context, t *transaction, before time.Time) (int64, error) {
		res, err := t.tx.ExecContext(ctx, query, arg(before), slice)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
}

func rowID(before time.Time) int64 { return minuteOf(before) << seriesBits }

func unixNano(t time.Time) int64 { return t.UnixNano() }

// The tables that can be thinned out. What a row refers to goes with it.
func points(floor time.Duration) victim {
	return victim{"points", floor, removeWhere(`DELETE FROM points WHERE id IN (SELECT id FROM points WHERE id < ? ORDER BY id LIMIT ?)`, rowID)}
}

func captures(floor time.Duration) victim {
	return victim{"captures", floor, removeWhere(`DELETE FROM captures WHERE round IN (SELECT round FROM captures JOIN rounds ON rounds.id = captures.round
		WHERE started < ? ORDER BY round LIMIT ?)`, unixNano)}
}

func minutes(floor time.Duration) victim {
	return victim{"minutes", floor, removeWhere(`DELETE FROM minutes WHERE id IN (SELECT id FROM minutes WHERE id < ? ORDER BY id LIMIT ?)`, rowID)}
}

func rounds(floor time.Duration) victim {
	return victim{"rounds", floor, removeWhere(`DELETE FROM rounds WHERE id IN (SELECT id FROM rounds WHERE started < ? ORDER BY started LIMIT ?)`, unixNano)}
}

func runs(floor time.Duration) victim {
	return victim{"runs", floor, removeWhere(`DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE created < ? ORDER BY created LIMIT ?)`, unixNano)}
}

// series that had no round for longer than anything of theirs is kept, a day and more.
func series(floor time.Duration) victim {
	return victim{"series", floor + 48*time.Hour, removeWhere(`DELETE FROM series WHERE id IN (SELECT id FROM series WHERE seen < ?
		AND NOT EXISTS (SELECT 1 FROM rounds WHERE rounds.series = series.id) LIMIT ?)`, func(t time.Time) int64 { return minuteOf(t) / minutesADay })}
}

func (w *writer) byAge() []victim {
	age, single := w.s.opts.MaxAge, min(w.s.opts.PointsAge, w.s.opts.MaxAge)
	return []victim{points(single), captures(single), minutes(age), rounds(age), runs(age), series(age)}
}

// bySize is the order in which room is made: what there is most of and what is worth least goes first.
func bySize() []victim {
	const hour, day = time.Hour, 24 * time.Hour
	return []victim{points(hour), captures(day), minutes(day), points(0), captures(hour), rounds(hour), minutes(hour), runs(hour), rounds(0), minutes(0)}
}

// retain removes what is too old or too much.
func (w *writer) retain(ctx context.Context, now time.Time) {
	if now.Sub(w.kept) >= ageEvery {
		w.kept = now
		if err := w.age(ctx, now); err != nil {
			w.s.opts.OnError(err)
			return
		}
	}
	used, err := w.used(ctx)
	if err != nil {
		w.s.opts.OnError(fmt.Errorf("measure the results: %w", err))
		return
	}
	for _, v := range bySize() {
		for used > w.s.opts.MaxBytes {
			n, err := w.thinOnce(ctx, v, now)
			if err == nil {
				used, err = w.used(ctx)
			}
			if err != nil {
				w.s.opts.OnError(fmt.Errorf("make room among %s: %w", v.name, err))
				return
			}
			if n == 0 {
				break
			}
			w.between(ctx)
		}
	}
	w.s.counts.bytes.Store(used)
}

// age removes what is too old, and counts the series that are left.
func (w *writer) age(ctx context.Context, now time.Time) error {
	for _, v := range w.byAge() {
		n, err := w.thin(ctx, v, now)
		if err != nil {
			return fmt.Errorf("remove old %s: %w", v.name, err)
		}
		if n > 0 && v.name == "series" {
			w.series = map[Key]*seriesRow{} // their numbers may be given again
		}
	}
	if err := w.s.w.QueryRowContext(ctx, `SELECT count(*) FROM series`).Scan(&w.many); err != nil {
		return fmt.Errorf("count the series: %w", err)
	}
	return nil
}

// thin removes all that is older than a victim's floor, a slice at a time.
func (w *writer) thin(ctx context.Context, v victim, now time.Time) (total int64, err error) {
	for {
		n, err := w.thinOnce(ctx, v, now)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
		w.between(ctx)
	}
}

// between writes what has come while a long work goes on.
func (w *writer) between(ctx context.Context) {
	select {
	case it, more := <-w.s.in:
		if more {
			w.commit(ctx, w.collect(it))
		}
	default:
	}
}

func (w *writer) thinOnce(ctx context.Context, v victim, now time.Time) (n int64, err error) {
	tx, err := w.s.w.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	n, err = v.remove(ctx, &transaction{tx: tx, writer: w}, now.Add(-v.floor))
	if err != nil {
		_ = tx.Rollback() // the first error counts
		return 0, err
	}
	w.s.counts.removed.Add(uint64(n))
	if err := tx.Commit(); err != nil || n == 0 {
		return n, err
	}
	_, err = w.s.w.ExecContext(ctx, `PRAGMA incremental_vacuum(1000)`)
	return n, err
}

// used is how many octets the file's pages hold, those that are free apart.
func (w *writer) used(ctx context.Context) (int64, error) {
	var n int64
	err := w.s.w.QueryRowContext(ctx, `SELECT ((SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count))
		* (SELECT page_size FROM pragma_page_size)`).Scan(&n)
	return n, err
}
