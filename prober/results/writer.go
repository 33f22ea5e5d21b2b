package results

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// Times of the writer. A batch is what came within batchWindow after its first entry: a transaction costs as much for few rounds as for many, and it is the
// spool that a kill is survived by; late rounds have foldAfter to come before their
// minute is folded, and those that are later still are merged into its row.
const (
	batchWindow = 100 * time.Millisecond
	batchBytes  = 4 << 20
	batchItems  = 4096
	foldAfter   = 5 * time.Second
)

// write is the one goroutine that writes to the database. It ends when todo is closed and empty.
func (s *Store) write(ctx context.Context) {
	defer close(s.ended)
	w := &writer{s: s, series: map[Key]*seriesRow{}}
	keep := time.NewTicker(s.opts.every)
	defer keep.Stop()
	for {
		select {
		case it, more := <-s.todo:
			if !more {
				return
			}
			w.commit(ctx, w.collect(it))
		case now := <-keep.C:
			w.housekeep(ctx, now)
		}
	}
}

// writer is what the goroutine owns.
type writer struct {
	s      *Store
	series map[Key]*seriesRow
	// many is about how many series the file has.
	many int64
	// kept is when age was last looked after.
	kept time.Time
}

type seriesRow struct {
	id     int64
	labels string
	seen   int64 // day
}

// collect gathers a batch.
func (w *writer) collect(first item) []item {
	batch, size := []item{first}, first.size
	window := time.NewTimer(batchWindow)
	defer window.Stop()
	for len(batch) < batchItems && size < batchBytes && batch[len(batch)-1].written == nil {
		select {
		case it, more := <-w.s.todo:
			if !more {
				return batch
			}
			batch, size = append(batch, it), size+it.size
		case <-window.C:
			return batch
		}
	}
	return batch
}

// commit writes a batch, and tells those who wait for it.
func (w *writer) commit(ctx context.Context, batch []item) {
	began := time.Now()
	var size int64
	n := 0
	for i := range batch {
		size += batch[i].size
		if batch[i].written == nil {
			n++
		}
	}
	lines, lost, err := w.transact(ctx, batch)
	c := &w.s.counts
	if err != nil {
		c.drop(DroppedError, n)
		w.s.opts.OnError(fmt.Errorf("write %d results: %w", n, err))
		w.series = map[Key]*seriesRow{} // what was added to it may have been rolled back
	} else {
		w.s.fold.add(lines)
		c.drop(DroppedSeries, lost)
		c.written.Add(uint64(n - lost))
	}
	w.s.settle(batch, err == nil)
	c.queued.Add(-size)
	took := time.Since(began)
	c.batches.Add(1)
	c.batchNS.Add(int64(took))
	c.slowestNS.Store(max(c.slowestNS.Load(), int64(took)))
	for i := range batch {
		if batch[i].written != nil {
			close(batch[i].written)
		}
	}
}

// transact writes a batch whole or not at all. It returns the lines for the fold and how many entries had no room among the series.
func (w *writer) transact(ctx context.Context, batch []item) (lines []line, lost int, err error) {
	tx, err := w.s.w.BeginTx(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error counts
		}
	}()
	t := &transaction{tx: tx, writer: w}
	for i := range batch {
		switch it := &batch[i]; {
		case it.entry != nil:
			id, ok, err := t.seriesOf(ctx, it.entry)
			if err != nil {
				return nil, 0, err
			}
			if !ok {
				lost++
				continue
			}
			if l := lineOf(id, it.entry); !l.empty() {
				lines = append(lines, l)
			}
			if err := t.keep(ctx, id, it.entry); err != nil {
				return nil, 0, err
			}
		case it.run != nil:
			if err := t.putRun(ctx, it.run); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := t.journal(ctx, lines); err != nil {
		return nil, 0, err
	}
	if last := lastOf(batch); last > 0 {
		if err := t.exec(ctx, `UPDATE spooled SET seq = ?`, int64(last)); err != nil {
			return nil, 0, err
		}
	}
	return lines, lost, tx.Commit()
}

func lineOf(series int64, e *Entry) line {
	return line{cell: cell{minuteOf(e.Started), series}, figures: e.Figures, points: minute.AppendPoints(nil, e.Points)}
}

// empty reports whether a line tells of nothing.
func (l *line) empty() bool {
	return l.figures.Rounds == 0 && l.figures.Attempts == 0
}

// transaction is one batch being written.
type transaction struct {
	tx     *sql.Tx
	writer *writer
}

func (t *transaction) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, query, args...)
	return err
}

// journal writes lines by minute and shard, so that folding one removes its rows alone. In memory there is nothing to come back from.
func (t *transaction) journal(ctx context.Context, lines []line) error {
	if t.writer.s.opts.Path == "" {
		return nil
	}
	rows := map[piece][]byte{}
	for i := range lines {
		p := piece{lines[i].minute, lines[i].series % shards}
		rows[p] = appendLine(rows[p], &lines[i])
	}
	for p, data := range rows {
		if err := t.exec(ctx, `INSERT INTO journal (minute, shard, data) VALUES (?, ?, ?)`, p.minute, p.shard, data); err != nil {
			return err
		}
	}
	return nil
}

// housekeep folds the minutes that are over, a piece at a time, and between two of them writes what has come; then it looks after age and
// size.
func (w *writer) housekeep(ctx context.Context, now time.Time) {
	for _, p := range w.s.fold.due(now.Add(-foldAfter)) {
		if err := w.foldPiece(ctx, p); err != nil {
			w.s.opts.OnError(fmt.Errorf("fold minute %s: %w", beginOf(p.minute).UTC().Format(time.RFC3339), err))
			return
		}
		select {
		case it, more := <-w.s.todo:
			if !more {
				return // write sees it as well
			}
			w.commit(ctx, w.collect(it))
		default:
		}
	}
	w.retain(ctx, now)
}

// foldPiece makes rows of a piece and takes it off the journal, in one transaction.
func (w *writer) foldPiece(ctx context.Context, p piece) (err error) {
	w.s.fold.gate.Lock()
	defer w.s.fold.gate.Unlock()
	tx, err := w.s.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error counts
		}
	}()
	sums := w.s.fold.take(p)
	if err := putMinutes(ctx, tx, sums); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM journal WHERE minute = ? AND shard = ?`, p.minute, p.shard); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	w.s.fold.drop(sums)
	return nil
}

// putMinutes makes rows of sums. Nearly all are of minutes that have none yet; what came late is merged with the row that there is.
func putMinutes(ctx context.Context, tx *sql.Tx, sums map[cell]*sum) error {
	figures, err := tx.PrepareContext(ctx, `INSERT INTO minutes (id, data) VALUES (?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer figures.Close()
	points, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO points (id, data) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer points.Close()
	for c, have := range sums {
		res, err := figures.ExecContext(ctx, c.id(), have.figures.Append(nil))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if have, err = late(ctx, tx, c, have); err != nil {
				return err
			}
		}
		if len(have.points) == 0 {
			continue
		}
		if _, err := points.ExecContext(ctx, c.id(), have.points); err != nil {
			return err
		}
	}
	return nil
}

// late merges a sum into the row that its cell has already, and returns both.
func late(ctx context.Context, tx *sql.Tx, c cell, have *sum) (*sum, error) {
	var figures, points []byte
	err := tx.QueryRowContext(ctx, `SELECT data, coalesce((SELECT data FROM points WHERE id = ?1), x'') FROM minutes WHERE id = ?1`, c.id()).Scan(&figures, &points)
	if err != nil {
		return nil, err
	}
	before, _, err := minute.ParseFigures(figures)
	if err != nil {
		return nil, fmt.Errorf("figures of row %d: %w", c.id(), err)
	}
	whole := &sum{figures: before, points: points}
	whole.merge(have)
	_, err = tx.ExecContext(ctx, `UPDATE minutes SET data = ? WHERE id = ?`, whole.figures.Append(nil), c.id())
	return whole, err
}

// recover reads what the process before had not folded or not even written, and ends the runs that it left.
func (s *Store) recover(ctx context.Context) error {
	if err := s.readJournal(ctx); err != nil {
		return err
	}
	if s.opts.Path != "" {
		if err := s.unspool(ctx); err != nil {
			return err
		}
	}
	if err := s.w.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM rounds`).Scan(&s.ids.last); err != nil {
		return fmt.Errorf("read the last round of %s: %w", s.opts.Path, err)
	}
	if _, err := s.w.ExecContext(ctx, `UPDATE runs SET state = ?, finished = ? WHERE state = ?`, string(Interrupted), time.Now().UnixNano(), string(Running)); err != nil {
		return fmt.Errorf("end the runs of %s: %w", s.opts.Path, err)
	}
	return nil
}

func (s *Store) readJournal(ctx context.Context) error {
	rows, err := s.w.QueryContext(ctx, `SELECT id, minute, data FROM journal ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read the journal of %s: %w", s.opts.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, m int64
		var data []byte
		if err := rows.Scan(&id, &m, &data); err != nil {
			return fmt.Errorf("read the journal of %s: %w", s.opts.Path, err)
		}
		lines, err := parseLines(m, data)
		if err != nil {
			return fmt.Errorf("read row %d of the journal of %s: %w", id, s.opts.Path, err)
		}
		s.fold.add(lines)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the journal of %s: %w", s.opts.Path, err)
	}
	return nil
}
