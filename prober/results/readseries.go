package results

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// MaxMinutes is the longest time that one question about series may span: 35 days.
const MaxMinutes = 35 * 24 * 60

// maxSpread bounds how many series one question adds up.
const maxSpread = 512

// TooMuchError refuses a question about too much at once.
type TooMuchError struct{ What string }

func (e *TooMuchError) Error() string { return e.What }

// SeriesFilter chooses series and a time; a zero text chooses all.
type SeriesFilter struct {
	Target, Job, Module, Addr string
	From, To                  time.Time // To itself is not among them
	// Step is the width of the buckets, in whole minutes, at least one.
	Step time.Duration
	// Points is how many connections are wanted at most, the newest of them.
	Points int
}

// Bucket is what all series chosen came to in one step of time.
type Bucket struct {
	At      time.Time
	Figures minute.Figures
}

// Dot is one connection.
type Dot struct {
	At time.Time
	minute.Point
	Series int // an index of History.Series
}

// Series is what figures and dots belong to.
type Series struct {
	Key
	Labels map[string]string
}

// History is what became of connections over time.
type History struct {
	Series  []Series
	Buckets []Bucket // in order of time; a step without connections has none
	Dots    []Dot    // in order of time
	// More connections than Points were made: the dots begin later than From.
	More bool
}

// Series lists the series that a filter chooses, whatever its times.
func (r *Reader) Series(ctx context.Context, f SeriesFilter) ([]Series, error) {
	out, _, err := r.series(ctx, f)
	return out, err
}

func (r *Reader) series(ctx context.Context, f SeriesFilter) (out []Series, ids []int64, err error) {
	q := &query{}
	q.text("target", f.Target)
	q.text("job", f.Job)
	q.text("module", f.Module)
	q.text("addr", f.Addr)
	err = r.each(ctx, `SELECT id, job, module, target, addr, labels FROM series`+q.clause()+` ORDER BY target, job, module, addr LIMIT ?`, append(q.args, maxSpread+1),
		func(rows *sql.Rows) error {
			var id int64
			var s Series
			var labels string
			if err := rows.Scan(&id, &s.Job, &s.Module, &s.Target, &s.Addr, &labels); err != nil {
				return err
			}
			var err error
			s.Labels, err = readLabels(labels)
			out, ids = append(out, s), append(ids, id)
			return err
		})
	if err != nil {
		return nil, nil, fmt.Errorf("list series: %w", err)
	}
	if len(ids) > maxSpread {
		return nil, nil, &TooMuchError{fmt.Sprintf("more than %d series fit: name the target", maxSpread)}
	}
	return out, ids, nil
}

// History adds up series over time.
func (r *Reader) History(ctx context.Context, f SeriesFilter) (History, error) {
	step := max(1, int64(f.Step/time.Minute))
	from, to := minuteOf(f.From), minuteOf(f.To.Add(time.Minute-1))
	if to-from > MaxMinutes {
		return History{}, &TooMuchError{fmt.Sprintf("%d days at once; at most %d", (to-from)/minutesADay, MaxMinutes/minutesADay)}
	}
	var h History
	var ids []int64
	var err error
	if h.Series, ids, err = r.series(ctx, f); err != nil {
		return History{}, err
	}
	if work := (to - from) * int64(len(ids)); work > 4*MaxMinutes {
		return History{}, &TooMuchError{fmt.Sprintf("%d series over %d minutes at once: name the address, or ask for a shorter time", len(ids), to-from)}
	}
	snap, fresh, err := r.snapshot(ctx, ids, from, to)
	if err != nil {
		return History{}, err
	}
	defer snap.end()
	if h.Buckets, err = snap.buckets(ctx, ids, from, to, step, fresh); err != nil {
		return History{}, err
	}
	if f.Points > 0 {
		h.Dots, h.More, err = snap.dots(ctx, ids, f, fresh)
	}
	return h, err
}

// snapshot is the file as it was at one moment.
type snapshot struct{ tx *sql.Tx }

func (s *snapshot) end() { _ = s.tx.Rollback() } // it has changed nothing

// snapshot takes one, with the sums that were no rows then: the writer's own, or, for another process, the journal's.
func (r *Reader) snapshot(ctx context.Context, ids []int64, from, to int64) (*snapshot, map[cell]*sum, error) {
	if r.memory {
		ctx = context.WithoutCancel(ctx)
	}
	if r.tail != nil {
		r.tail.gate.RLock()
		defer r.tail.gate.RUnlock()
	}
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("read the results: %w", err)
	}
	s := &snapshot{tx}
	want := map[int64]bool{}
	for _, id := range ids {
		want[id] = true
	}
	f := r.tail
	if f != nil {
		var n int64
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM series LIMIT 1)`).Scan(&n) // a snapshot begins with the first question
	} else {
		f, err = s.journal(ctx, from, to)
	}
	if err != nil {
		s.end()
		return nil, nil, fmt.Errorf("read the journal: %w", err)
	}
	return s, f.of(want, from, to), nil
}

// journal reads the sums that are no rows yet.
func (s *snapshot) journal(ctx context.Context, from, to int64) (*fold, error) {
	f := newFold()
	return f, each(ctx, s.tx, `SELECT minute, data FROM journal WHERE minute >= ? AND minute < ? ORDER BY id`, []any{from, to}, func(rows *sql.Rows) error {
		var m int64
		var data []byte
		if err := rows.Scan(&m, &data); err != nil {
			return err
		}
		lines, err := parseLines(m, data)
		if err == nil {
			f.add(lines)
		}
		return err
	})
}

// eachCell hands on the rows of a table for every minute of every series.
func (s *snapshot) eachCell(ctx context.Context, table string, ids []int64, from, to int64, cell func(cell, []byte) error) error {
	for _, id := range ids {
		err := each(ctx, s.tx, `WITH RECURSIVE m (t) AS (VALUES (?1) UNION ALL SELECT t + 1 FROM m WHERE t + 1 < ?2)
			SELECT x.id, x.data FROM m CROSS JOIN `+table+` x ON x.id = (m.t << 32) | ?3`, []any{from, to, id}, func(rows *sql.Rows) error {
			var row int64
			var data []byte
			if err := rows.Scan(&row, &data); err != nil {
				return err
			}
			return cell(cellOf(row), data)
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
	}
	return nil
}

func (s *snapshot) buckets(ctx context.Context, ids []int64, from, to, step int64, fresh map[cell]*sum) ([]Bucket, error) {
	all := map[int64]*minute.Figures{}
	add := func(m int64, f *minute.Figures) {
		m -= m % step
		if all[m] == nil {
			all[m] = &minute.Figures{}
		}
		all[m].Merge(f)
	}
	err := s.eachCell(ctx, "minutes", ids, from, to, func(c cell, data []byte) error {
		f, _, err := minute.ParseFigures(data)
		if err == nil {
			add(c.minute, &f)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for c, have := range fresh {
		add(c.minute, &have.figures)
	}
	out := make([]Bucket, 0, len(all))
	for m, f := range all {
		out = append(out, Bucket{beginOf(m).UTC(), *f})
	}
	slices.SortFunc(out, func(a, b Bucket) int { return a.At.Compare(b.At) })
	return out, nil
}

// dots collects connections from the newest back until there are enough.
func (s *snapshot) dots(ctx context.Context, ids []int64, f SeriesFilter, fresh map[cell]*sum) ([]Dot, bool, error) {
	from, to := minuteOf(f.From), minuteOf(f.To.Add(time.Minute-1))
	c := collector{f: f, index: map[int64]int{}}
	for i, id := range ids {
		c.index[id] = i
	}
	for k, have := range fresh {
		if err := c.add(k, have.points); err != nil {
			return nil, false, err
		}
	}
	// a stretch at a time from the end, each longer than the one after it: how many connections a minute has is not known before
	for stretch := int64(8); to > from && len(c.dots) <= f.Points; stretch *= 2 {
		begin := max(from, to-stretch)
		if err := s.eachCell(ctx, "points", ids, begin, to, c.add); err != nil {
			return nil, false, err
		}
		to = begin
	}
	slices.SortStableFunc(c.dots, func(a, b Dot) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Series, b.Series)) })
	if more := len(c.dots) - f.Points; more > 0 {
		return c.dots[more:], true, nil
	}
	return c.dots, false, nil
}

// collector makes dots of points.
type collector struct {
	f     SeriesFilter
	index map[int64]int
	dots  []Dot
	buf   []minute.Point
}

func (c *collector) add(k cell, data []byte) error {
	var err error
	if c.buf, err = minute.ParsePoints(c.buf[:0], data); err != nil {
		return fmt.Errorf("points of row %d: %w", k.id(), err)
	}
	begin := beginOf(k.minute).UTC()
	for _, p := range c.buf {
		at := begin.Add(p.At)
		if !at.Before(c.f.From) && at.Before(c.f.To) {
			c.dots = append(c.dots, Dot{At: at, Point: p, Series: c.index[k.series]})
		}
	}
	return nil
}
